"""The lip-closure guard: where the speech shuts the lips, the expression may not hold them open, nor press one
through the other.

Eq. 13 adds expression to speech without asking; an apex that parts the lips then spoils every /m/,
/b/ and /p/, and one that purses them makes them cross. Where B_A w_A alone closes, the guard takes the least change
of w_E that lets the fused lips come as close as the speech alone and no closer than touching, and leaves the rest of
the face where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.spatial import KDTree

from visemo.types import Animation, VisemoError
from visemo.units import M_PER_MM, MM_PER_M

CLOSED = 1.5 * M_PER_MM  # mean gap of the speech alone below which a frame is a closure
REACH = 0.1  # s over which the correction comes and goes around a closure
NEAR, FAR = 15 * M_PER_MM, 40 * M_PER_MM  # from the lips: free to move, held
HELD = 10.0  # how much dearer a move of the upper face is than one of the lips
SOFTNESS = 0.02 * M_PER_MM  # gap error that is not worth a large move
UP = (0.0, 1.0, 0.0)
BLOCK = 256  # frames solved together
STEPS = 6  # Gauss-Newton steps at most; the gaps are almost linear
SETTLED = 1e-4  # change of a weight, of which 1 is the most, that ends them


@dataclass(frozen=True, eq=False)
class _Lips:
    """The lip pairs as a linear map: difference upper - lower (N, 3) m for weights."""

    rest: np.ndarray  # (N, 3)
    speech: np.ndarray  # (K_A, N, 3)
    expression: np.ndarray  # (K_E, N, 3)

    @classmethod
    def of(cls, clip: Animation) -> _Lips:
        upper, lower = clip.lip_pairs.T
        difference = (clip.basis[:, upper] - clip.basis[:, lower]).astype(np.float64)
        k_a = clip.speech_weights.shape[1]
        return cls((clip.template[upper] - clip.template[lower]).astype(np.float64), difference[:k_a], difference[k_a:])

    def after_speech(self, w_a: np.ndarray) -> np.ndarray:
        """(T, N, 3) with the speech alone."""
        return self.rest + np.tensordot(w_a, self.speech, 1)

    def with_expression(self, spoken: np.ndarray, w_e: np.ndarray) -> np.ndarray:
        return spoken + np.tensordot(w_e, self.expression, 1)


def _gap(difference: np.ndarray) -> np.ndarray:
    """Mean Euclidean distance over the pairs: (T, N, 3) -> (T,)."""
    return np.linalg.norm(difference, axis=-1).mean(axis=-1)


def _cost_of_moving(clip: Animation) -> np.ndarray:
    """(K_E, K_E): mean square displacement of a change of w_E, dear far from the lips."""
    basis = clip.basis[clip.speech_weights.shape[1] :]
    distance, _ = KDTree(clip.template[clip.lip_pairs.ravel()]).query(clip.template)
    dear = 1 + (HELD - 1) * np.clip((distance - NEAR) / (FAR - NEAR), 0, 1)
    paid = (basis * np.sqrt(dear / len(dear)).astype(np.float32)[:, None]).reshape(len(basis), -1)
    cost = (paid @ paid.T).astype(np.float64)
    return cost + 1e-6 * np.trace(cost) / len(cost) * np.eye(len(cost))  # shapes that move nothing stay put


def _least_change(lips: _Lips, cost: np.ndarray, spoken: np.ndarray, w_e: np.ndarray) -> np.ndarray:
    """The change of w_E (T, K_E) of least cost by which no pair is wider, or crosses more, than in the speech alone."""
    wanted = np.linalg.norm(spoken, axis=-1)  # (T, N)
    lowest = np.minimum(spoken[..., 1], 0.0)  # of the upper lip over the lower
    # softness in the problem's own unit: what the cheapest mm at the lips costs
    flat = lips.expression.reshape(len(w_e.T), -1)
    unit = np.trace(flat.T @ np.linalg.solve(cost, flat)) / flat.shape[1]
    by_pair = lips.expression.transpose(1, 2, 0)  # (N, 3, K_E)
    stiff = cost * unit * (SOFTNESS / M_PER_MM) ** 2
    change = np.zeros_like(w_e)
    for _ in range(STEPS):
        fused = lips.with_expression(spoken, w_e + change)
        width = np.linalg.norm(fused, axis=-1)
        crossed = fused[..., 1] < lowest
        # sensitivity of each gap; a pair that is neither too wide nor crossed asks for nothing and resists nothing
        toward = fused * ((width > wanted) / np.maximum(width, 1e-6))[..., None]
        toward[crossed] = UP
        slope = np.matmul(toward.transpose(1, 0, 2), by_pair).transpose(1, 0, 2)  # (T, N, K_E)
        # the whole change, anew, from the present linearisation: the least one, not a sum of steps
        missing = np.where(crossed, lowest - fused[..., 1], np.minimum(wanted - width, 0.0))
        target = missing + (slope @ change[..., None])[..., 0]
        turned = slope.transpose(0, 2, 1)
        before, change = change, np.linalg.solve(turned @ slope + stiff, turned @ target[..., None])[..., 0]
        if np.abs(change - before).max() < SETTLED:
            break
    return change


def _presence(closed: np.ndarray, fps: float) -> np.ndarray:
    """(T,) 1 on closures, falling to 0 within REACH s around them: the correction never jumps."""
    reach = max(1, round(REACH * fps))
    presence = np.zeros(len(closed))
    for offset in range(reach + 1):
        near = maximum_filter1d(closed.astype(float), 2 * offset + 1, mode="constant")
        presence = np.maximum(presence, near * 0.5 * (1 + np.cos(np.pi * offset / (reach + 1))))
    return presence


def guard_lips(clip: Animation, strength: float = 1.0) -> Animation:
    """Change w_E so that a fused take closes its lips where the speech alone does.

    Parameters
    ----------
    clip : a take in mode `fused`; others come back untouched, they have nothing to guard.
    strength : 0 (off) to 1 (the fused gap does not exceed the gap of the speech alone).

    Returns
    -------
    The take with corrected `expression_weights`; `meta["guard"]` says the strength, the number of
    frames and the mean lip gap over them in mm: of the speech alone, before, and after.

    Raises
    ------
    VisemoError
        When the strength is not a number from 0 to 1.
    """
    number = isinstance(strength, (int, float, np.number)) and not isinstance(strength, bool)
    if not number or not 0 <= strength <= 1:
        raise VisemoError(f"guard: got {strength!r}, expected a number from 0 to 1")
    if strength == 0 or clip.meta.get("mode", "fused") != "fused":
        return replace(clip, meta={**clip.meta, "guard": {"strength": 0.0}})
    lips = _Lips.of(clip)
    spoken = lips.after_speech(clip.speech_weights.astype(np.float64))
    closed = _gap(spoken) <= CLOSED
    w_e = clip.expression_weights.astype(np.float64)
    guarded = w_e.copy()
    presence = _presence(closed, clip.fps)
    near = np.flatnonzero((presence > 0) & np.any(w_e != 0, axis=1))
    cost = _cost_of_moving(clip)
    for start in range(0, len(near), BLOCK):
        block = near[start : start + BLOCK]
        change = _least_change(lips, cost, spoken[block], w_e[block])
        guarded[block] += strength * presence[block, None] * change
    after = guarded.astype(np.float32)
    effect = _effect(lips, spoken[closed], w_e[closed], after[closed].astype(np.float64))
    meta = {**clip.meta, "guard": {"strength": float(strength), "frames": int(closed.sum()), **effect}}
    return replace(clip, expression_weights=after, meta=meta)


def _effect(lips: _Lips, spoken: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Mean gaps over the closures, mm, to a thousandth."""
    if not len(spoken):
        return {}
    gaps = {
        "gap_speech_mm": _gap(spoken),
        "gap_before_mm": _gap(lips.with_expression(spoken, before)),
        "gap_after_mm": _gap(lips.with_expression(spoken, after)),
    }
    return {name: round(float(gap.mean()) * MM_PER_M, 3) for name, gap in gaps.items()}
