"""Rigid alignment of two point sets in correspondence, with or without a change of size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visemo.types import VisemoError


def rigid_align(
    source: NDArray, target: NDArray, weights: NDArray | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rotation and translation that bring `source` closest to `target` in weighted least squares.

    Parameters
    ----------
    source, target : (N, 3) points, row i of one corresponds to row i of the other; same unit
    weights : (N,) non-negative, not all zero; 1 each when absent

    Returns
    -------
    R (3, 3), t (3,) : float64 with target ~ source @ R.T + t; R is a rotation, never a reflection

    Raises
    ------
    VisemoError
        on points that do not correspond, or weights that are negative or all zero.

    Source: Kabsch 1976.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3 or not len(source):
        raise VisemoError(f"rigid alignment: got shapes {source.shape} and {target.shape}, expected (N, 3) twice")
    w = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (len(source),) or (w < 0).any() or not w.sum() > 0:
        raise VisemoError(f"rigid alignment: got weights of shape {w.shape}, expected {len(source)} non-negative ones")
    w = w / w.sum()
    center, aim = w @ source, w @ target
    u, _, vt = np.linalg.svd((source - center).T @ ((target - aim) * w[:, None]))
    upright = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    rotation = vt.T @ upright @ u.T
    return rotation, aim - rotation @ center


def similarity_align(
    source: NDArray, target: NDArray, weights: NDArray | None = None
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """As `rigid_align`, with the size that fits best: s, R, t with target ~ s * source @ R.T + t.

    Raises VisemoError as that does, and for points that all lie in one place. Source: Umeyama 1991.
    """
    rotation, _ = rigid_align(source, target, weights)
    w = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    center, aim = w @ source, w @ target
    turned = (source - center) @ rotation.T
    spread = float(w @ np.square(turned).sum(axis=1))
    if not spread > 0:
        raise VisemoError("alignment: got points in one place, expected some that are apart")
    size = float(w @ (turned * (target - aim)).sum(axis=1)) / spread
    return size, rotation, aim - size * rotation @ center
