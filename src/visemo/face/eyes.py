"""The colours of eyeballs, whatever mesh they are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IRIS, PUPIL = 5.9e-3, 2.2e-3  # m, radii
WHITE, GREEN = np.array([0.60, 0.575, 0.55]), np.array([0.13, 0.16, 0.13])
LIMBUS, BLACK = (0.05, 0.055, 0.05), (0.004, 0.004, 0.004)


def eye_colors(around: NDArray) -> NDArray[np.float64]:
    """Linear RGB (P, 3) of an eyeball's points (P, 3) m around its own middle: white, iris and pupil.

    It looks where its cornea stands out of the ball, or straight ahead along +z where it has none.
    """
    length = np.maximum(np.linalg.norm(around, axis=1), 1e-9)
    radius = float(np.median(length))
    ahead = around[:, 2] > 0.8 * length
    out = np.maximum(length - np.quantile(length[ahead], 0.5), 0) * ahead if ahead.any() else np.zeros(len(around))
    axis = (around * out[:, None]).sum(axis=0) if out.max(initial=0) > 0.02 * radius else np.array([0.0, 0.0, 1.0])
    degrees = np.degrees(np.arccos(np.clip(around @ axis / (length * np.linalg.norm(axis)), -1, 1)))
    iris, pupil = (np.degrees(np.arcsin(min(1.0, size / radius))) for size in (IRIS, PUPIL))
    colors = WHITE * (1.0 - np.clip((degrees - iris - 13) / 60, 0, 0.5)[:, None] * (0.6, 1.0, 1.0))
    ring = 1.0 - 0.45 * np.clip((degrees - 0.45 * iris) / (0.45 * iris), 0, 1)
    colors = np.where((degrees < iris)[:, None], GREEN * ring[:, None], colors)
    colors[np.abs(degrees - iris) < 1.5] = LIMBUS
    colors[degrees < pupil] = BLACK
    shadow = np.clip((around[:, 1] / length - 0.12) / 0.43, 0, 1)  # of the upper lid
    return colors * (1.0 - 0.5 * shadow[:, None])
