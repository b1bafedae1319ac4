"""FLAME's motion on a face: in its own topology to the vertex, on another as the same mouth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from face.flame_models import open_model, random_model
from flame_ground import made_up_ground
from visemo.face.face import Face
from visemo.face.flame import flame_face
from visemo.face.flame_layer import FlameLayer
from visemo.face.flame_on_face import NEAR, FlameOnFace
from visemo.face.library import load_face
from visemo.types import VisemoError
from visemo.units import MM_PER_M


def opened(model, angle: float) -> np.ndarray:
    """Displacements (5023, 3) m of a jaw turned by `angle` rad."""
    layer = FlameLayer(model)
    with torch.no_grad():
        return (layer(jaw=torch.tensor([[angle, 0.0, 0.0]])) - layer())[0].numpy()


def whole_head(model, scale: float = 1.0, turn: np.ndarray | None = None) -> Face:
    """All of FLAME's vertices as a face, of another size and turned."""
    turn = np.eye(3) if turn is None else turn
    template = (scale * model.v_template @ turn.T + 0.01).astype(np.float32)
    everything = np.arange(5023, dtype=np.int32)
    pairs = np.array([[0, 1]], np.int32)
    return Face("whole", template, model.triangles, {"lips": pairs[0]}, pairs, everything, np.full_like(template, 0.5))


def test_flames_own_vertices_are_taken_as_they_are():
    model = random_model()
    ground = FlameOnFace.of(model, whole_head(model))
    np.testing.assert_allclose(ground.carry(opened(model, 0.3)), opened(model, 0.3), atol=1e-6)
    assert len(ground.on) == 5023 and ground.distance_mm == 0


def test_a_head_that_is_turned_and_larger_moves_in_its_own_frame():
    model, turn = random_model(), Rotation.from_euler("xyz", [20, 40, -30], degrees=True).as_matrix()
    moved = opened(model, 0.3)
    ground = FlameOnFace.of(model, whole_head(model, 1.7, turn))
    np.testing.assert_allclose(ground.carry(moved), 1.7 * moved @ turn.T, atol=1e-5)


def test_what_is_carried_is_a_weighted_mean_of_three_vertices_turned_back(tiny_face):
    ground = made_up_ground(tiny_face)
    field = np.random.default_rng(0).standard_normal((2, 5023, 3)).astype(np.float32)
    carried = ground.carry(field)
    assert carried.shape == (2, len(tiny_face.template), 3) and carried.dtype == np.float32
    for v in (0, 7, len(tiny_face.template) - 1):
        corners, weights = ground.transfer.corners[v], ground.transfer.weights[v]
        met = sum(float(w) * field[1, c].astype(float) for c, w in zip(corners, weights))
        np.testing.assert_allclose(carried[1, v], ground.pose.rotation.T @ met / 1.3, atol=1e-6)


def test_vertices_off_flame_are_not_compared(tiny_face):
    ground = made_up_ground(tiny_face, far=20)
    assert len(ground.on) == len(tiny_face.template) - 20 and ground.distances[ground.on].max() <= NEAR
    assert ground.distance_mm == pytest.approx(ground.distances[:-20].mean())


def test_triangles_that_are_not_flames_are_refused(tiny_face):
    with pytest.raises(VisemoError, match="triangles that are not FLAME's"):
        FlameOnFace.of(random_model(), tiny_face)


def test_the_cut_face_moves_as_the_whole_head(shared_data):
    model = open_model(shared_data)
    face = flame_face(model)
    assert face.cut is not None
    moved = opened(model, 0.2)
    np.testing.assert_allclose(FlameOnFace.of(model, face).carry(moved), moved[face.cut.rows], atol=2e-4)


@pytest.mark.slow
def test_the_mouth_opens_on_another_topology_as_on_flame(shared_data):
    model, face = open_model(shared_data), load_face("builtin")
    ground = FlameOnFace.of(model, face)
    assert ground.distance_mm < 0.06 and len(ground.on) > 0.99 * len(face.template)
    moved, own = opened(model, 0.2), flame_face(model)
    assert own.cut is not None
    there, here = (
        MM_PER_M * np.linalg.norm(field[pairs], axis=2)
        for field, pairs in ((moved[own.cut.rows], own.lip_pairs), (ground.carry(moved), face.lip_pairs))
    )
    middle, centre = there[len(there) // 2], here[len(here) // 2]
    np.testing.assert_allclose(centre, middle / ground.pose.scale, rtol=0.1, atol=0.3)  # upper, lower lip
    assert (here[:, 1] > here[:, 0]).all()  # nowhere did a lip take the motion of the other
    turned = replace(ground, pose=replace(ground.pose, scale=2 * ground.pose.scale))
    np.testing.assert_allclose(turned.carry(moved), ground.carry(moved) / 2, atol=1e-7)
