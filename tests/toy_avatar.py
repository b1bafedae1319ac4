"""Random Gaussians on the triangles of any mesh."""

import numpy as np

from visemo.avatar.gaussians import Gaussians


def some(count: int = 5, seed: int = 0, triangles: int = 40) -> Gaussians:
    rng = np.random.default_rng(seed)
    shapes = ((count, 3), (count, 16, 3), (count,), (count, 3), (count, 4))
    return Gaussians(
        *(rng.normal(size=shape).astype(np.float32) for shape in shapes),
        rng.integers(0, triangles, count, dtype=np.int32),
    )
