"""From triangles to the world: planted frames, rigid motions, and a real avatar's published places."""

import numpy as np
import pytest

from toy_avatar import some
from visemo.avatar.gaussians import read_gaussians
from visemo.avatar.rig import Splats, bind, pose, triangle_frames
from visemo.geometry.rotation import axis_angle_to_matrix, quaternion_to_matrix
from visemo.types import VisemoError

VERTICES = np.float32([[0, 0, 0], [0.02, 0, 0], [0.005, 0.01, 0], [0.02, 0.02, 0.01]])
TRIANGLES = np.int32([[0, 1, 2], [1, 3, 2]])


def test_a_triangle_s_frame_is_the_published_one() -> None:
    frames = triangle_frames(VERTICES, TRIANGLES)
    assert np.allclose(frames.origins[0], [0.025 / 3, 0.01 / 3, 0])
    assert np.allclose(frames.rotations[0], np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]))  # columns: side, normal, rest
    assert np.isclose(frames.sizes[0], (0.02 + 0.01) / 2)
    assert np.allclose(np.linalg.det(frames.rotations), 1)
    several = triangle_frames(np.stack([VERTICES, 2 * VERTICES]), TRIANGLES)
    assert several.origins.shape == (2, 2, 3) and np.allclose(several.sizes[1], 2 * frames.sizes)


def test_a_triangle_without_area_does_no_harm() -> None:
    flat = triangle_frames(np.float32([[0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.int32([[0, 1, 2]]))
    assert np.array_equal(flat.rotations[0], np.eye(3))
    splats = pose(some(4, triangles=1), np.zeros((3, 3), np.float32), np.int32([[0, 1, 2]]))
    assert np.isfinite(splats.rotations).all() and not splats.centres.any()


def test_splats_turn_and_grow_with_their_triangle() -> None:
    avatar = some(6, triangles=2)
    before = pose(avatar, VERTICES, TRIANGLES)
    turn, shift = axis_angle_to_matrix(np.array([0.4, -1.1, 0.7])), np.array([0.1, 0.2, -0.3])
    after = pose(avatar, 3 * VERTICES @ turn.T + shift, TRIANGLES)
    assert np.abs(after.centres - (3 * before.centres @ turn.T + shift)).max() < 1e-6
    assert np.abs(after.scales / before.scales - 3).max() < 1e-5
    wanted = turn @ quaternion_to_matrix(before.rotations)
    assert np.abs(quaternion_to_matrix(after.rotations) - wanted).max() < 1e-5
    assert np.abs(np.linalg.norm(after.rotations, axis=1) - 1).max() < 1e-6
    assert np.allclose(after.opacity, 1 / (1 + np.exp(-avatar.opacity)))


def test_bind_undoes_pose() -> None:
    avatar = some(6, triangles=2)
    back = bind(pose(avatar, VERTICES, TRIANGLES), avatar.binding, VERTICES, TRIANGLES)
    assert np.abs(back.centres - avatar.centres).max() < 1e-5
    assert np.abs(back.scales - avatar.scales).max() < 1e-5 and np.abs(back.opacity - avatar.opacity).max() < 1e-4
    turned, own = quaternion_to_matrix(back.rotations), quaternion_to_matrix(avatar.rotations)
    assert np.abs(turned - own).max() < 1e-5


def test_refusals() -> None:
    with pytest.raises(VisemoError, match="belongs to another mesh"):
        pose(some(6, triangles=9), VERTICES, TRIANGLES)
    with pytest.raises(VisemoError, match=r"expected \(any, 3\)"):
        pose(some(6, triangles=2), VERTICES[None], TRIANGLES)
    splats = pose(some(6, triangles=2), VERTICES, TRIANGLES)
    with pytest.raises(VisemoError, match="binding"):
        bind(splats, np.zeros(5, np.int32), VERTICES, TRIANGLES)


def test_a_real_avatar_lies_where_it_was_published(shared_data) -> None:
    """The same head twice: per vertex, as LAM publishes it, and in GaussianAvatars' layout; and the way back."""
    folder = shared_data / "gaussian_avatar"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: the rigged Gaussian head of LAM_WebRender")
    with np.load(folder / "lam_p2-1.npz") as lam:
        head, flame, offset = lam["vertices"] - lam["flame_translation"], lam["flame_faces"], lam["gaussian_offset"]
        scales, turns, opacity = (lam[f"gaussian_{name}"] for name in ("log_scale", "rot_wxyz", "opacity_logit"))
    avatar = read_gaussians(folder / "gaussianavatars_layout" / "point_cloud.ply")
    posed = pose(avatar, head[:5023], flame)
    error = np.abs(posed.centres - (head + offset)).max()
    assert error < 1e-5, f"{error} m"
    assert np.abs(posed.scales / np.exp(scales) - 1).max() < 1e-4
    same = np.abs(quaternion_to_matrix(posed.rotations) - quaternion_to_matrix(turns)).max()
    assert same < 1e-4
    published = Splats(head + offset, np.exp(scales), turns.astype(np.float32), 1 / (1 + np.exp(-opacity)), avatar.sh)
    bound = bind(published, avatar.binding, head[:5023], flame)
    unit = triangle_frames(head[:5023], flame).sizes[avatar.binding, None]
    assert np.abs((bound.centres - avatar.centres) * unit).max() < 1e-5
    assert np.abs(bound.scales - avatar.scales).max() < 1e-4
