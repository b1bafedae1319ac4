"""Weights to curves of any named shapes: planted mixtures come back, and within bounds nothing is closer."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from visemo.animation.retarget.habit import EXACT, NATURAL
from visemo.animation.retarget.shape_map import LIP_PULL, ShapeMap, bounded_least_squares
from visemo.types import VisemoError

MIXING = np.array([[0.9, 0.1, 0, 0, 0.3], [0, 0.8, 0, 0.2, 0], [0.1, 0, 0.7, 0, 0.2]], np.float32)
NAMES = ("A", "joy", "brow", "Blink_L", "part")


@pytest.fixture(scope="module")
def shapes(tiny_face):
    """Five shapes that look nothing like ARKit's by name."""
    known = ("jawOpen", "mouthSmileLeft", "browInnerUp", "eyeBlinkLeft", "mouthLowerDownLeft")
    return np.stack([tiny_face.shape(name) for name in known])


@pytest.fixture(scope="module")
def basis(shapes):
    """Three blendshapes that are known mixtures of the five."""
    return np.tensordot(MIXING, shapes, 1)


def test_a_planted_matrix_comes_back(shapes, basis, tiny_face):
    known = ShapeMap.of(NAMES, shapes, basis, tiny_face.lip_pairs)
    assert np.abs(known.matrix - MIXING.T).max() < 5e-3 and (known.residual_mm < 0.01).all()
    weights = np.random.default_rng(0).uniform(0, 0.7, (30, 3)).astype(np.float32)
    curves, residual = known.curves(weights)
    assert curves.dtype == np.float32 and np.abs(curves - weights @ MIXING).max() < 5e-3 and residual < 0.01


def stacked(shapes, basis, face):
    """The rows that the curves are to fit, and what they are to be: all vertices, and the gaps at the lips."""
    upper, lower = face.lip_pairs.T
    pull = np.sqrt(LIP_PULL * len(face.template) / len(upper))
    return (
        np.concatenate([f.reshape(len(f), -1), pull * (f[:, upper] - f[:, lower]).reshape(len(f), -1)], axis=1)
        for f in (shapes.astype(np.float64), basis.astype(np.float64))
    )


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-0.5, 0.8)])
def test_within_the_limits_nothing_is_closer(limits, shapes, basis, tiny_face):
    """Against scipy's bounded least squares, frame by frame, with bounds that bind."""
    twist = basis + 0.3 * basis[:, ::-1]  # nothing that the shapes could show wholly
    known = ShapeMap.of(NAMES, shapes, twist, tiny_face.lip_pairs, limits=limits)
    weights = np.random.default_rng(1).uniform(-1.5, 2.5, (12, 3)).astype(np.float32)
    curves, residual = known.curves(weights, EXACT)
    assert np.isclose(curves.min(), limits[0]) and np.isclose(curves.max(), limits[1])
    rows, wanted = stacked(shapes, twist, tiny_face)
    for given, found in zip(weights.astype(np.float64), curves.astype(np.float64)):
        best = lsq_linear(rows.T, given @ wanted, limits)
        assert 0.5 * ((found @ rows - given @ wanted) ** 2).sum() <= 1.002 * best.cost + 1e-9
    missed = np.tensordot(curves, shapes, 1) - np.tensordot(weights, twist, 1)
    assert np.isclose(residual, 1000 * np.sqrt((missed**2).sum(axis=2).mean()), rtol=1e-3)


def test_the_solver_is_the_slow_one():
    """Badly scaled on purpose: shapes that move a tenth as much are found as well."""
    chance = np.random.default_rng(2)
    rows = chance.normal(size=(9, 40)) * np.geomspace(1, 0.03, 9)[:, None]
    wanted = chance.normal(size=(20, 40))
    found = bounded_least_squares(rows @ rows.T, wanted @ rows.T, np.zeros((20, 9)), 0, 1)
    for target, x in zip(wanted, found):
        assert np.abs(x - lsq_linear(rows.T, target, (0, 1), tol=1e-12).x).max() < 1e-3


def test_lips_that_meet_weigh_more(tiny_face):
    """A motion of the whole face that also shuts lips, and a shape that does either: shut lips win."""
    upper, lower = tiny_face.lip_pairs.T
    drift = np.zeros_like(tiny_face.template)
    drift[:, 2] = 0.0002
    parted = drift.copy()
    parted[lower, 1] = -0.0008
    shapes, basis = np.stack([parted]), np.stack([drift])
    free = ShapeMap.of(("x",), shapes, basis, tiny_face.lip_pairs[:0]).curves(np.ones((1, 1), np.float32))[0]
    held = ShapeMap.of(("x",), shapes, basis, tiny_face.lip_pairs).curves(np.ones((1, 1), np.float32))[0]
    assert free > 0.5 and held < 0.3 * free and len(upper)


def test_blendshapes_that_are_not_followed(shapes, basis, tiny_face):
    known = ShapeMap.of(NAMES, shapes, basis, tiny_face.lip_pairs, driven=2)
    weights = np.array([[0.5, 0.4, 0.9], [0.5, 0.4, 0.0]], np.float32)
    curves, residual = known.curves(weights)
    assert np.abs(curves[0] - curves[1]).max() < 1e-6 and np.abs(curves[1] - weights[1] @ MIXING).max() < 5e-3
    left = 1000 * np.sqrt((basis[2] ** 2).sum(axis=1).mean())
    assert np.isclose(known.residual_mm[2], left) and not known.matrix[:, 2].any()
    assert np.isclose(residual, 0.9 * left / np.sqrt(2), rtol=0.02)


def test_a_shape_that_moves_nothing_stays_at_zero(shapes, basis, tiny_face):
    more = np.concatenate([shapes, 0 * shapes[:1]])
    curves, _ = ShapeMap.of((*NAMES, "sil"), more, basis, tiny_face.lip_pairs).curves(
        np.ones((2, 3), np.float32), NATURAL
    )
    assert not curves[:, 5].any() and curves[:, 0].min() > 0.5


def test_what_does_not_go_together_is_refused(shapes, basis, tiny_face):
    pairs = tiny_face.lip_pairs
    with pytest.raises(VisemoError, match=r"shapes: got \(5, 532, 3\) for 1 names on 532 vertices"):
        ShapeMap.of(("x",), shapes, basis, pairs)
    with pytest.raises(VisemoError, match="expected one that moves them"):
        ShapeMap.of(NAMES, 0 * shapes, basis, pairs)
    for limits in ((0.2, 1.0), (-1.0, 0.0)):
        with pytest.raises(VisemoError, match="expected 0 to lie between them"):
            ShapeMap.of(NAMES, shapes, basis, pairs, limits=limits)
