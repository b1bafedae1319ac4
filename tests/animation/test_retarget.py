from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from visemo.animation.lively import add_life
from visemo.animation.retarget.arkit import arkit_curves, arkit_map
from visemo.face.arkit import ARKIT_NAMES
from visemo.types import Animation, VisemoError


def column(name: str) -> int:
    return ARKIT_NAMES.index(name)


@pytest.fixture(scope="module")
def clip(tiny_face) -> Animation:
    """Two blendshapes that are known mixtures of the face's shapes."""
    jaw, smile = tiny_face.shape("jawOpen"), tiny_face.shape("mouthSmileLeft")
    basis = np.stack([0.5 * jaw + 0.2 * smile, 0.8 * smile])
    chance = np.random.default_rng(0)
    speech, expression = chance.uniform(0, 1, (2, 40, 1)).astype(np.float32)
    zeros = np.zeros((40, 1), np.float32)
    return Animation(
        speech, expression, zeros, zeros, basis, tiny_face.template, tiny_face.triangles, tiny_face.lip_pairs, "tiny"
    )


def test_planted_curves_come_back(clip, tiny_face):
    curves, residual = arkit_curves(clip, tiny_face)
    w_a, w_e = clip.speech_weights[:, 0], clip.expression_weights[:, 0]
    assert curves.shape == (40, 52) and curves.dtype == np.float32
    assert np.allclose(curves[:, column("jawOpen")], 0.5 * w_a, atol=0.01)
    assert np.allclose(curves[:, column("mouthSmileLeft")], 0.2 * w_a + 0.8 * w_e, atol=0.01)
    others = np.delete(curves, [column("jawOpen"), column("mouthSmileLeft")], axis=1)
    assert np.abs(others).max() < 0.02 and residual < 0.02


def test_curves_stay_in_bounds_and_are_the_best_within_them(clip, tiny_face):
    wild = replace(clip, speech_weights=3 * clip.speech_weights - 1, expression_weights=4 * clip.expression_weights - 2)
    curves, residual = arkit_curves(wild, tiny_face)
    assert curves.min() >= 0 and curves.max() <= 1
    shapes = tiny_face.shapes.reshape(len(tiny_face.shape_names), -1).T.astype(np.float64)
    here = [column(name) for name in tiny_face.shape_names]
    errors = []
    for t in range(0, 40, 5):
        wanted = (wild.decode(t, t + 1)[0] - tiny_face.template).ravel()
        best = lsq_linear(shapes, wanted, (0, 1))
        ours = np.linalg.norm(shapes @ curves[t, here] - wanted)
        assert ours <= 1.02 * np.sqrt(2 * best.cost) + 1e-5
    for t in range(40):
        wanted = (wild.decode(t, t + 1)[0] - tiny_face.template).ravel()
        errors.append(((shapes @ curves[t, here] - wanted) ** 2).sum() / len(tiny_face.template))
    assert np.isclose(residual, 1000 * np.sqrt(np.mean(errors)), rtol=1e-3)


def test_the_linear_map_says_what_each_blendshape_leaves(clip, tiny_face):
    known = arkit_map(tiny_face, clip.basis)
    assert known.matrix.shape == (len(tiny_face.shape_names), 2) and (known.residual_mm < 0.02).all()
    twist = np.zeros_like(clip.basis[:1])
    twist[0, tiny_face.regions["brows"]] = [0.003, 0, 0]  # nothing on this face moves brows sideways
    assert arkit_map(tiny_face, twist).residual_mm[0] > 0.3


def test_the_lively_track_joins(clip, tiny_face):
    curves, _ = arkit_curves(clip, tiny_face)
    lively = add_life(clip, seed=1)
    joined, _ = arkit_curves(lively, tiny_face)
    own = column("eyeLookDownLeft")
    assert lively.lively_weights is not None
    assert np.allclose(
        joined[:, own], curves[:, own] + lively.lively_weights[:, lively.lively_names.index("eyeLookDownLeft")]
    )
    assert joined.max() <= 1


def test_faces_that_cannot_show_it_are_refused(clip, tiny_face):
    with pytest.raises(VisemoError, match="without the named shapes"):
        arkit_curves(clip, replace(tiny_face, shapes=None, shape_names=()))
    with pytest.raises(VisemoError, match="vertices, expected 5"):
        arkit_curves(replace(clip, basis=clip.basis[:, :5], template=clip.template[:5], triangles=clip.triangles[:0],
                             lip_pairs=clip.lip_pairs[:0]), tiny_face)  # fmt: skip
