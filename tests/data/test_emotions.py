"""What the emotions' recipes do to the built-in head."""

from itertools import combinations

import numpy as np
import pytest

from visemo.data.emotions import EMOTIONS, weights
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.builtin.layout import half_layout
from visemo.face.face import Face
from visemo.face.library import load_face
from visemo.units import MM_PER_M

MIDDLE = 13  # of the upper lid's rim; the lower lid's lies opposite


@pytest.fixture(scope="module")
def face() -> Face:
    return load_face("builtin")


def moved(face: Face, label: str) -> np.ndarray:
    """Displacements (V, 3) mm of an emotion at its full recipe."""
    shapes = np.stack([face.shape(name) for name in ARKIT_NAMES])
    return np.tensordot(weights(EMOTIONS[label].recipe), shapes, axes=1) * MM_PER_M


def opening_of_the_eyes(face: Face, label: str) -> np.ndarray:
    """Of the left and the right eye, as a share of the neutral's."""
    rim = half_layout().eye[1]
    posed = face.template * MM_PER_M + moved(face, label)
    upper, lower = (np.array([rim[k], face.mirror[rim[k]]]) for k in (MIDDLE, len(rim) - MIDDLE))
    still = face.template[upper, 1] - face.template[lower, 1]
    return (posed[upper, 1] - posed[lower, 1]) / (still * MM_PER_M)


@pytest.mark.parametrize("label", EMOTIONS)
def test_recipes_never_part_the_lips(face: Face, label: str):
    posed = face.template * MM_PER_M + moved(face, label)
    gaps = np.linalg.norm(posed[face.lip_pairs[:, 0]] - posed[face.lip_pairs[:, 1]], axis=1)
    assert gaps.max() < 0.5


@pytest.mark.parametrize("label", EMOTIONS)
def test_eyes_stay_alive(face: Face, label: str):
    share = opening_of_the_eyes(face, label)
    assert share.min() > 0.5
    assert share.max() < 1.45


def test_eyes_tell_joy_and_fear_apart_from_the_neutral(face: Face):
    assert opening_of_the_eyes(face, "happy").max() < 0.8  # narrowed by the cheeks
    assert opening_of_the_eyes(face, "angry").min() > 0.85  # a glare
    for label in ("fear", "surprise", "Afraid"):
        assert opening_of_the_eyes(face, label).min() > 1.2, label


def test_no_two_emotions_look_the_same(face: Face):
    """They differ by a quarter of the larger one's motion at least (the two sad ones come closest)."""
    forms = {label: moved(face, label) for label in EMOTIONS}
    for one, other in combinations(EMOTIONS, 2):
        size = max(np.linalg.norm(forms[label]) for label in (one, other))
        assert np.linalg.norm(forms[one] - forms[other]) > 0.25 * size, (one, other)


def test_amplitudes_are_of_a_natural_strong_expression(face: Face):
    for label in EMOTIONS:
        largest = np.linalg.norm(moved(face, label), axis=1).max()
        assert largest < 3.0 if label == "neutral" else 4.5 < largest < 17.0, (label, largest)


def test_weights_are_weights():
    for emotion in EMOTIONS.values():
        for recipe in (emotion.recipe, emotion.opening):
            row = weights(recipe)
            assert row.min() >= 0 and row.max() <= 1
