"""Lips that all but meet do meet.

A model that is not sure whether it heard a /p/ or a /k/ answers with the mean of both: lips half open. No mouth does
that: lips meet, or they stay well apart. Where the gap of the speech alone dips that low between two openings, the
speech weights are changed by the least motion of the face that shuts it; a dip that stays higher is left as it is.
So is one in which the lower lip is drawn in: that is an /f/ or a /v/, whose lip meets the teeth. Faces without the
regions `upper_lip` and `lower_lip` cannot tell the two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visemo.face.face import Face
from visemo.types import FloatArray
from visemo.units import M_PER_MM

NEAR, FAR = 2.8 * M_PER_MM, 3.6 * M_PER_MM  # mean gap of a dip that is shut, and of one that is left open
DRAWN_IN = 0.25 * M_PER_MM  # that the lower lip rises over its own edge: 0.5 mm in /f v/, next to nothing in /p b m/
SHUT = 0.3 * M_PER_MM  # what is closer than that has met
RISE = 1.0 * M_PER_MM  # that a dip lies below what is on either side of it, or it is no dip
AROUND = 0.2  # s, that its two sides reach
REACH = 0.07  # s over which the correction comes and goes
SOFTNESS = 0.02 * M_PER_MM  # gap that is not worth a large move


def lip_difference(speech: FloatArray, basis: FloatArray, face: Face) -> FloatArray:
    """Upper less lower lip (T, N, 3) m at each lip pair, for speech weights (T, K_A) of `basis` (K_A, V, 3) m."""
    upper, lower = face.lip_pairs.T
    moved = np.tensordot(speech, basis[:, upper] - basis[:, lower], 1)
    return (moved + (face.template[upper] - face.template[lower])).astype(np.float32, copy=False)


def lips_meet(speech: FloatArray, basis: FloatArray, face: Face, fps: float) -> FloatArray:
    """Speech weights (T, K_A) whose near closures are closures, for a basis (K_A, V, 3) m; new only around these."""
    apart = lip_difference(speech, basis, face)
    left = _left_open(np.linalg.norm(apart, axis=2).mean(axis=1), _drawn_in(speech, basis, face), fps)
    near = np.flatnonzero(left < 1)
    if not len(near):
        return speech
    upper, lower = face.lip_pairs.T
    parting = (basis[:, upper] - basis[:, lower]).reshape(len(basis), -1).astype(np.float64)  # (K_A, 3N)
    moving = basis.reshape(len(basis), -1).astype(np.float64)
    stiff = moving @ moving.T / len(face.template)
    unit = np.trace(parting @ parting.T) / np.trace(stiff) / len(upper)
    matrix = parting @ parting.T / len(upper) + unit * (SOFTNESS / M_PER_MM) ** 2 * stiff
    wanted = (left[near, None] - 1) * apart[near].reshape(len(near), -1)
    met = speech.copy()
    met[near] += np.linalg.solve(matrix, parting @ wanted.T / len(upper)).T.astype(np.float32)
    return met


def _drawn_in(speech: FloatArray, basis: FloatArray, face: Face) -> NDArray[np.floating]:
    """(T,) m that the lower lip has risen over its edge, more than the upper has sunk under its own; nothing on a face
    that does not say where its two lips are."""
    lips = [face.regions.get(name, ()) for name in ("upper_lip", "lower_lip")]
    if not all(map(len, lips)):
        return np.zeros(len(speech), np.float32)
    edges = face.lip_pairs.T
    return speech @ sum(
        basis[:, lip, 1].mean(axis=1) - basis[:, edge, 1].mean(axis=1) for lip, edge in zip(lips, edges)
    )


def _left_open(gap: NDArray[np.floating], drawn: NDArray[np.floating], fps: float) -> NDArray[np.floating]:
    """(T,) what is left of the lip gap in every frame: 1 away from near closures, 0 where lips are to meet."""
    frames, around = np.arange(len(gap)), max(1, round(AROUND * fps))
    left = np.ones(len(gap))
    lowest = (gap[1:-1] <= gap[:-2]) & (gap[1:-1] < gap[2:]) & (gap[1:-1] > SHUT) & (gap[1:-1] < FAR)
    for t in np.flatnonzero(lowest) + 1:
        sides = gap[max(0, t - around) : t], gap[t + 1 : t + 1 + around]
        if drawn[t] > DRAWN_IN or min(side.max() for side in sides) < gap[t] + RISE:
            continue
        shut = np.clip((FAR - gap[t]) / (FAR - NEAR), 0, 1)
        near = np.clip(np.abs(frames - t) / (REACH * fps), 0, 1)
        left = np.minimum(left, 1 - shut * 0.5 * (1 + np.cos(np.pi * near)))
    return left
