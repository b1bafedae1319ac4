"""Shapes of a rig on the face of a model: planted ones come back, whatever the rig's unit, pose and topology."""

from dataclasses import replace

import numpy as np
import pytest

from visemo.face.face import Face
from visemo.face.rigs.named import Rig, on_face
from visemo.geometry.rotation import axis_angle_to_matrix
from visemo.types import Mesh, VisemoError

TURN = axis_angle_to_matrix(np.array([0.05, 0.1, -0.04]))
LANDMARKS = {36: 30, 45: 480, 30: 250, 8: 200, 48: 150, 54: 380, 19: 70, 24: 445}


@pytest.fixture(scope="module")
def face(tiny_face) -> Face:
    return replace(tiny_face, landmarks=LANDMARKS)


def elsewhere(points: np.ndarray) -> np.ndarray:
    """In centimetres, turned and moved."""
    return (100 * points @ TURN.T + [3, -20, 7]).astype(np.float32)


def finer(face: Face) -> tuple[np.ndarray, np.ndarray]:
    """Every triangle in four: which two vertices each new vertex lies between (the old ones between themselves), and
    the triangles."""
    ends = np.sort(face.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, own = np.unique(ends, axis=0, return_inverse=True)
    ab, bc, ca = (len(face.template) + own.reshape(-1, 3)).T
    a, b, c = face.triangles.T
    triangles = [np.stack(part, axis=1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    old = np.arange(len(face.template))[:, None].repeat(2, axis=1)
    return np.concatenate([old, edges]), np.concatenate(triangles).astype(np.int32)


def test_the_face_itself(face):
    rig = Rig.of_face(face)
    carried, how = on_face(rig, face)
    assert carried.shapes is rig.shapes and "as they are" in how
    assert set(rig.landmarks) == set(LANDMARKS) and np.allclose(rig.landmarks[8], face.template[200])


def test_the_same_topology_in_another_unit_and_pose(face):
    turned = (100 * face.shapes @ TURN.T).astype(np.float32)
    rig = Rig("person", Mesh(elsewhere(face.template), face.triangles), face.shape_names, turned)
    carried, how = on_face(rig, face)
    assert np.abs(carried.shapes - face.shapes).max() < 1e-6 and "vertex by vertex" in how
    assert np.array_equal(carried.mesh.vertices, face.template) and carried.hash != rig.hash


def test_another_topology_through_registration(face):
    between, triangles = finer(face)
    vertices = elsewhere(face.template[between].mean(axis=1))
    shapes = (100 * face.shapes[:, between].mean(axis=2) @ TURN.T).astype(np.float32)
    points = {number: tuple(map(float, vertices[vertex])) for number, vertex in LANDMARKS.items()}
    carried, how = on_face(Rig("fine", Mesh(vertices, triangles), face.shape_names, shapes, points), face)
    assert "a topology of its own" in how
    size = np.abs(face.shapes).max(axis=(1, 2))
    error = np.linalg.norm(carried.shapes - face.shapes, axis=2)
    assert (error.mean(axis=1) < 0.01 * size).all() and (np.percentile(error, 99, axis=1) < 0.1 * size).all()


def test_rigs_that_are_none(face):
    mesh = Mesh(face.template, face.triangles)
    with pytest.raises(VisemoError, match="rig a: got shape"):
        Rig("a", mesh, ("jawOpen",), face.shapes)
    with pytest.raises(VisemoError, match="rig a: got no named shapes"):
        Rig("a", mesh, (), face.shapes[:0])
    with pytest.raises(VisemoError, match="got two shapes named 'x'"):
        Rig("a", mesh, ("x", "x"), face.shapes[:2])
    with pytest.raises(VisemoError, match="face tiny: got no named shapes"):
        Rig.of_face(replace(face, shapes=None, shape_names=()))
