"""Dense registration with the truth planted: a mask deformed by a known field, in another topology, pose and unit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visemo.geometry.closest import Surface
from visemo.geometry.register import (
    RegisterConfig,
    Stage,
    face_region,
    flipped,
    hollow,
    register,
    similarity,
)
from visemo.geometry.rotation import axis_angle_to_matrix
from visemo.types import Mesh, VisemoError

QUICK = RegisterConfig(
    stages=(
        Stage(0.04, 5, 0.04, 1.0, 0.02),
        Stage(0.015, 5, 0.03, 1.0, 0.012),
        Stage(0.006, 4, 0.02, 0.5, 0.008),
        Stage(0.003, 3, 0.005, 0.0, 0.008),
    ),
    hold=2,
)


def mask(columns: int, rows: int, skew: float = 0.0) -> Mesh:
    """Half an egg of 14 x 18 cm with a nose and a mouth slit's bulge; `skew` shifts the grid, not the surface."""
    u, v = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows))
    u = u + skew * (1 - u**2) * (1 - v**2) * np.sin(3 * v)
    x, y = 0.07 * u, 0.09 * v
    z = 0.07 * np.sqrt(np.maximum(1.3 - 0.7 * u**2 - 0.6 * v**2, 0))
    z = z + 0.018 * np.exp(-((x / 0.012) ** 2) - ((y / 0.02) ** 2)) + 0.006 * np.exp(-((y + 0.045) ** 2) / 4e-5)
    at = np.arange(columns * rows).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return Mesh(np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32), triangles.astype(np.int32))


def deformed(points: np.ndarray) -> np.ndarray:
    """A smooth field of up to a centimetre."""
    x, y = points.T[:2]
    return points + np.stack(
        [0.06 * x * (y + 0.03), 0.008 * np.sin(12 * y), 0.008 * np.cos(20 * x) * (1 + 6 * y)], axis=1
    )


@pytest.fixture(scope="module")
def template() -> Mesh:
    return mask(31, 37)


@pytest.fixture(scope="module")
def landmarks(template) -> np.ndarray:
    places = [(x, y) for x in (-0.05, -0.02, 0.02, 0.05) for y in (-0.06, -0.045, 0.0, 0.03, 0.06)]
    return np.array([np.hypot(*(template.vertices[:, :2] - p).T).argmin() for p in places], np.int32)


def test_planted_correspondence_comes_back_in_another_topology_pose_and_unit(template, landmarks):
    dense, rotation = mask(67, 71, skew=0.2), axis_angle_to_matrix(np.array([0.2, -0.3, 0.1]))

    def place(points):  # millimetres, turned
        return 1000 * deformed(points.astype(np.float64)) @ rotation.T + [5.0, 60.0, -30.0]

    scan, truth = Mesh(place(dense.vertices).astype(np.float32), dense.triangles), place(template.vertices)
    laid = register(template.vertices, template.triangles, scan, (landmarks, truth[landmarks]), QUICK)
    error = np.linalg.norm(laid.vertices - truth, axis=1)
    assert laid.vertices.dtype == np.float32
    assert 900 < laid.pose.scale < 1100
    assert error[laid.inside].mean() < 0.6  # mm
    assert laid.distance_mean < 0.1
    assert laid.distance_max < 1.0
    assert laid.flips == 0
    assert len(laid.inside) > 0.6 * len(template.vertices)
    np.testing.assert_array_equal(
        laid.vertices,
        register(template.vertices, template.triangles, scan, (landmarks, truth[landmarks]), QUICK).vertices,
    )


def test_landmarks_that_are_off_are_followed_as_far_as_their_error(template, landmarks):
    truth = deformed(template.vertices.astype(np.float64))
    scan = Mesh(truth.astype(np.float32), template.triangles)
    off = truth[landmarks] + np.random.default_rng(0).normal(scale=0.002, size=(len(landmarks), 3))
    errors = []
    for doubt in (0.0, 0.004):
        config = replace(QUICK, landmark_error=doubt, hold=2)
        laid = register(template.vertices, template.triangles, scan, (landmarks, off), config)
        errors.append(np.linalg.norm(laid.vertices - truth, axis=1)[laid.inside].mean())
    assert errors[1] < 0.8 * errors[0]


def test_loose_pieces_and_what_lies_beyond_the_scan_pull_nothing(template, landmarks):
    truth = deformed(template.vertices.astype(np.float64))
    half = truth[template.triangles].mean(axis=1)[:, 1] < 0.06  # the forehead was not scanned
    ball = np.array([[0.0, 0, 0.1], [0.003, 0, 0.1], [0, 0.003, 0.1]])
    triangles = np.concatenate([template.triangles[half], [np.arange(3) + len(truth)]])
    scan = Mesh(np.concatenate([truth, ball]).astype(np.float32), triangles.astype(np.int32))
    laid = register(template.vertices, template.triangles, scan, (landmarks, truth[landmarks]), QUICK)
    error = np.linalg.norm(laid.vertices - truth, axis=1)
    assert error[laid.inside].mean() < 1e-3
    beyond = truth[:, 1] > 0.07
    assert not np.isin(np.flatnonzero(beyond), laid.inside).any()
    assert error[beyond].max() < 6e-3  # carried along, not squeezed onto the edge
    assert laid.flips == 0


def test_distances_are_told_for_the_vertices_asked_for(template, landmarks):
    scan, nose = Mesh(template.vertices, template.triangles), np.array([500, 501], np.int32)
    pairs = (landmarks, template.vertices[landmarks])
    laid = register(template.vertices, template.triangles, scan, pairs, replace(QUICK, stages=()), inside=nose)
    assert laid.inside is nose
    assert laid.distance_mean == pytest.approx(laid.distances[nose].mean())
    assert laid.distance_max < 1e-3


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_similarity_brings_back_a_planted_one(seed):
    random = np.random.default_rng(seed)
    points, rotation = random.normal(size=(6, 3)), axis_angle_to_matrix(random.normal(size=3))
    scale, shift = random.uniform(0.01, 100), random.normal(size=3)
    found = similarity(points, scale * points @ rotation.T + shift)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-9)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-9)
    np.testing.assert_allclose(found.back(found.apply(points)), points, atol=1e-9)
    np.testing.assert_allclose(found.turn(points[0] - points[1]), np.subtract(*found.apply(points[:2])), atol=1e-9)


def test_weights_leave_a_bad_landmark_out():
    points = np.random.default_rng(0).normal(size=(6, 3))
    target = 2 * points
    target[0] += 1
    found = similarity(points, target, np.array([0, 1, 1, 1, 1, 1]))
    assert found.scale == pytest.approx(2)


def test_the_face_region_keeps_off_borders_holes_and_what_the_scan_lacks(template):
    vertices, triangles = template.vertices, template.triangles
    hole = (np.abs(vertices[triangles].mean(axis=1)[:, :2] - [0.0, -0.045]) < [0.02, 0.006]).all(axis=1)
    cut = vertices[triangles].mean(axis=1)[:, 0] < 0.03
    scan = Surface(Mesh(vertices, triangles[cut]))
    inside = face_region(vertices, triangles[~hole], scan, vertices, 0.01)
    rim = np.intersect1d(triangles[hole], triangles[~hole])
    assert not np.isin(rim, inside).any()
    assert vertices[inside, 0].max() < 0.035
    border = vertices[np.isin(np.arange(len(vertices)) % 31, (0, 30)) | (np.abs(vertices[:, 1]) > 0.0899)]
    assert np.linalg.norm(vertices[inside][:, None] - border, axis=2).min() > 0.01
    assert np.isin(np.flatnonzero((np.abs(vertices[:, :2] - [0, 0.02]) < 0.01).all(axis=1)), inside).all()


def test_a_triangle_laid_upside_down_is_seen_and_a_bent_surface_is_none(template):
    vertices, triangles = template.vertices.astype(np.float64), template.triangles
    turned = vertices @ axis_angle_to_matrix(np.array([0.0, 2.0, 0.0])).T
    assert not flipped(vertices, deformed(turned), triangles).any()
    folded, row = vertices.copy(), 31
    folded[row * 18 + 15, 0] += 0.009  # two grid steps: over the next vertex
    assert 1 <= flipped(vertices, folded, triangles).sum() <= 4


def test_hollows_are_found_and_open_surfaces_are_none(template):
    assert not hollow(template.vertices, template.triangles).any()
    sheets = np.concatenate([template.vertices, template.vertices + np.array([0, 0, 0.004], np.float32)])
    facing = np.concatenate([template.triangles, template.triangles[:, ::-1] + len(template.vertices)])
    assert hollow(sheets, facing).mean() > 0.9  # a pocket 4 mm deep


@pytest.mark.parametrize(
    ("rows", "points", "complaint"),
    [
        ([0, 1, 2], np.eye(3), "got 3 of them"),
        ([0, 1, 2, 3], np.eye(3), r"shapes \(4,\) and \(3, 3\)"),
        ([0, 1, 2, 99999], np.ones((4, 3)), "vertices 0..99999"),
        ([0, 1, 2, 3], np.full((4, 3), np.nan), "finite points"),
        ([0, 1, 2, 3], np.zeros((4, 3)), "points on a line"),
    ],
)
def test_landmarks_that_cannot_be_used_are_refused(template, rows, points, complaint):
    with pytest.raises(VisemoError, match=complaint):
        register(template.vertices, template.triangles, template, (np.array(rows), points))


def test_a_scan_without_triangles_is_refused(template, landmarks):
    scan = Mesh(template.vertices, np.zeros((0, 3), np.int32))
    with pytest.raises(VisemoError, match="without triangles"):
        register(template.vertices, template.triangles, scan, (landmarks, template.vertices[landmarks]))
