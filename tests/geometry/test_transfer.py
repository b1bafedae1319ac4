"""Carrying fields between meshes: what is planted comes back, lips that touch keep their own motion."""

import numpy as np
import pytest

from toy_face import sheet
from visemo.geometry.transfer import Transfer
from visemo.types import Mesh, VisemoError


def test_rows_select_exactly():
    field = np.random.default_rng(0).normal(size=(4, 9, 3)).astype(np.float32)
    rows = np.array([8, 0, 3], np.int32)
    np.testing.assert_array_equal(Transfer.rows(rows).apply(field), field[:, rows])


def test_a_linear_field_is_carried_exactly_in_every_frame():
    vertices, triangles = sheet(-0.05, 0.05)
    mesh, random = Mesh(vertices, triangles), np.random.default_rng(1)
    weights = random.dirichlet(np.ones(3), 50)
    at = triangles[random.integers(len(triangles), size=50)]
    points = np.einsum("nk,nkc->nc", weights, vertices[at].astype(np.float64))
    slopes = random.normal(size=(5, 1, 3, 3))
    transfer = Transfer.of(points, mesh)
    carried = transfer.apply((vertices @ slopes).astype(np.float32))
    assert carried.shape == (5, 1, 50, 3)
    assert carried.dtype == np.float32
    np.testing.assert_allclose(carried, points @ slopes, atol=1e-7)
    slow = np.stack([(vertices @ slopes)[..., corner, :] for corner in transfer.corners.T])
    np.testing.assert_allclose(carried, np.einsum("vk,k...vc->...vc", transfer.weights, slow), atol=1e-7)


def test_over_a_hole_the_rim_is_taken():
    vertices, triangles = sheet(-0.05, 0.05)
    middle = vertices[:, :2].min(axis=0) + np.array([0.06, 0.05])
    ring = (np.abs(vertices[triangles].mean(axis=1)[:, :2] - middle) < [0.02, 0.015]).all(axis=1)
    transfer = Transfer.of(np.array([[0.0, 0.001, 0.05]]), Mesh(vertices, triangles[~ring]))
    used = transfer.corners[0][transfer.weights[0] > 0]
    assert np.isin(used, triangles[ring]).all()  # and of these only what other triangles share


def test_lips_that_touch_keep_their_own_motion():
    """Two slabs whose facing sides touch: 1 mm apart, the wrong one is as near as the right one."""
    flat = np.array([[x, 0.0, z] for x in (0, 0.05) for z in (0, 0.05)], np.float32)
    up, down = np.array([[0, 1, 2], [1, 3, 2]], np.int32), np.array([[0, 2, 1], [1, 2, 3]], np.int32)
    mesh = Mesh(np.concatenate([flat, flat]), np.concatenate([up, down + 4]))  # lower lip faces up, upper one down
    motion = np.repeat(np.array([[0, -1, 0], [0, 1, 0]], np.float32), 4, axis=0)
    points = np.concatenate([flat + np.array([0, 4e-4, 0]), flat - np.array([0, 4e-4, 0])])  # each beyond the other
    carried = Transfer.of(points, mesh, np.concatenate([up, down + 4])).apply(motion)
    np.testing.assert_allclose(carried, motion)


def test_loose_pieces_carry_nothing():
    vertices, triangles = sheet(-0.05, 0.05)
    small = np.array([[0, 0, 0.06], [0.001, 0, 0.06], [0, 0.001, 0.06]], np.float32)
    mesh = Mesh(np.concatenate([vertices, small]), np.concatenate([triangles, [[91, 92, 93]]]).astype(np.int32))
    assert Transfer.of(np.array([[0, 0, 0.06]]), mesh).corners.max() < 91


def test_what_does_not_fit_is_refused():
    with pytest.raises(VisemoError, match=r"field of shape \(3, 3\)"):
        Transfer.rows(np.array([5], np.int32)).apply(np.zeros((3, 3), np.float32))
    with pytest.raises(VisemoError, match=r"corners \(2, 3\)"):
        Transfer(np.zeros((2, 3), np.int32), np.zeros((1, 3), np.float32))
