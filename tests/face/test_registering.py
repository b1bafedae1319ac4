"""A face laid on meshes: exact rows in its own topology, registration on others, and real heads where they are."""

from dataclasses import replace

import numpy as np
import pytest

from visemo.assets import sha256
from visemo.face.face import Cut, Face
from visemo.face.library import load_face
from visemo.face.registering import own_rows, register_mesh
from visemo.geometry.mesh import edges
from visemo.geometry.register import RegisterConfig, Registration, Stage
from visemo.geometry.transfer import Transfer
from visemo.types import Mesh, VisemoError

QUICK = RegisterConfig(
    stages=(
        Stage(0.060, 4, 0.06, 1.0, 0.02),
        Stage(0.020, 4, 0.05, 1.0, 0.02),
        Stage(0.006, 3, 0.02, 0.7, 0.008),
        Stage(0.002, 3, 0.004, 0.0, 0.008, -1.0),
    ),
    hold=2,
)


@pytest.fixture(scope="module")
def builtin() -> Face:
    face = load_face("builtin")
    if len(face.landmarks) < 4:
        pytest.skip("the built-in head has no landmarks")
    return face


def somebody(face: Face, seed: int, **expression: float) -> np.ndarray:
    """The face as somebody else, with an expression: (V, 3)."""
    assert face.identities is not None
    weights = np.random.default_rng(seed).normal(size=len(face.identities))
    moved = face.template + np.tensordot(weights, face.identities, 1)
    return moved + sum(weight * face.shape(name) for name, weight in expression.items())


def subdivided(vertices: np.ndarray, triangles: np.ndarray) -> Mesh:
    """The same surface with a vertex more on every side."""
    number = {tuple(side): len(vertices) + k for k, side in enumerate(edges(triangles).tolist())}
    middle = np.array(
        [[number[min(a, b), max(a, b)] for a, b in ((p, q), (q, r), (r, p))] for p, q, r in triangles.tolist()]
    )
    (a, b, c), (ab, bc, ca) = triangles.T, middle.T
    parts = [np.stack(corners, axis=1) for corners in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    points = np.concatenate([vertices, vertices[edges(triangles)].mean(axis=1)])
    return Mesh(points.astype(np.float32), np.concatenate(parts).astype(np.int32))


def points_of(face: Face, vertices: np.ndarray) -> dict[int, tuple[float, float, float]]:
    return {number: tuple(vertices[vertex].tolist()) for number, vertex in face.landmarks.items()}


def check_met(face: Face, vertices: np.ndarray, found: Registration, mean: float) -> None:
    """Correspondence within `mean` mm on average, and the goals of surface distance."""
    error = 1e3 * np.linalg.norm(found.vertices - vertices, axis=1)[found.inside]
    assert error.mean() <= mean
    assert found.distance_mean <= 0.1
    assert found.distance_max <= 1.5
    assert len(found.inside) > 0.8 * len(face.template)


def test_the_faces_own_topology_is_taken_exactly(tiny_face):
    vertices = tiny_face.template + np.array([0.1, 0, 0], np.float32)
    laid = register_mesh(Mesh(vertices, tiny_face.triangles), tiny_face)
    np.testing.assert_array_equal(laid.vertices, vertices)
    assert (laid.distance_max, laid.flips) == (0.0, 0)
    np.testing.assert_allclose(laid.pose.translation, [0.1, 0, 0], atol=1e-6)


def test_a_mesh_that_the_face_was_cut_out_of_gives_its_rows(tiny_face):
    random = np.random.default_rng(0)
    rows = random.permutation(len(tiny_face.template) + 9)[: len(tiny_face.template)].astype(np.int32)
    whole = random.normal(size=(len(rows) + 9, 3)).astype(np.float32)
    triangles = rows[tiny_face.triangles].astype(np.int32)
    face = replace(tiny_face, cut=Cut(sha256(triangles)[:16], rows))
    np.testing.assert_array_equal(register_mesh(Mesh(whole, triangles), face).vertices, whole[rows])
    assert own_rows(Mesh(whole, triangles[::-1].copy()), face) is None


def test_too_few_landmarks_in_common_are_refused(tiny_face):
    mesh = Mesh(tiny_face.template, tiny_face.triangles[::-1].copy())
    with pytest.raises(VisemoError, match="got 0 that face tiny has too"):
        register_mesh(mesh, tiny_face, {30: (0.0, 0.0, 0.0)})


@pytest.fixture(scope="module")
def laid(builtin) -> tuple[np.ndarray, Mesh, Registration]:
    """The built-in head on a scan of somebody else: where its vertices belong, the scan, where they came to lie."""
    vertices = somebody(builtin, 1).astype(np.float32)
    scan = Mesh(vertices, builtin.triangles[::-1].copy())  # of no topology that is known
    return vertices, scan, register_mesh(scan, builtin, points_of(builtin, vertices), QUICK)


def test_somebody_else_is_met_where_planted(builtin, laid):
    vertices, _, found = laid
    check_met(builtin, vertices, found, 0.4)
    assert found.flips == 0
    lips = builtin.region("lips")
    assert 1e3 * np.linalg.norm(found.vertices - vertices, axis=1)[lips].mean() < 0.2


def test_motion_goes_there_and_back(builtin, laid):
    """With lips that touch: the jaw's motion stays with the lower lip."""
    _, scan, found = laid
    there = Transfer.of(scan.vertices, Mesh(found.vertices, builtin.triangles), scan.triangles)
    back = Transfer.of(found.vertices, scan, builtin.triangles)
    for name in ("jawOpen", "mouthSmileLeft"):
        motion = builtin.shape(name)
        lost = 1e3 * np.linalg.norm(back.apply(there.apply(motion)) - motion, axis=1)
        assert lost[found.inside].mean() < 0.1
        assert lost[builtin.region("lips")].mean() < 0.4


@pytest.mark.slow
def test_an_open_mouth_is_met_and_stays_open(builtin):
    """Cheeks slide over a jaw that opens and leave no trace of it in the surface: only the lips are demanded."""
    vertices = somebody(builtin, 0, jawOpen=0.4)
    found = register_mesh(subdivided(vertices, builtin.triangles), builtin, points_of(builtin, vertices))
    check_met(builtin, vertices, found, 1.2)
    assert 1e3 * np.linalg.norm(found.vertices - vertices, axis=1)[builtin.region("lips")].mean() < 0.4
    apart, truth = (
        np.linalg.norm(np.subtract(*points[builtin.lip_pairs].transpose(1, 0, 2)), axis=1)
        for points in (found.vertices, vertices)
    )
    assert abs(apart - truth).max() < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_real_rig_is_met_within_the_goals(shared_data, seed):
    from visemo.face.ict import ict_face

    face = ict_face(shared_data / "ict")
    expression = {"jawOpen": 0.6, "mouthSmileLeft": 0.8, "mouthSmileRight": 0.8} if seed else {}
    vertices = somebody(face, seed, **expression)
    scan = subdivided(vertices, face.triangles)
    check_met(face, vertices, register_mesh(scan, face, points_of(face, vertices)), 0.6)


@pytest.mark.slow
def test_flames_head_is_met_and_motion_returns(shared_data):
    from visemo.face.ict import ict_face

    face = ict_face(shared_data / "ict")
    with np.load(shared_data / "flame_open" / "flame2023_open_partial.npz") as pack:
        head = Mesh(pack["v_template"], pack["faces"].astype(np.int32))
    laid = register_mesh(head, face)
    assert laid.distance_mean <= 0.1
    assert laid.flips == 0
    there = Transfer.of(head.vertices, Mesh(laid.vertices, face.triangles), head.triangles)
    back = Transfer.of(laid.vertices, head, face.triangles)
    for names in (("mouthSmileLeft", "mouthSmileRight"), ("jawOpen",)):
        motion = np.sum([face.shape(name) for name in names], axis=0)
        lost = 1e3 * np.linalg.norm(back.apply(there.apply(motion)) - motion, axis=1)
        assert lost[laid.inside].mean() <= 0.3
