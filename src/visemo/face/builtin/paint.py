"""The colours of the skin: where brows and hair grow, where blood shows through."""

from __future__ import annotations

import numpy as np

from visemo.face.builtin.form import bump, nostril, smooth_step
from visemo.face.builtin.hair import HAIR, SKIN, hair_strength


def brow_strength(points: np.ndarray) -> np.ndarray:
    """How much brow hair grows at each point (N,): 0..1, a tapered arc above each eye."""
    x, y = np.abs(points[:, 0]), points[:, 1]
    t = np.clip((x - 12.0) / 42.0, -0.2, 1.2)
    middle = 47.5 + 6.8 * np.sin(np.clip(t, 0, 1) * 2.3) * 0.85 - 2.0 * np.clip(t - 0.62, 0, 1)
    half = 3.7 * np.clip(1.2 - t, 0, 1) ** 0.6 * (0.75 + 0.25 * smooth_step(0.0, 0.3, t))
    across = 1.0 - smooth_step(0.35, 1.25, np.abs(y - middle) / np.maximum(half, 0.4))
    return across * smooth_step(-0.06, 0.16, t) * smooth_step(1.03, 0.80, t) * (points[:, 2] > 40)


def skin_color(points: np.ndarray) -> np.ndarray:
    """Linear RGB (N, 3) of the skin and the cropped hair: ruddier on cheeks, nose and chin, sallow round the eyes."""
    p = np.stack([np.abs(points[:, 0]), points[:, 1], points[:, 2]], axis=1)
    color = np.tile(SKIN, (len(p), 1))
    warm = (
        0.45 * bump(p, (34, -5, 86), (20, 17, 28))
        + 0.8 * bump(p, (0, -6, 112), (15, 10, 14))
        + 0.4 * bump(p, (0, -72, 100), (14, 10, 14))
    )
    color *= 1.0 + warm[:, None] * np.array([0.02, -0.13, -0.14])
    cool = bump(p, (31, 20, 84), (15, 5, 14)) + 0.7 * bump(p, (30, 36, 84), (15, 7, 14))
    color *= 1.0 - cool[:, None] * np.array([0.03, 0.05, 0.03])
    color *= 1.0 + 0.05 * bump(p, (0, 75, 95), (40, 20, 30))[:, None]
    dark = smooth_step(3.5, 1.6, nostril(p))
    for strength, target in (
        (0.9 * dark, SKIN * (0.2, 0.11, 0.1)),
        (0.85 * hair_strength(p), HAIR),
        (0.85 * brow_strength(p), HAIR * (0.8, 0.6, 0.55)),
    ):
        color += strength[:, None] * (target - color)
    return color
