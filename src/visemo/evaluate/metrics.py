"""Measures of animated faces. Vertices and displacements come in metres, (T, V, 3); results are in mm.

Names say what is computed: several published numbers share one name and differ in square, root and order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from visemo.types import FloatArray, IntArray, VisemoError
from visemo.units import FPS, MM_PER_M

Float64 = NDArray[np.float64]

# ---------------------------------------------------------------- lips


def lip_gap(vertices: FloatArray, lip_pairs: IntArray) -> Float64:
    """How far the lips are apart: per frame the mean Euclidean distance over all lip pairs, (T,) mm.

    Parameters
    ----------
    vertices : (T, V, 3) m
    lip_pairs : (N, 2) upper, lower
    """
    upper, lower = vertices[:, lip_pairs[:, 0]], vertices[:, lip_pairs[:, 1]]
    return MM_PER_M * np.linalg.norm(_apart(upper, lower), axis=2).mean(axis=1)


def crossing(vertices: FloatArray, lip_pairs: IntArray) -> Float64:
    """How far the lips pass through each other: (T,) mm.

    Per frame the mean over all pairs of max(0, lower.y - upper.y); pairs in order count as zero.
    """
    upper, lower = vertices[:, lip_pairs[:, 0], 1], vertices[:, lip_pairs[:, 1], 1]
    return MM_PER_M * np.maximum(_apart(lower, upper), 0.0).mean(axis=1)


# ---------------------------------------------------------------- errors


def vertex_errors(pred: FloatArray, truth: FloatArray) -> Float64:
    """L2 distance of every vertex in every frame: (T, V) mm. Raises VisemoError on unequal shapes."""
    if pred.shape != truth.shape:
        raise VisemoError(f"error: got shapes {pred.shape} and {truth.shape}, expected the same twice")
    return MM_PER_M * np.linalg.norm(_apart(pred, truth), axis=-1)


def mean_vertex_error(pred: FloatArray, truth: FloatArray, vertices: IntArray | None = None) -> float:
    """Mean L2 distance over frames and vertices (all, or those listed), mm."""
    return float(vertex_errors(*_chosen(pred, truth, vertices)).mean())


def lve(pred: FloatArray, truth: FloatArray, lips: IntArray) -> float:
    """Lip vertex error as FaceFormer defines it: mean over frames of the largest L2 distance, mm."""
    return float(vertex_errors(*_chosen(pred, truth, lips)).max(axis=1).mean())


def lve_squared(pred: FloatArray, truth: FloatArray, lips: IntArray) -> float:
    """CodeTalker's lip vertex error: mean over frames of the largest *squared* distance, mm^2."""
    return float((vertex_errors(*_chosen(pred, truth, lips)).max(axis=1) ** 2).mean())


def lve_rms(pred: FloatArray, truth: FloatArray, lips: IntArray) -> float:
    """ARTalk's lip vertex error: root of `lve_squared`, mm."""
    return lve_squared(pred, truth, lips) ** 0.5


def worst_vertex_error(pred: FloatArray, truth: FloatArray, vertices: IntArray) -> float:
    """Mean error over frames of that vertex for which it is largest, mm."""
    return float(vertex_errors(*_chosen(pred, truth, vertices)).mean(axis=0).max())


def upper_face_deviation(pred: FloatArray, truth: FloatArray, vertices: IntArray) -> float:
    """FDD of CodeTalker on displacements: mean over `vertices` of the truth's minus the prediction's standard
    deviation over time of the squared displacement; signed, mm^2 (positive = too stiff)."""
    pred, truth = _chosen(pred, truth, vertices)
    spread = [((MM_PER_M * d.astype(np.float64)) ** 2).sum(axis=2).std(axis=0) for d in (truth, pred)]
    return float((spread[0] - spread[1]).mean())


# ---------------------------------------------------------------- against the naive sum


def fused_ratio(fused: FloatArray, naive: FloatArray, truth: FloatArray) -> float:
    """Error of the fused face over that of the naive sum, all vertices; below 1 beats doing nothing."""
    return _ratio(mean_vertex_error(fused, truth), mean_vertex_error(naive, truth))


def worst_lip_ratio(fused: FloatArray, naive: FloatArray, truth: FloatArray, lips: IntArray) -> float:
    """The same at the worst lip vertex of each, `worst_vertex_error`."""
    return _ratio(worst_vertex_error(fused, truth, lips), worst_vertex_error(naive, truth, lips))


def _ratio(error: float, naive: float) -> float:
    if not naive > 0:
        raise VisemoError("ratio: got a naive sum without error, expected truth that differs from it")
    return error / naive


# ---------------------------------------------------------------- time


def jitter(vertices: FloatArray, fps: float = FPS) -> float:
    """Mean acceleration over vertices and inner frames, m/s^2. Raises VisemoError below three frames."""
    if len(vertices) < 3:
        raise VisemoError(f"jitter: got {len(vertices)} frames, expected at least 3")
    acceleration = np.diff(vertices.astype(np.float64), n=2, axis=0) * fps**2
    return float(np.linalg.norm(acceleration, axis=2).mean())


def correlation(signal: NDArray, reference: NDArray, max_lag: int = 0) -> tuple[float, int]:
    """Pearson correlation of two (T,) curves at the shift within +-`max_lag` frames where it is largest.

    Returns the correlation and the lag in frames, positive when `signal` comes later. A shift where one
    of the two does not vary is passed over. Raises VisemoError on unequal or too short curves, or
    when nothing varies.
    """
    if signal.shape != reference.shape or signal.ndim != 1 or len(signal) < max_lag + 2:
        raise VisemoError(
            f"correlation: got shapes {signal.shape} and {reference.shape}, expected (T > lag + 1,) twice"
        )
    best = (-np.inf, 0)
    for lag in sorted(range(-max_lag, max_lag + 1), key=abs):
        a = signal[max(lag, 0) : len(signal) + min(lag, 0)].astype(np.float64)
        b = reference[max(-lag, 0) : len(signal) + min(-lag, 0)].astype(np.float64)
        a, b = a - a.mean(), b - b.mean()
        energy = np.linalg.norm(a) * np.linalg.norm(b)
        if energy > 0 and float(a @ b / energy) > best[0]:
            best = (float(a @ b / energy), lag)
    if best[0] == -np.inf:
        raise VisemoError("correlation: got a curve that does not vary, expected two that do")
    return best


# ---------------------------------------------------------------- certainty


def bootstrap_interval(
    values: Sequence[float] | NDArray,
    statistic: Callable[[NDArray], float] = lambda sample: float(sample.mean()),
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Statistic and its percentile bootstrap interval over sequences: (value, low, high).

    `values` holds one entry per sequence, (N,) or (N, ...): whole sequences are drawn again, as frames
    of one sequence are no independent witnesses. Raises VisemoError on no values.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        raise VisemoError("interval: got no sequences, expected at least one")
    picks = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    drawn = np.array([statistic(values[pick]) for pick in picks])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(statistic(values)), float(low), float(high)


def _apart(a: NDArray, b: NDArray) -> Float64:
    return a.astype(np.float64) - b.astype(np.float64)


def _chosen(pred: NDArray, truth: NDArray, vertices: IntArray | None) -> tuple[NDArray, NDArray]:
    return (pred, truth) if vertices is None else (pred[:, vertices], truth[:, vertices])
