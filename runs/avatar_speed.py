"""How fast an avatar is drawn, filling four fifths of 512 x 512 pixels, and how fast speech becomes its pictures.

    .venv/bin/python runs/avatar_speed.py [point_cloud.ply --flame FLAME] [--device auto|cpu|cuda]

On the CPU it takes two threads. From speech: a model with random weights of the preset's size, whose head the avatar
is of, or whose weights a random map takes to FLAME; 30 frames are a second. Meshes are posed one by one, then pictures.

Without an avatar one is made from the built-in face. One from elsewhere is bound to FLAME: its head is FLAME's template
and the static offsets of the flame_param.npz beside it, which nods. Medians of single frames; the best stands beside
them, since whatever else the machine does only slows. A second run is the one to read: the first compiles.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", "2")

import numpy as np
import torch

from visemo.animation.animator import Animator
from visemo.animation.flame import flame_motion_of
from visemo.avatar.description import CLOUD
from visemo.avatar.from_face import avatar_from_face, write_avatar
from visemo.avatar.gaussians import Gaussians, read_gaussians
from visemo.avatar.rig import Splats, pose
from visemo.benchmark import PRESETS, noise, random_model
from visemo.face.flame import read_flame
from visemo.face.flame_motion import FlameMotion
from visemo.face.library import load_face
from visemo.geometry.rotation import axis_angle_to_matrix
from visemo.models.flame_map import JAW, FlameMap
from visemo.render.avatar import AvatarRenderer
from visemo.render.camera import Camera, portrait
from visemo.render.flame_avatar import FlameAvatarRenderer
from visemo.render.gsplat import Device, draw_with_gsplat, drawing_on
from visemo.render.head import PosedHead
from visemo.render.splat import draw_splats
from visemo.training.loop import choose_device
from visemo.types import Animation

SIZE, COVERED = 512, 0.8
WARM = 3  # frames before the clock starts


def builtin() -> tuple[Gaussians, np.ndarray, np.ndarray]:
    """An avatar of the built-in face, and the mesh it is bound to."""
    face = load_face("builtin")
    head = PosedHead(face, np.zeros((1, *face.template.shape), np.float32))
    return avatar_from_face(face), head.rest, head.triangles


def on_flame(cloud: Path, flame: Path) -> tuple[Gaussians, np.ndarray, np.ndarray]:
    """An avatar in GaussianAvatars' layout, and its head at rest without the teeth that are added there."""
    model = read_flame(flame)
    with np.load(cloud.parent / "flame_param.npz") as kept:
        assert not kept["shape"].any(), "the head must lie in its static offsets alone"
        head = model.v_template + kept["static_offset"][0, : len(model.v_template)]
    return read_gaussians(cloud), head.astype(np.float32), model.triangles


def covered(splats: Splats, camera: Camera) -> float:
    """The share of pixels that hide more than half of what lies behind them."""
    black, white = (draw_splats(splats, camera, (SIZE, SIZE), np.full(3, shade)) for shade in (0.0, 1.0))
    return float(((white.astype(int) - black).max(axis=2) < 128).mean())


def framing(splats: Splats) -> Camera:
    """The portrait camera, brought nearer until the head covers COVERED of the picture."""
    far, near = 0.5, 4.0
    for _ in range(12):
        fill = (far + near) / 2
        far, near = (fill, near) if covered(splats, portrait(splats.centres, fill=fill)) < COVERED else (far, fill)
    return portrait(splats.centres, fill=near)


def rate(name: str, frame: Callable[[int], object], frames: int) -> None:
    """Print frames per second of something that is called with the number of the frame."""
    times = []
    for t in range(WARM + frames):
        began = time.perf_counter()
        frame(t)
        times.append(time.perf_counter() - began)
    times = times[WARM:]
    print(f"{name}: {1 / np.median(times):.1f} frames/s (best {1 / min(times):.1f})")


def from_speech(preset: str, seconds: float, device: Device, renderer_of: Callable) -> None:
    """Print frames per second from sound to the avatar's mesh, and to its picture."""
    animator = Animator(random_model(preset), device=str(choose_device(device)))
    animator.animate(noise(1.0), "happy")
    renderer, shown_as = renderer_of(animator)
    sound = noise(seconds)
    began = time.perf_counter()
    clip = shown_as(animator.animate(sound, "happy"))
    heard = time.perf_counter() - began
    for name, step in (("meshes", renderer.vertices), ("pictures", renderer.frame)):
        step(clip, 0)
        began = time.perf_counter()
        for t in range(clip.frames):
            step(clip, t)
        rate = clip.frames / (heard + time.perf_counter() - began)
        print(f"{preset}: {seconds:g} s of speech to {name}: {rate:.1f} frames/s")


def on_its_face(folder: Path, device: Device) -> Callable:
    """Takes drawn on an avatar of the model's own face."""

    def renderer_of(animator: Animator) -> tuple[AvatarRenderer, Callable]:
        write_avatar(folder, animator.face)
        return AvatarRenderer(folder / CLOUD, animator.face, animator.basis, SIZE, device=device), lambda clip: clip

    return renderer_of


def through_flame(cloud: Path, flame_file: Path, device: Device) -> Callable:
    """Takes drawn on an avatar that is bound to FLAME."""
    flame = read_flame(flame_file)

    def renderer_of(animator: Animator) -> tuple[FlameAvatarRenderer, Callable]:
        rows = np.random.default_rng(0).normal(0, 0.01, (flame.n_expr + JAW, len(animator.basis)))
        to_flame = FlameMap(rows.astype(np.float32), animator.model.hash, flame.hash, "", "random")
        renderer = FlameAvatarRenderer(cloud, flame, SIZE, device=device)

        def shown_as(clip: Animation) -> FlameMotion:
            motion = flame_motion_of(clip, to_flame)
            renderer.aim(motion)
            return motion

        return renderer, shown_as

    return renderer_of


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast an avatar is drawn.")
    parser.add_argument("cloud", type=Path, nargs="?")
    parser.add_argument("--flame", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--presets", choices=PRESETS, nargs="*", default=PRESETS)
    parser.add_argument("--seconds", type=float, default=4.0)
    asked = parser.parse_args()
    draw = drawing_on(asked.device)
    gaussians, rest, triangles = builtin() if asked.cloud is None else on_flame(asked.cloud, asked.flame)
    nods = [rest @ axis_angle_to_matrix(np.array([0.05 * np.sin(t / 5), 0, 0])).T for t in range(30)]
    at_rest = pose(gaussians, rest, triangles)
    camera = framing(at_rest)
    behind = np.full((SIZE, SIZE, 3), 0.2, np.float32)

    def frame(t: int) -> np.ndarray:
        return draw(pose(gaussians, nods[t % 30], triangles), camera, (SIZE, SIZE), behind)

    print(f"drawn by {'gsplat on ' + torch.cuda.get_device_name() if draw is draw_with_gsplat else 'the CPU'}")
    print(f"{len(gaussians)} Gaussians cover {covered(at_rest, camera):.0%} of {SIZE} x {SIZE} pixels")
    rate("drawn", lambda t: draw(at_rest, camera, (SIZE, SIZE), behind), asked.frames)
    rate("posed", lambda t: pose(gaussians, nods[t % 30], triangles), asked.frames)
    rate("posed and drawn", frame, asked.frames)
    with tempfile.TemporaryDirectory() as folder:
        renderer_of = (
            on_its_face(Path(folder), asked.device)
            if asked.cloud is None
            else through_flame(asked.cloud, asked.flame, asked.device)
        )
        for preset in asked.presets:
            from_speech(preset, asked.seconds, asked.device, renderer_of)


if __name__ == "__main__":
    main()
