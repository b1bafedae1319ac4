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

ROUNDING = 1e-6  # frames: a time that falls on a frame is that frame

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


def mouth_opening_difference(pred: FloatArray, truth: FloatArray, lip_pairs: IntArray) -> float:
    """MOD: mean over frames of the absolute difference of the lip gaps of vertices (T, V, 3) m, in mm.

    DiffPoseTalk measures one pair in the middle, here (1, 2), on FLAME upper 3546 and lower 3504; with N pairs the
    gap is their mean. Raises VisemoError on unequal shapes.
    """
    _check_same("mouth opening", pred, truth)
    return float(np.abs(lip_gap(pred, lip_pairs) - lip_gap(truth, lip_pairs)).mean())


def around(gaps: NDArray, start: float, end: float, fps: float = FPS) -> NDArray:
    """What a curve (T,) does from `start` to `end` s, rounded outwards to whole frames; one frame at the least."""
    first = min(max(0, int(np.floor(start * fps + ROUNDING))), len(gaps) - 1)
    last = min(len(gaps), int(np.ceil(end * fps - ROUNDING)) + 1)
    return gaps[first : max(last, first + 1)]


def closure_recall(
    gaps: NDArray, times: Sequence[float], fps: float = FPS, within: float = 1.0, reach: float = 0.05
) -> float:
    """Share of closures that are made: a lip gap (T,) mm comes down to `within` mm at most `reach` s from its time.

    `times` (n,) s are when the lips should be shut, such as the middles of /p b m/. Raises VisemoError for no times,
    or one outside the clip.
    """
    length = len(gaps) / fps
    if not len(times) or min(times) < 0 or max(times) > length:
        span = f"{min(times):.3g}..{max(times):.3g} s" if len(times) else "none"
        raise VisemoError(f"closure recall: got closure times {span}, expected some within 0..{length:.3g} s")
    return float(np.mean([around(gaps, time - reach, time + reach, fps).min() <= within for time in times]))


# ---------------------------------------------------------------- errors


def vertex_errors(pred: FloatArray, truth: FloatArray) -> Float64:
    """L2 distance of every vertex in every frame: (T, V) mm. Raises VisemoError on unequal shapes."""
    _check_same("error", pred, truth)
    return MM_PER_M * np.linalg.norm(_apart(pred, truth), axis=-1)


def mean_vertex_error(pred: FloatArray, truth: FloatArray, vertices: IntArray | None = None) -> float:
    """Mean L2 distance over frames and vertices (all, or those listed), mm; FaceDiffuser's MVE."""
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


def mean_max_squared_error(pred: FloatArray, truth: FloatArray) -> float:
    """What EmoVOCA (train_s2d.py) calls MVE: mean over frames of the largest squared distance of all vertices, mm^2."""
    return lve_squared(pred, truth, np.arange(pred.shape[1], dtype=np.int32))


def root_mean_squared_error(pred: FloatArray, truth: FloatArray, vertices: IntArray | None = None) -> float:
    """MHD of ARTalk (metrics.py): root of the mean squared distance over frames and vertices, mm."""
    return float((vertex_errors(*_chosen(pred, truth, vertices)) ** 2).mean() ** 0.5)


def worst_vertex_error(pred: FloatArray, truth: FloatArray, vertices: IntArray) -> float:
    """Mean error over frames of that vertex for which it is largest, mm."""
    return float(vertex_errors(*_chosen(pred, truth, vertices)).mean(axis=0).max())


def upper_face_error(pred: FloatArray, truth: FloatArray, vertices: IntArray) -> float:
    """EVE of EmoTalk, on eyes and forehead: mean over frames of the largest L2 distance there, mm. No code of it is
    published; its authors point to CodeTalker's, which squares."""
    return lve(pred, truth, vertices)


def upper_face_deviation(pred: FloatArray, truth: FloatArray, vertices: IntArray) -> float:
    """FDD of CodeTalker (cal_metric.py) on displacements: mean over `vertices` of the truth's minus the prediction's
    standard deviation over time of the squared displacement; signed, mm^2 (positive = too stiff)."""
    pred, truth = _chosen(pred, truth, vertices)
    spread = [((MM_PER_M * d.astype(np.float64)) ** 2).sum(axis=2).std(axis=0) for d in (truth, pred)]
    return float((spread[0] - spread[1]).mean())


def upper_face_deviation_abs(pred: FloatArray, truth: FloatArray, vertices: IntArray) -> float:
    """FDD of FaceDiffuser (compute_objective_metrics.py): the size of `upper_face_deviation` of one sequence, mm^2.
    Its mean over sequences lets a stiff and a restless face not cancel."""
    return abs(upper_face_deviation(pred, truth, vertices))


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


# ---------------------------------------------------------------- expression


def retention(shown: FloatArray, pure: FloatArray) -> tuple[float, float]:
    """How much of a pure motion is left in the one that is shown, same shapes: its size along the pure one as a share
    of that, and the cosine between the two. Both 0 for motions of nothing."""
    along = float((shown * pure).sum())
    size, wanted = (max(float(np.square(motion).sum()) ** 0.5, 1e-12) for motion in (shown, pure))
    return along / wanted**2, along / (size * wanted)


# ---------------------------------------------------------------- time


def jitter(vertices: FloatArray, fps: float = FPS) -> float:
    """Mean acceleration over vertices and inner frames, m/s^2. Raises VisemoError below three frames."""
    if len(vertices) < 3:
        raise VisemoError(f"jitter: got {len(vertices)} frames, expected at least 3")
    acceleration = np.diff(vertices.astype(np.float64), n=2, axis=0) * fps**2
    return float(np.linalg.norm(acceleration, axis=2).mean())


def velocity_error(pred: FloatArray, truth: FloatArray, vertices: IntArray | None = None, fps: float = FPS) -> float:
    """Mean L2 distance of the velocities, frame differences times fps, of all vertices or those listed; mm/s.

    Raises VisemoError on unequal shapes or below two frames.
    """
    if len(pred) < 2:
        raise VisemoError(f"velocity: got {len(pred)} frames, expected at least 2")
    _check_same("velocity", pred, truth)
    off = np.diff(_apart(*_chosen(pred, truth, vertices)), axis=0)
    return MM_PER_M * fps * float(np.linalg.norm(off, axis=2).mean())


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


def _check_same(measure: str, pred: NDArray, truth: NDArray) -> None:
    if pred.shape != truth.shape:
        raise VisemoError(f"{measure}: got shapes {pred.shape} and {truth.shape}, expected the same twice")


def _apart(a: NDArray, b: NDArray) -> Float64:
    return a.astype(np.float64) - b.astype(np.float64)


def _chosen(pred: NDArray, truth: NDArray, vertices: IntArray | None) -> tuple[NDArray, NDArray]:
    return (pred, truth) if vertices is None else (pred[:, vertices], truth[:, vertices])
