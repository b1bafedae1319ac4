"""Named parts of a face as weights on its vertices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from visemo.types import FloatArray, IntArray


def vertex_weights(
    regions: Mapping[str, IntArray],  # region name -> vertex indices
    n: int,
    lips: float = 4.0,
    eyes: float = 2.0,
    brows: float = 2.0,
) -> FloatArray:
    """omega of Eq. 11: (n,) float32, 1 but for the regions the eye goes to; the larger where they overlap.

    A region that the face does not name is left at 1.
    """
    omega = np.ones(n, np.float32)
    for region, weight in (("lips", lips), ("eyes", eyes), ("brows", brows)):
        members = regions.get(region, np.zeros(0, np.int32))
        omega[members] = np.maximum(omega[members], weight)
    return omega
