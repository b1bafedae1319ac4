"""Random Gaussians: on the triangles of any mesh, and in the world."""

import numpy as np

from visemo.avatar.gaussians import Gaussians
from visemo.avatar.rig import Splats


def some(count: int = 5, seed: int = 0, triangles: int = 40) -> Gaussians:
    rng = np.random.default_rng(seed)
    shapes = ((count, 3), (count, 16, 3), (count,), (count, 3), (count, 4))
    return Gaussians(
        *(rng.normal(size=shape).astype(np.float32) for shape in shapes),
        rng.integers(0, triangles, count, dtype=np.int32),
    )


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
