"""From triangles to the world: planted frames, rigid motions, and a real avatar's published places."""

import numpy as np
import pytest

from toy_avatar import some
from visemo.avatar.gaussians import Gaussians, read_gaussians
from visemo.avatar.rig import Splats, bind, pose, triangle_frames
from visemo.geometry.rotation import axis_angle_to_matrix, matrix_to_quaternion, quaternion_to_matrix
from visemo.types import VisemoError


def pose_slowly(avatar: Gaussians, vertices: np.ndarray, triangles: np.ndarray) -> Splats:
    """`pose` in matrices, as the paper writes it: x = s R x_local + c, and so on."""
    origins, axes, sizes = (part[avatar.binding] for part in triangle_frames(vertices, triangles))
    return Splats(
        (sizes[:, None] * np.einsum("nij,nj->ni", axes, avatar.centres) + origins).astype(np.float32),
        (np.exp(avatar.scales) * sizes[:, None]).astype(np.float32),
        matrix_to_quaternion(axes @ quaternion_to_matrix(avatar.rotations)).astype(np.float32),
        (1 / (1 + np.exp(-avatar.opacity.astype(np.float64)))).astype(np.float32),
        avatar.sh,
    )


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


def test_the_fast_way_is_the_slow_one() -> None:
    rng = np.random.default_rng(5)
    vertices = rng.normal(scale=0.01, size=(300, 3)).astype(np.float32)  # frames of every orientation
    triangles = rng.permuted(np.tile(np.arange(300, dtype=np.int32), (1000, 1)), axis=1)[:, :3]
    vertices[triangles[0]] = 0.001  # without area
    avatar = some(4000, triangles=1000)
    got, wanted = pose(avatar, vertices, triangles), pose_slowly(avatar, vertices, triangles)
    for name in ("centres", "scales", "opacity"):
        assert np.allclose(getattr(got, name), getattr(wanted, name), rtol=1e-6, atol=1e-9), name
    assert np.abs(np.abs((got.rotations * wanted.rotations).sum(axis=1)) - 1).max() < 1e-6
    assert got.sh is avatar.sh


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
