"""The hair: a short crop that lies on the skull as a thick skin of its own, thin at the hairline."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from visemo.face.builtin.form import cast, smooth_step

MIDDLE = np.array([0.0, 30.0, -5.0])  # the hair is laid out in angles around this point of the head
COLUMNS, ROWS = 164, 26
SKIN = np.array([0.53, 0.325, 0.245])
HAIR = np.array([0.115, 0.066, 0.040])
SWEEP = 0.8  # radians that a strand drifts to one side on its way from the crown to the hairline
CROWN = 7.5  # mm of hair on the crown
# the hairline: degrees from straight ahead to the side, degrees above MIDDLE. Forehead, temple, sideburn, over the
# ear, behind it, nape
_TURN = np.array([0, 12, 24, 34, 44, 52, 60, 68, 72, 75.5, 79, 82, 92, 104, 114, 124, 140, 160, 180], dtype=float)
_RISE = np.array([37, 37, 36.5, 34.5, 31, 26, 18.5, 9, -2, -11, -15, -9, 3, 1, -11, -25, -35, -38, -39])
_hairline = PchipInterpolator(_TURN, _RISE)
# how far the hair stands off the skull, mm, likewise by angle
_body = PchipInterpolator([0, 30, 60, 90, 130, 180], [7.5, 7.0, 4.5, 3.8, 5.0, 6.0])


def _angles(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn to the side and rise (N,) in degrees, and distance (N,) from MIDDLE."""
    x, y, z = (points - MIDDLE).T
    across = np.hypot(x, z)
    return np.degrees(np.arctan2(np.abs(x), z)), np.degrees(np.arctan2(y, across)), np.hypot(across, y)


def below_hairline(points: np.ndarray) -> np.ndarray:
    """How far (N,) each point of the skin lies outside the hair, mm, negative under it."""
    turn, rise, far = _angles(points)
    return np.radians(_hairline(turn) - rise) * far


def hair_strength(points: np.ndarray) -> np.ndarray:
    """How much the roots darken the skin (N,): 0..1, a soft edge around the hair."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    wave = 1.0 * np.sin(0.45 * x + 0.2 * y) + 0.7 * np.sin(0.83 * x - 0.5 * z)
    return smooth_step(3.5, -4.5, below_hairline(points) + wave)


def _strands(low: int, high: int, seed: int) -> np.ndarray:
    """Streaks (ROWS, COLUMNS) of about unit size along the columns, `low` to `high` of them around the head."""
    random = np.random.default_rng(seed)
    around, t = 2 * np.pi * np.arange(COLUMNS) / COLUMNS, np.linspace(0, 1, ROWS)[:, None]
    out = np.zeros((ROWS, COLUMNS))
    waves = 14
    for count in random.integers(low, high, waves):
        out += np.sin(count * around + random.uniform(-4.5, 4.5) * t + random.uniform(0, 2 * np.pi))
    return out / np.sqrt(waves / 2)


def hair_surface() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (ROWS * COLUMNS, 3) mm from the crown to the hairline, and their colours.

    Columns follow the strands: they leave the crown and drift to one side.
    """
    t = (np.linspace(0.004, 1, ROWS) ** 0.85)[:, None]
    turn = 2 * np.pi * np.arange(COLUMNS) / COLUMNS + SWEEP * (1 - t)
    degrees = np.degrees((turn + np.pi) % (2 * np.pi) - np.pi)
    side = np.abs(degrees)
    # the streaks meet at the crown, where they must not make spikes
    fine = _strands(18, 75, 5) * smooth_step(0.05, 0.5, t)
    coarse = _strands(5, 14, 8) * smooth_step(0.0, 0.4, t)
    rise = np.radians(90 + (_hairline(side) + 0.35 * fine[-1] + 0.5 * coarse[-1] - 90) * t)
    flat = np.cos(rise)
    direction = np.stack([flat * np.sin(turn), np.sin(rise), flat * np.cos(turn)], axis=-1).reshape(-1, 3)
    root = cast(np.broadcast_to(MIDDLE, direction.shape), direction)
    edge = 1 - smooth_step(0.3, 1.0, t)  # combed flat towards the hairline, where it has no edge of its own
    lock = 3.0 * np.exp(-(((degrees + 12) / 26) ** 2)) * smooth_step(0.35, 0.75, t)  # brushed up over the forehead
    body = CROWN + (_body(side) - CROWN) * smooth_step(0.0, 0.4, t) + lock
    stand = (body + 0.55 * fine + 0.5 * coarse) * edge + 0.4 - 1.2 * smooth_step(0.95, 1.0, t)
    points = root + stand.reshape(-1, 1) * direction
    light = np.clip(1.0 + 0.2 * fine + 0.08 * coarse, 0.5, 1.7).reshape(-1, 1)
    thin = 0.68 * smooth_step(0.78, 0.98, t - 0.07 * fine).reshape(-1, 1)  # the skin shines through
    return points, HAIR * light * (1 - thin) + SKIN * thin
