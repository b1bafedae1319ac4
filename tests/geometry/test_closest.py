"""Closest points: against a slow twin that measures every triangle by projection, in its own words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visemo.geometry.closest import Hits, Surface
from visemo.types import Mesh, VisemoError


def closest_slowly(point: np.ndarray, corners: np.ndarray) -> float:
    """Distance to the nearest of (F, 3, 3) triangles: its plane where the foot lies inside, else its sides."""
    best = np.inf
    for triangle in corners:
        a, b, c = triangle
        normal = np.cross(b - a, c - a)
        area = normal @ normal
        if area > 0:
            foot = point - normal * ((point - a) @ normal) / area
            inside = [np.cross(q - p, foot - p) @ normal >= 0 for p, q in ((a, b), (b, c), (c, a))]
            if all(inside):
                best = min(best, float(np.linalg.norm(point - foot)))
        for p, q in ((a, b), (b, c), (c, a)):
            along = q - p
            t = np.clip((point - p) @ along / max(along @ along, 1e-300), 0, 1)
            best = min(best, float(np.linalg.norm(point - p - t * along)))
    return best


def soup(random: np.random.Generator, count: int = 60) -> Mesh:
    """Triangles anywhere; some are slivers, some a point."""
    corners = random.normal(size=(count, 3, 3))
    corners[0, 1] = corners[0, 0]
    corners[1, :] = corners[1, 0]
    corners[2, 2] = corners[2, 0] + 0.3 * (corners[2, 1] - corners[2, 0])
    return Mesh(corners.reshape(-1, 3).astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_closest_points_are_those_of_the_slow_twin(seed):
    random = np.random.default_rng(seed)
    mesh = soup(random)
    surface, points = Surface(mesh), random.normal(size=(12, 3)) * 1.5
    hits = surface.closest(points)
    expected = [closest_slowly(point, surface.corners) for point in points]
    np.testing.assert_allclose(hits.distance, expected, atol=1e-6)  # slivers leave the plane's foot uncertain
    assert (hits.weights >= -1e-12).all()
    np.testing.assert_allclose(hits.weights.sum(axis=1), 1)
    met = hits.of(mesh.vertices, mesh.triangles)
    np.testing.assert_allclose(np.linalg.norm(met - points, axis=1), hits.distance, atol=1e-9)


def test_with_normals_the_least_cost_wins_and_a_guess_changes_nothing():
    random = np.random.default_rng(0)
    surface, points = Surface(soup(random)), random.normal(size=(30, 3))
    ahead = random.normal(size=(30, 3))
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    hits = surface.closest(points, ahead, 0.7)
    each = [Surface(Mesh(surface.mesh.vertices, surface.mesh.triangles[k : k + 1])) for k in range(60)]
    squared = np.stack([one.closest(points).distance ** 2 for one in each], axis=1)
    cost = squared + 0.49 * (1 - ahead @ surface.facing.T)
    np.testing.assert_array_equal(hits.triangle, cost.argmin(axis=1))
    np.testing.assert_allclose(hits.distance, np.sqrt(squared[np.arange(30), hits.triangle]))
    wrong = Hits(np.full(30, 59, np.int32), hits.weights, hits.distance)
    again = surface.closest(points, ahead, 0.7, wrong)
    np.testing.assert_array_equal(again.triangle, hits.triangle)
    np.testing.assert_array_equal(again.weights, hits.weights)


def test_touching_sheets_are_told_apart_by_their_normals():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    up = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    mesh = Mesh(np.concatenate([square, square]), np.concatenate([up, up[:, ::-1] + 4]).astype(np.int32))
    points, down = np.full((1, 3), [0.3, 0.6, 0.01]), np.array([[0.0, 0.0, -1.0]])
    assert Surface(mesh).closest(points, down, 0.1).triangle[0] >= 2
    assert Surface(mesh).closest(points, -down, 0.1).triangle[0] < 2


def test_the_open_boundary_is_known():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    surface = Surface(Mesh(square, np.array([[0, 1, 2], [0, 2, 3]], np.int32)))
    points = np.array([[0.5, -1, 0], [0.5, 0.5, 1], [0.3, 0.2, 1], [2, 2, 0], [1, 0.5, 0]], np.float64)
    np.testing.assert_array_equal(surface.at_boundary(surface.closest(points)), [True, False, False, True, True])


def test_what_cannot_be_queried_is_refused():
    square = Mesh(np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int32))
    with pytest.raises(VisemoError, match="without triangles"):
        Surface(square)
    surface = Surface(Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32)))
    with pytest.raises(VisemoError, match=r"points of shape \(3,\)"):
        surface.closest(np.zeros(3))
    with pytest.raises(VisemoError, match=r"normals of shape \(2, 3\)"):
        surface.closest(np.zeros((1, 3)), np.zeros((2, 3)), 0.1)
