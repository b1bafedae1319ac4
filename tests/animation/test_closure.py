"""Dips of the lip gap that are all but closures become closures; what is clearly open or shut stays as it is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visemo.animation.closure import FAR, NEAR, lip_difference, lips_meet
from visemo.face.library import load_face


@pytest.fixture(scope="module")
def basis(tiny_face):
    return np.stack([tiny_face.shape(name) for name in ("jawOpen", "mouthPucker", "browInnerUp")])


def gap(speech, basis, face) -> np.ndarray:
    """(T,) mm."""
    return 1e3 * np.linalg.norm(lip_difference(speech, basis, face), axis=2).mean(axis=1)


def talk(face, basis, low: float, frames: int = 41) -> np.ndarray:
    """A jaw that opens to 8 mm, dips to `low` mm in the middle and opens again."""
    unit = gap(np.eye(1, 3, dtype=np.float32), basis, face)[0]
    dip = np.clip(np.abs(np.arange(frames) - frames // 2) / 5, 0, 1)
    rows = np.zeros((frames, 3), np.float32)
    rows[:, 0] = (low + (8 - low) * dip) / unit
    rows[:, 1:] = 0.2
    return rows


def test_the_difference_is_that_of_the_vertices(tiny_face, basis):
    rows = np.random.default_rng(0).uniform(0, 1, (4, 3)).astype(np.float32)
    vertices = tiny_face.template + np.tensordot(rows, basis, 1)
    upper, lower = tiny_face.lip_pairs.T
    np.testing.assert_allclose(
        lip_difference(rows, basis, tiny_face), vertices[:, upper] - vertices[:, lower], atol=1e-7
    )


def test_a_near_closure_shuts_and_only_around_it(tiny_face, basis):
    rows = talk(tiny_face, basis, 1.5)
    met = lips_meet(rows, basis, tiny_face, 30.0)
    assert gap(rows, basis, tiny_face)[20] > 1.3 and gap(met, basis, tiny_face)[20] < 0.2
    changed = np.flatnonzero(np.abs(met - rows).max(axis=1) > 0)
    assert changed.min() >= 18 and changed.max() <= 22  # two frames on either side
    assert np.abs(met - rows)[:, 2].max() < 0.02  # the brow has nothing to do with it
    assert (gap(met, basis, tiny_face) <= gap(rows, basis, tiny_face) + 0.02).all()


@pytest.mark.parametrize("low", [0.0, FAR * 1e3 + 0.3, 6.0])
def test_what_is_shut_or_well_open_stays(tiny_face, basis, low):
    rows = talk(tiny_face, basis, low)
    met = gap(lips_meet(rows, basis, tiny_face, 30.0), basis, tiny_face)
    np.testing.assert_allclose(met, gap(rows, basis, tiny_face), atol=0.1)


def test_between_near_and_far_the_dip_is_deepened_in_part(tiny_face, basis):
    middle = (NEAR + FAR) / 2 * 1e3
    met = gap(lips_meet(talk(tiny_face, basis, middle), basis, tiny_face, 30.0), basis, tiny_face)
    assert 0.3 * middle < met[20] < 0.8 * middle


def test_a_lip_drawn_in_under_the_teeth_is_no_closure():
    """Of two dips of the same depth, the /p/ shuts and the /f/ stays."""
    face = load_face("builtin")
    basis = np.stack([face.shape(name) for name in ("jawOpen", "mouthPucker", "browInnerUp", "mouthRollLower")])
    rows = np.pad(talk(face, basis[:3], 2.0), ((0, 0), (0, 1)))
    assert gap(lips_meet(rows, basis, face, 30.0), basis, face)[20] < 0.3
    rows[:, 3] = 0.9 * np.exp(-((np.arange(len(rows)) - 20.0) ** 2) / 8)
    assert gap(rows, basis, face)[20] < NEAR * 1e3
    assert lips_meet(rows, basis, face, 30.0) is rows
    # a face that does not name both of its lips cannot tell the two; half of the names is no half of an answer
    half = replace(face, regions={name: rows for name, rows in face.regions.items() if name != "upper_lip"})
    assert gap(lips_meet(rows, basis, half, 30.0), basis, face)[20] < 0.3


def test_lips_that_rest_or_open_slowly_are_no_dip(tiny_face, basis):
    slow = talk(tiny_face, basis, 1.5)
    slow[:20] = slow[20]  # half open until they open wide: a mouth at rest, not a /p/
    assert lips_meet(slow, basis, tiny_face, 30.0) is slow
    assert len(lips_meet(slow[:1], basis, tiny_face, 30.0)) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([24.0, 30.0, 60.0]))
def test_lips_never_open_by_it(tiny_face, seed, frames, fps):
    basis = np.stack([tiny_face.shape(name) for name in ("jawOpen", "mouthPucker")])
    rows = np.random.default_rng(seed).uniform(0, 0.5, (frames, 2)).astype(np.float32)
    met = lips_meet(rows, basis, tiny_face, fps)
    assert np.isfinite(met).all()
    assert (gap(met, basis, tiny_face) <= gap(rows, basis, tiny_face) + 0.1).all()
