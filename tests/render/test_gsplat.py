"""Splats on a GPU: the camera is handed over right, the picture is the CPU's, and what lacks is said.

Without a GPU the call is checked against a slow twin of what gsplat 1.5 does with its arguments; with one (-m gpu),
against gsplat.
"""

import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toy_avatar import cloud, some
from toy_face import toy_clip, toy_face
from visemo.avatar.from_face import write_avatar
from visemo.avatar.rig import Splats, pose
from visemo.geometry.rotation import quaternion_to_matrix
from visemo.render import gsplat
from visemo.render.avatar import AvatarRenderer
from visemo.render.camera import Camera
from visemo.render.gsplat import draw_with_gsplat, drawing_on, pinhole
from visemo.render.splat import draw_splats, harmonics
from visemo.types import VisemoError

SIZE = (75, 59)  # neither is a whole number of tiles
places = st.tuples(*[st.floats(-2, 2)] * 3)


def cases() -> dict[str, tuple[Splats, Camera]]:
    """A toy avatar, and a random cloud around the camera."""
    face = toy_face()
    toy = pose(some(300, triangles=len(face.triangles)), face.template, face.triangles)
    return {
        "toy": (toy, Camera((0.1, 0.05, 0.5))),
        "cloud": (cloud(400), Camera((0.3, 0.2, 1.5), (0.02, 0.0, 0.0), 25.0)),
        "nothing": (replace(cloud(20), opacity=np.zeros(20, np.float32)), Camera((0.0, 0.0, 1.0))),
    }


def rasterization(  # noqa: PLR0917  (as gsplat's)
    means, quats, scales, opacities, colors, viewmats, Ks, width, height, *, near_plane, eps2d, sh_degree, packed,
    rasterize_mode,
):  # fmt: skip
    """What gsplat 1.5 says it does, Gaussian by Gaussian, for one camera."""
    count = len(means)
    shapes = [tuple(a.shape) for a in (means, quats, scales, opacities, colors, viewmats, Ks)]
    assert shapes == [(count, 3), (count, 4), (count, 3), (count,), (count, 16, 3), (1, 4, 4), (1, 3, 3)]
    assert (sh_degree, packed, rasterize_mode) == (3, False, "classic")
    assert all(a.dtype == torch.float32 and a.is_contiguous() for a in (means, quats, scales, opacities, colors))
    at, turns, sizes, opacity, sh, view, lens = (
        a.double().numpy() for a in (means, quats, scales, opacities, colors, viewmats[0], Ks[0])
    )
    axes, (fx, fy), middle = view[:3, :3], (lens[0, 0], lens[1, 1]), lens[:2, 2]
    seen, focal, size = at @ axes.T + view[:3, 3], np.array([fx, fy]), np.array([width, height])
    toward = at - np.linalg.inv(view)[:3, 3]
    shares = harmonics(toward / np.linalg.norm(toward, axis=1, keepdims=True))
    tints = np.maximum(np.einsum("nj,njk->nk", shares, sh) + 0.5, 0)
    low, high = -(middle / focal + 0.3 * size / 2 / focal), (size - middle) / focal + 0.3 * size / 2 / focal
    pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
    light, through = np.zeros((height, width, 3)), np.ones((height, width))
    done = np.zeros((height, width), bool)
    for i in np.argsort(seen[:, 2], kind="stable"):
        far = seen[i, 2]
        if far < near_plane:
            continue
        slope = np.clip(seen[i, :2] / far, low, high)
        derivative = np.array([[fx, 0, -fx * slope[0]], [0, fy, -fy * slope[1]]]) / far
        turn = axes @ quaternion_to_matrix(turns[i] / np.linalg.norm(turns[i]))
        covariance = derivative @ turn @ np.diag(sizes[i] ** 2) @ turn.T @ derivative.T + eps2d * np.eye(2)
        off = focal * seen[i, :2] / far + middle - pixels
        power = 0.5 * np.einsum("hwi,ij,hwj->hw", off, np.linalg.inv(covariance), off)
        hidden = np.minimum(0.999, opacity[i] * np.exp(-power))
        hidden[hidden < 1 / 255] = 0
        done |= (hidden > 0) & (through * (1 - hidden) <= 1e-4)
        hidden[done] = 0
        light += (hidden * through)[..., None] * tints[i]
        through *= 1 - hidden
    return torch.from_numpy(light)[None], torch.from_numpy(1 - through)[None, ..., None], {}


def same(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Within 2 of 255 on 99.9 % of the pixels."""
    return bool((np.abs(got.astype(int) - wanted).max(axis=2) <= 2).mean() >= 0.999)


@pytest.fixture
def gpu() -> None:
    if not torch.cuda.is_available() or find_spec("gsplat") is None:
        pytest.skip("needs CUDA and gsplat")


@given(places, places, st.floats(5, 120), st.lists(places, min_size=1, max_size=5))
def test_the_pinhole_camera_puts_points_where_ours_does(position, target, lens, points) -> None:
    if np.hypot(position[0] - target[0], position[2] - target[2]) < 1e-3:
        return
    camera = Camera(position, target, lens)
    to_camera, onto = pinhole(camera, SIZE)
    turn = to_camera[:3, :3]
    assert np.allclose(turn @ turn.T, np.eye(3)) and np.isclose(np.linalg.det(turn), 1)
    assert np.allclose(np.linalg.inv(to_camera)[:3, 3], position)
    for point in np.array(points):
        there = (to_camera @ [*point, 1])[:3]
        assert np.allclose(camera.to_camera(point[None])[0] * [1, -1, -1], there)
        if abs(there[2]) < 1e-2:
            continue
        x, y, inverse = camera.project(point[None], *SIZE)[0]
        on = onto @ there
        assert np.allclose([on[0] / on[2], on[1] / on[2]], [x, y]) and np.isclose(inverse, 1 / there[2])
        back = to_camera[:3, :3].T @ (np.linalg.inv(onto) @ [x, y, 1] / inverse - to_camera[:3, 3])
        assert np.allclose(back, point, atol=1e-6)


@pytest.mark.parametrize("name", cases())
def test_gsplat_s_twin_draws_the_cpu_s_picture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", SimpleNamespace(rasterization=rasterization))
    splats, camera = cases()[name]
    behind = np.random.default_rng(0).random((SIZE[1], SIZE[0], 3))
    wanted = draw_splats(splats, camera, SIZE, behind)
    got = draw_with_gsplat(splats, camera, SIZE, behind, "cpu")
    assert got.dtype == np.uint8 and same(got, wanted)
    assert name == "nothing" or not same((255 * behind).astype(np.uint8), wanted)


def test_auto_is_the_cpu_where_cuda_lacks_something(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawing_on("cpu") is draw_splats
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert drawing_on() is draw_splats
    monkeypatch.setattr(gsplat, "find_spec", lambda name: SimpleNamespace())
    assert drawing_on() is draw_splats
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gsplat, "_trial", lambda: "")
    assert drawing_on() is draw_with_gsplat and drawing_on("cuda") is draw_with_gsplat


def test_refusals_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(VisemoError, match="got 'tpu', expected auto, cpu or cuda"):
        drawing_on("tpu")  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    face, clip = toy_face(), toy_clip(2)
    write_avatar(tmp_path, face)
    with pytest.raises(VisemoError, match=r"got cuda, .*sees no GPU"):
        AvatarRenderer(tmp_path / "point_cloud.ply", face, clip.basis, 32, device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gsplat, "find_spec", lambda name: None)
    with pytest.raises(VisemoError, match=r"gsplat is not installed: pip install visemo\[gpu\]"):
        drawing_on("cuda")
    with pytest.raises(VisemoError, match="background"):
        draw_with_gsplat(cloud(1), Camera((0.0, 0.0, 1.0)), (32, 32), np.zeros((32, 3)), "cpu")


def test_a_gsplat_that_fails_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_, **__):
        raise ImportError("no nvcc\nand much more")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gsplat, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr(gsplat, "draw_with_gsplat", fail)
    gsplat._trial.cache_clear()
    try:
        with pytest.raises(VisemoError, match=r"gsplat fails here \(no nvcc\): give it the CUDA toolkit"):
            drawing_on("cuda")
        assert drawing_on("auto") is draw_splats
    finally:
        gsplat._trial.cache_clear()


@pytest.mark.gpu
@pytest.mark.parametrize("name", cases())
def test_gsplat_draws_the_cpu_s_picture(name: str, gpu: None) -> None:
    splats, camera = cases()[name]
    behind = np.random.default_rng(0).random((SIZE[1], SIZE[0], 3))
    assert drawing_on("auto") is draw_with_gsplat
    assert same(draw_with_gsplat(splats, camera, SIZE, behind), draw_splats(splats, camera, SIZE, behind))


@pytest.mark.gpu
def test_an_avatar_s_frames_are_the_cpu_s_and_thirty_a_second(gpu: None, tmp_path: Path, record_property) -> None:
    """Posed, drawn and brought back."""
    face, clip = toy_face(), toy_clip(60)
    write_avatar(tmp_path, face)
    cloud_file = tmp_path / "point_cloud.ply"
    slow = AvatarRenderer(cloud_file, face, clip.basis, device="cpu")
    fast = AvatarRenderer(cloud_file, face, clip.basis, device="cuda")
    assert all(same(fast.frame(clip, t), slow.frame(clip, t)) for t in (0, 20))
    began = time.perf_counter()
    for t in range(clip.frames):
        fast.frame(clip, t)
    rate = clip.frames / (time.perf_counter() - began)
    record_property("frames_per_second", rate)
    assert rate >= 30, f"{rate:.1f} frames per second"
