"""The flat cut of the mask: which vertices there are and which triangles join them.

Only the half u >= 0 is laid out, in a plane of millimetres that unrolls the head around its vertical
axis; the other half is its mirror image. Rings run around the mouth and around the eye, the rest is
filled with points whose spacing grows away from lips, lids and nose.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial import Delaunay, KDTree

ROLL = 75.0  # mm, radius of the cylinder that the plane is rolled around
MOUTH_SEGMENTS = 36  # per half ring: 18 along the upper lip, 18 along the lower
MOUTH_INNER, MOUTH_RED, MOUTH_SKIN = 4, 6, 8  # rings behind the rim, over the red of the lips, over the skin
MOUTH_RINGS = MOUTH_INNER + 1 + MOUTH_RED + MOUTH_SKIN
EYE_SEGMENTS = 52  # 0 at the outer corner, 13 top, 26 inner corner, 39 bottom
EYE_RINGS = 17
MOUTH_OUTER = (0.0, -41.5, 37.0, 19.5)  # centre u v, half axes
EYE_OUTER = (32.5, 28.0, 22.5, 17.5)
# Triangles of the free filling whose diagonals were swapped, because they are better shaped that way on the curved
# head than in the plane: rows of the filling, and the triangles there. Kept rather than worked out from the form, so
# that the form can be refined and every model trained on this topology still fits.
DIAGONALS = Path(__file__).with_name("diagonals.npz")
BORDER = np.array(
    [
        (0, 112),
        (40, 109),
        (74, 92),
        (94, 60),
        (99, 25),
        (97, -10),
        (91, -42),
        (76, -78),
        (50, -106),
        (24, -118),
        (0, -121),
    ],
    dtype=float,
)


@dataclass(frozen=True, eq=False)
class Layout:
    """The half mask: `points` (N, 2) mm, `triangles` (F, 3) counter-clockwise, and named rows of vertices.

    `mouth` (rings, 33) runs from the midline above over the corner to the midline below, innermost
    ring first; `eye` (rings, 52) starts at the outer corner, counter-clockwise; `border` runs from
    the midline above to the midline below; `midline` (N,) bool.
    """

    points: np.ndarray
    triangles: np.ndarray
    mouth: np.ndarray
    eye: np.ndarray
    border: np.ndarray
    midline: np.ndarray


def spacing(points: np.ndarray) -> np.ndarray:
    """Wanted edge length (N,) mm at `points` (N, 2)."""
    u, v = points.T
    mouth = np.hypot(u / 37.0, (v + 41.5) / 19.5)
    eye = np.hypot((u - 32.5) / 22.5, (v - 28.0) / 17.5)
    far = np.minimum(np.maximum(mouth - 1.0, 0.0) * 26.0, np.maximum(eye - 1.0, 0.0) * 20.0)
    chin = np.hypot(u / 50.0, (v + 90.0) / 12.0)
    far = np.minimum(far, np.maximum(chin - 1.0, 0.0) * 12.0 + 12.0)
    nose = np.hypot(u / 19.0, (v + 6.0) / 16.0)
    far = np.minimum(far, np.maximum(nose - 1.0, 0.0) * 16.0)
    size = 1.95 + 1.75 * (1.0 - np.exp(-far / 28.0))
    brow = np.hypot((u - 35.0) / 25.0, (v - 51.0) / 6.5)
    size = np.minimum(size, 1.5 + 0.12 * np.maximum(brow - 1.0, 0.0) * 8.0)
    return np.minimum(size, 1.25 + 0.09 * np.maximum(nose - 1.0, 0.0) * 16.0)


def _mouth_points() -> np.ndarray:
    angle = np.pi / 2 - np.pi * np.arange(MOUTH_SEGMENTS + 1) / MOUTH_SEGMENTS
    grow = np.linspace(0.12, 1.0, MOUTH_RINGS)[:, None]
    u0, v0, a, b = MOUTH_OUTER
    u = u0 + a * grow * np.cos(angle)
    u[:, [0, -1]] = 0.0
    return np.stack([u, v0 + b * grow * np.sin(angle)], axis=-1)


def _eye_points() -> np.ndarray:
    angle = 2 * np.pi * np.arange(EYE_SEGMENTS) / EYE_SEGMENTS
    grow = np.linspace(0.3, 1.0, EYE_RINGS)[:, None]
    u0, v0, a, b = EYE_OUTER
    return np.stack([u0 + a * grow * np.cos(angle), v0 + b * grow * np.sin(angle)], axis=-1)


def _border_points() -> np.ndarray:
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(BORDER, axis=0), axis=1))])
    level: Any = ((1, (1.0, 0.0)), (1, (-1.0, 0.0)))  # square to the midline at both ends
    curve = CubicSpline(arc, BORDER, bc_type=level)
    points = curve(np.linspace(0, arc[-1], round(arc[-1] / 4.4) + 1))
    points[[0, -1], 0] = 0.0
    return points


def _midline_points(low: float, high: float) -> np.ndarray:
    """Points strictly between two heights of the midline, as dense as `spacing` asks."""
    fine = np.linspace(low, high, 2001)
    need = 1.0 / spacing(np.stack([np.zeros_like(fine), fine], axis=1))
    total = np.concatenate([[0], np.cumsum((need[1:] + need[:-1]) / 2 * np.diff(fine))])
    count = max(2, round(total[-1]))
    v = np.interp(np.linspace(0, total[-1], count + 1)[1:-1], total, fine)
    return np.stack([np.zeros_like(v), v], axis=1)


def _fill(fixed: np.ndarray, border: np.ndarray, mouth: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """Free points between the rings and the border, spaced by springs (Persson and Strang, 2004)."""
    step = 1.2
    grid_u, grid_v = np.meshgrid(np.arange(0, 110, step), np.arange(-125, 118, step * np.sqrt(3) / 2))
    grid_u[1::2] += step / 2
    free = np.stack([grid_u.ravel(), grid_v.ravel()], axis=1)
    density = (step / spacing(free)) ** 2
    chance = np.random.default_rng(11).random(len(free))
    free = free[(chance < density) & _inside(free, border, mouth, eye)]
    # half-way points keep the free ones off the rings' edges, so that each edge is one of the triangulation
    keep_off = np.concatenate([fixed, (mouth[1:] + mouth[:-1]) / 2, (eye + np.roll(eye, 1, axis=0)) / 2])
    tree = KDTree(keep_off)
    free = free[tree.query(free)[0] > 0.55 * spacing(free)]
    for _ in range(45):
        free = free + 0.2 * _spring_forces(free, fixed)
        near, which = tree.query(free)
        away = free - keep_off[which]
        short = near < 0.7 * spacing(free)
        free[short] += (away * (0.7 * spacing(free) / np.maximum(near, 1e-6) - 1.0)[:, None])[short]
        free = free[_inside(free, border, mouth, eye) & (free[:, 0] > 0.3)]
    return np.round(free, 6)


def _within(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which points (N,) lie inside a closed polygon: crossings of a ray counted."""
    u, v = points[:, :1], points[:, 1:]
    (u0, v0), (u1, v1) = polygon.T, np.roll(polygon, -1, axis=0).T
    spans = (v0 > v) != (v1 > v)
    rise = np.where(v1 == v0, 1.0, v1 - v0)
    return ((spans & (u < u0 + (v - v0) / rise * (u1 - u0))).sum(axis=1) % 2) == 1


def _inside(points: np.ndarray, border: np.ndarray, mouth: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """Which points (N,) lie between the border and the rings, at u > 0."""
    keep = _within(points, border) & ~_within(points, mouth) & ~_within(points, eye)
    return keep & (points[:, 0] > 0)


def _spring_forces(free: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    points = np.concatenate([free, fixed])
    corners = Delaunay(points).simplices
    pairs = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), axis=1)
    bars = np.stack(np.divmod(np.unique(pairs[:, 0].astype(np.int64) * len(points) + pairs[:, 1]), len(points)), axis=1)
    along = points[bars[:, 0]] - points[bars[:, 1]]
    length = np.linalg.norm(along, axis=1)
    want = spacing((points[bars[:, 0]] + points[bars[:, 1]]) / 2) * 1.15
    keep = length < 3 * want
    push = (np.maximum(want - length, 0) / length)[:, None] * along
    push = push[keep]
    first, second = bars[keep].T
    force = [np.bincount(first, push[:, i], len(points)) - np.bincount(second, push[:, i], len(points)) for i in (0, 1)]
    return np.stack(force, axis=1)[: len(free)]


def _strip(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Triangles between two rows of equal length."""
    a, b, c, d = inner[:-1], inner[1:], outer[1:], outer[:-1]
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


def _counter_clockwise(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    p, q, r = (points[triangles[:, i]] for i in range(3))
    turn = (q - p)[:, 0] * (r - p)[:, 1] - (q - p)[:, 1] * (r - p)[:, 0]
    return np.where(turn[:, None] > 0, triangles, triangles[:, [0, 2, 1]])


def _swap_diagonals(filled: np.ndarray) -> np.ndarray:
    """The free filling with the better diagonals of `DIAGONALS`."""
    with np.load(DIAGONALS) as kept:
        filled[kept["rows"]] = kept["triangles"]
    return filled


def half_layout() -> Layout:
    """Lay the half mask out. Deterministic."""
    mouth, eye, border = _mouth_points(), _eye_points(), _border_points()
    upper = _midline_points(mouth[-1, 0, 1], border[0, 1])
    lower = _midline_points(border[-1, 1], mouth[-1, -1, 1])
    fixed = np.concatenate([mouth[-1], eye[-1], border, upper, lower])
    free = _fill(fixed, border, mouth[-1], eye[-1])
    points = np.concatenate([mouth.reshape(-1, 2), eye.reshape(-1, 2), border, upper, lower, free])
    mouth_rows = np.arange(mouth.shape[0] * mouth.shape[1]).reshape(mouth.shape[:2])
    eye_rows = mouth_rows.size + np.arange(eye.shape[0] * eye.shape[1]).reshape(eye.shape[:2])
    border_row = mouth_rows.size + eye_rows.size + np.arange(len(border))
    sheet = np.concatenate([mouth_rows[-1], eye_rows[-1], np.arange(border_row[0], len(points))])
    filled = sheet[Delaunay(points[sheet]).simplices]
    centre = points[filled].mean(axis=1)
    pieces = [_swap_diagonals(_counter_clockwise(filled[_inside(centre, border, mouth[-1], eye[-1])], points))]
    pieces += [_strip(mouth_rows[k], mouth_rows[k + 1]) for k in range(len(mouth_rows) - 1)]
    closed = np.concatenate([eye_rows, eye_rows[:, :1]], axis=1)
    pieces += [_strip(closed[k], closed[k + 1]) for k in range(len(eye_rows) - 1)]
    triangles = np.concatenate([pieces[0], _counter_clockwise(np.concatenate(pieces[1:]), points)])
    return Layout(points, triangles, mouth_rows, eye_rows, border_row, points[:, 0] == 0.0)
