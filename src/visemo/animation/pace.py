"""No vertex leaps: speech is slowed where it would move faster than the eye follows at film rates.

A model that hears a /p/ late snaps the lips shut within a frame. Where two neighbouring frames are further apart
than `FASTEST` allows, the one whose lips are wider open gives way, so that lips begin to close earlier and part
later; closures themselves stay as they are.
"""

from __future__ import annotations

import numpy as np

from visemo.animation.closure import lip_difference
from visemo.face.face import Face
from visemo.types import FloatArray
from visemo.units import M_PER_MM

FASTEST = 108 * M_PER_MM  # per second, of any vertex: 3.6 mm a frame at 30 a second, to which expression adds
SWEEPS = 60  # at most; a peak between two closures is rarely more than a few frames from either
BLOCK = 512  # frames looked at together
SLACK = 1e-3  # of the most that is allowed


def at_pace(
    speech: FloatArray, leak: FloatArray, basis: FloatArray, face: Face, fps: float
) -> tuple[FloatArray, FloatArray]:
    """Speech weights and their leak, slowed where needed.

    Parameters
    ----------
    speech, leak : w_A (T, K_A) and eps_A (T, K_E), which are of the same frames and change together
    basis : (K_A, V, 3) m, the speech blendshapes
    face : whose lip pairs tell which of two frames is the more open
    fps : frames per second

    Returns
    -------
    Both, new only where something was too fast.
    """
    most = FASTEST / fps
    rows = np.concatenate([speech, leak], axis=1)
    count = speech.shape[1]
    reach = np.linalg.norm(basis, axis=2)  # (K_A, V) m
    change = np.abs(np.diff(speech, axis=0))
    # what cannot be too fast even if all shapes pull one way is not looked at
    suspects = np.flatnonzero(change @ reach.max(axis=1) > most)
    widest = np.ptp(speech, axis=0) if len(speech) else np.zeros(count)  # which no frame leaves by giving way
    fast = np.ascontiguousarray(basis[:, widest @ reach > most])
    apart = np.linalg.norm(lip_difference(speech, basis, face), axis=2).mean(axis=1)
    for _ in range(SWEEPS):
        changed = []
        for odd in (0, 1):  # no frame is moved twice at once
            pairs = suspects[suspects % 2 == odd]
            steps = _steps(rows[:, :count], pairs, fast)
            late = steps > most * (1 + SLACK)
            pairs, share = pairs[late], 1 - most / steps[late]
            second = (apart[pairs + 1] > apart[pairs]).astype(np.int64)  # 1 where that one is the more open
            yields, stays = pairs + second, pairs + 1 - second
            apart[yields] += share * (apart[stays] - apart[yields])
            rows[yields] += share[:, None].astype(np.float32) * (rows[stays] - rows[yields])
            changed.append(yields)
        moved = np.concatenate(changed)
        if not len(moved):
            break
        suspects = np.unique(np.concatenate([moved - 1, moved]).clip(0, len(rows) - 2))
    return np.ascontiguousarray(rows[:, :count]), np.ascontiguousarray(rows[:, count:])


def _steps(weights: FloatArray, pairs: np.ndarray, shapes: FloatArray) -> FloatArray:
    """How far the fastest vertex moves from each frame of `pairs` to the next, m."""
    found = [np.zeros(0, np.float32)]
    for start in range(0, len(pairs), BLOCK):
        first = pairs[start : start + BLOCK]
        change = (weights[first + 1] - weights[first]) @ shapes.reshape(len(shapes), -1)
        lengths = np.square(change.reshape(len(first), -1, 3)).sum(axis=2)
        found.append(np.sqrt(lengths.max(axis=1, initial=0.0)))
    return np.concatenate(found)
