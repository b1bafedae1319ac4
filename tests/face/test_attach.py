"""Planted mixtures of named shapes are found again, and parts follow them."""

from dataclasses import replace

import numpy as np
import pytest

from visemo.face.attach import part_bases, shape_map
from visemo.face.face import Part
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def mixture(tiny_face) -> np.ndarray:
    """(M, 3) weights of three blendshapes on the named shapes."""
    weights = np.random.default_rng(7).uniform(-1, 1, (len(tiny_face.shape_names), 3)).astype(np.float32)
    weights[:, 2] = 0  # the third does nothing
    return weights


@pytest.fixture(scope="module")
def basis(tiny_face, mixture) -> np.ndarray:
    return np.einsum("mk,mvc->kvc", mixture, tiny_face.shapes)


@pytest.fixture(scope="module")
def with_parts(tiny_face):
    chance = np.random.default_rng(8)
    random = lambda *shape: chance.uniform(0, 0.01, shape).astype(np.float32)  # noqa: E731
    triangle, shapes = np.array([[0, 1, 2]], np.int32), len(tiny_face.shape_names)
    parts = (
        Part("eye", random(3, 3), triangle, random(3, 3), random(shapes, 3, 3)),
        Part("tongue", random(5, 3), triangle, random(5, 3), random(shapes, 5, 3)),
    )
    return replace(tiny_face, parts=parts)


def test_planted_mixtures_are_recovered(tiny_face, basis, mixture):
    weights, residual = shape_map(tiny_face, basis)
    assert weights.dtype == residual.dtype == np.float32
    np.testing.assert_allclose(weights, mixture, atol=0.01)  # the ridge costs a little
    assert residual.max() < 0.005 and residual[2] == 0


def test_the_map_is_linear(tiny_face, basis):
    weights, _ = shape_map(tiny_face, basis)
    total, _ = shape_map(tiny_face, (2 * basis[:1] - basis[1:2]))
    np.testing.assert_allclose(total[:, 0], 2 * weights[:, 0] - weights[:, 1], atol=1e-4)


def test_residual_is_what_no_shape_reaches(tiny_face):
    fixed = tiny_face.shapes.reshape(len(tiny_face.shapes), -1).astype(np.float64)
    free = np.random.default_rng(9).normal(size=fixed.shape[1])
    free -= fixed.T @ np.linalg.lstsq(fixed.T, free, rcond=None)[0]  # orthogonal to all of them
    free = (free.reshape(1, -1, 3) / np.sqrt((free**2).sum() / (len(free) / 3))) * 0.002  # 2 mm rms
    weights, residual = shape_map(tiny_face, free.astype(np.float32))
    assert residual == pytest.approx([2], abs=1e-3) and np.abs(weights).max() < 1e-3


def test_near_twins_do_not_cancel_out(tiny_face):
    jaw = tiny_face.shape("jawOpen")
    twin = jaw + np.random.default_rng(1).normal(scale=1e-7, size=jaw.shape).astype(np.float32)
    face = replace(tiny_face, shape_names=("jawOpen", "twin"), shapes=np.stack([jaw, twin]))
    target = jaw + np.random.default_rng(2).normal(scale=1e-4, size=jaw.shape).astype(np.float32)
    weights, _ = shape_map(face, target[None])
    np.testing.assert_allclose(weights, 0.5, atol=0.02)


def test_parts_follow_the_mixture(with_parts, basis, mixture):
    bases = part_bases(with_parts, basis)
    assert list(bases) == ["eye", "tongue"]
    for part in with_parts.parts:
        assert bases[part.name].dtype == np.float32
        truth = np.einsum("mk,mpc->kpc", mixture, part.shapes)
        np.testing.assert_allclose(bases[part.name], truth, atol=2e-4)


def test_what_cannot_be_mapped_is_refused(tiny_face, with_parts, basis):
    assert part_bases(tiny_face, basis[:, :3]) == {}  # no parts, nothing to ask
    bare = replace(tiny_face, shape_names=(), shapes=None)
    with pytest.raises(VisemoError, match="face tiny: got no named shapes"):
        shape_map(bare, basis)
    with pytest.raises(VisemoError, match="face tiny: got no named shapes"):
        shape_map(replace(bare, shapes=tiny_face.shapes[:0]), basis)
    for wrong in (basis[:, :-1], basis[0]):
        with pytest.raises(VisemoError, match=r"basis: got shape .*of face tiny"):
            part_bases(with_parts, wrong)
