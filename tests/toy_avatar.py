"""Random Gaussians: on the triangles of any mesh, of FLAME with teeth as GaussianAvatars keeps them, in the world."""

from pathlib import Path

import numpy as np

from visemo.avatar.gaussians import Gaussians, write_gaussians
from visemo.avatar.rig import Splats

POSES = {"rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "translation": 3}


def some(count: int = 5, seed: int = 0, triangles: int = 40) -> Gaussians:
    rng = np.random.default_rng(seed)
    shapes = ((count, 3), (count, 16, 3), (count,), (count, 3), (count, 4))
    return Gaussians(
        *(rng.normal(size=shape).astype(np.float32) for shape in shapes),
        rng.integers(0, triangles, count, dtype=np.int32),
    )


def flame_avatar_in(folder: Path, triangles: int = 10144) -> Path:
    """Its point_cloud.ply; flame_param.npz, of a person with three components, is beside it."""
    write_gaussians(folder / "point_cloud.ply", some(40, triangles=triangles))
    rng = np.random.default_rng(4)
    offset = rng.normal(0, 0.001, (1, 5143, 3)).astype(np.float32)
    shape = np.zeros(300, np.float32)
    shape[:3] = [1, -1, 0.5]
    still = {name: np.zeros((1, width), np.float32) for name, width in (POSES | {"expr": 100}).items()}
    np.savez(folder / "flame_param.npz", shape=shape, static_offset=offset, **still)
    return folder / "point_cloud.ply"


def cloud(count: int, seed: int = 0) -> Splats:
    """Long, flat, faint and solid Gaussians before, around and behind a camera's picture."""
    rng = np.random.default_rng(seed)
    turns = rng.normal(size=(count, 4))
    return Splats(
        rng.uniform(-0.35, 0.35, (count, 3)).astype(np.float32) * np.float32([1, 1, 4]),
        np.exp(rng.uniform(np.log(5e-4), np.log(0.05), (count, 3))).astype(np.float32),
        (turns / np.linalg.norm(turns, axis=1, keepdims=True)).astype(np.float32),
        rng.uniform(0, 1, count).astype(np.float32),
        rng.normal(0, 0.2, (count, 16, 3)).astype(np.float32),
    )
