"""The mask in its neutral: the layout laid onto the form, lips and lids lofted onto it.

Millimetres throughout; the origin lies between the ears, +y up, +z out of the face.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from visemo.face.builtin.form import cast, front_depth, project, smooth_step
from visemo.face.builtin.layout import EYE_SEGMENTS, MOUTH_RED, MOUTH_SEGMENTS, ROLL, Layout

EYE_CENTRE = np.array([31.5, 28.0, 73.0])
EYE_RADIUS = 12.0


def _seed(layout: Layout) -> np.ndarray:
    u, v = layout.points.T
    # Below, the mask reaches round the edge of the jaw, so that all of that edge can move with it: rays turn farther to
    # the side and tilt down, while the level that they start from comes softly to rest above the floor of the mouth.
    theta = u / ROLL * (1.0 + 0.20 * smooth_step(-15, -60, v) * smooth_step(35, 85, u))
    rise = np.radians(48.0) * smooth_step(50, 150, v) - np.radians(70.0) * smooth_step(-62, -150, v)
    level = np.clip(v, -60, 60) - 8.0 * (1.0 - np.exp(np.minimum(v + 60.0, 0.0) / 8.0))
    direction = np.stack([np.sin(theta) * np.cos(rise), np.sin(rise), np.cos(theta) * np.cos(rise)], axis=1)
    origin = np.stack([0 * u, level, 20.0 * np.cos(theta)], axis=1)
    return cast(origin, direction)


# from the hole's edge to the rim, mm: how far each lip leaves the other, how far it lies behind the rim
INNER_LIP = ((4.2, 5.2), (1.5, 4.4), (0.0, 3.0), (0.0, 1.5), (0.0, 0.0))


def _lip_curves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rim, red border (x, y) of the half mouth, along the upper then the lower lip: (33, 2) each."""
    half = MOUTH_SEGMENTS // 2
    s = np.linspace(0, 1, half + 1)
    level: Any = ((1, 0.0), (2, 0.0))  # no kink in the middle
    rim_y = CubicSpline([0, 0.3, 0.7, 1], [-40.6, -39.9, -40.0, -39.3], bc_type=level)(s)
    up = CubicSpline([0, 0.1, 0.22, 0.55, 0.85, 1], [-34.5, -33.7, -32.5, -34.6, -37.6, -39.1], bc_type=level)(s)
    low = CubicSpline([0, 0.3, 0.6, 0.85, 1], [-49.8, -49.1, -46.2, -42.0, -39.6], bc_type=level)(s)
    out = s * (1.03 - 0.03 * s * s)  # closer towards the corner, where the lips run back into the face
    rim = np.stack([23.8 * out, rim_y], axis=1)
    border = np.stack([24.9 * out, up], axis=1), np.stack([24.9 * out, low], axis=1)
    both = np.concatenate([rim, rim[-2::-1]])
    return both, np.concatenate([border[0], border[1][-2::-1]]), np.concatenate([s, s[-2::-1]])


def _mouth(layout: Layout) -> np.ndarray:
    """Vertices of the mouth rings: (rings, 37, 3)."""
    rim, border, s = _lip_curves()
    half = MOUTH_SEGMENTS // 2
    sign = np.sign(half - np.arange(MOUTH_SEGMENTS + 1))
    fade = np.sqrt(np.maximum(1 - s**4, 0))
    outer = layout.points[layout.mouth[-1]]
    target = np.stack([ROLL * np.sin(outer[:, 0] / ROLL), outer[:, 1]], axis=1)
    rings = len(layout.mouth) - len(INNER_LIP) - MOUTH_RED
    out_by = np.arange(1, rings + 1)[:, None, None] / rings
    skin_xy = border + (target - border) * (0.6 * out_by + 0.4 * out_by * out_by)
    z_rim, z_border, *z_skin = front_depth(np.concatenate([[rim, border], skin_xy]))
    z_rim = z_rim - 1.5
    lift = 0.4 * fade
    rows = []
    for apart, depth in INNER_LIP:
        rows.append(
            np.stack([rim[:, 0] * (1 - 0.005 * depth), rim[:, 1] + sign * (fade * apart + 0.01), z_rim - depth], axis=1)
        )
    for k in range(1, MOUTH_RED + 1):
        t = k / MOUTH_RED
        full = np.where(sign > 0, 3.3, 4.0) * fade * np.sin(np.pi * t) ** 0.8
        rows.append(np.column_stack([rim + (border - rim) * t, z_rim * (1 - t) + (z_border + lift) * t + full]))
    for k, xy in enumerate(skin_xy):
        t = (k + 1) / rings
        rows.append(np.column_stack([xy, z_skin[k] + lift * np.exp(-4 * t) * (1 - t)]))
    out = np.stack(rows)
    out[:, [0, -1], 0] = 0.0
    return out


def lid_curve() -> np.ndarray:
    """The open lid rim as unit directions from the eye's centre: (52, 3), from the outer corner counter-clockwise."""
    k = np.arange(EYE_SEGMENTS)
    quarter = EYE_SEGMENTS // 2
    upper = k <= quarter
    t = np.where(upper, k / quarter, (EYE_SEGMENTS - k) / quarter)  # 0 outer corner, 1 inner corner
    x = PchipInterpolator([0, 1], [14.2, -14.6])(t)
    top = PchipInterpolator([0, 0.1, 0.3, 0.5, 0.75, 0.93, 1], [0.6, 2.0, 3.9, 4.3, 3.6, 0.7, -1.3])(t)
    low = PchipInterpolator([0, 0.15, 0.4, 0.7, 0.92, 1], [0.6, -2.0, -4.9, -4.8, -2.3, -1.3])(t)
    y = np.where(upper, top, low)
    return np.stack([x, y], axis=1)


def _on_ball(xy: np.ndarray, radius: float) -> np.ndarray:
    z = np.sqrt(np.maximum(radius**2 - (xy**2).sum(axis=1), 0))
    return np.stack([xy[:, 0], xy[:, 1], np.maximum(z, 3.0)], axis=1) + EYE_CENTRE


def _on_lid(xy: np.ndarray, radius: float) -> np.ndarray:
    """Over the ball; past it the corners of the lids hang from the orbit's rim, the inner one at the nose's side."""
    points = _on_ball(xy, radius)
    hung = 3.0 + 5.0 * smooth_step(-8.0, -14.6, xy[:, 0]) + 1.5 * smooth_step(10.0, 14.2, xy[:, 0])
    points[:, 2] = np.maximum(points[:, 2], hung + EYE_CENTRE[2])
    return points


def _eye(layout: Layout) -> np.ndarray:
    """Vertices of the eye rings: (rings, 52, 3)."""
    xy = lid_curve()
    far = np.linalg.norm(xy, axis=1, keepdims=True)
    behind = xy * np.minimum(1.05, 11.5 / far)
    rows = [_on_ball(behind, EYE_RADIUS + 0.1), _on_lid(xy, EYE_RADIUS + 0.5), _on_lid(xy * 1.02, EYE_RADIUS + 1.8)]
    outer = layout.points[layout.eye[-1]]
    target = np.stack([ROLL * np.sin(outer[:, 0] / ROLL), outer[:, 1]], axis=1)
    centre = EYE_CENTRE[:2]
    edge = rows[-1][:, :2]
    rings = len(layout.eye) - len(rows)
    out_by = np.arange(1, rings + 1)[:, None] / rings
    ring_xy = edge + (target - edge) * out_by[:, None]
    depth = front_depth(ring_xy)
    upper = smooth_step(0.1, 0.6, np.sin(2 * np.pi * np.arange(EYE_SEGMENTS) / EYE_SEGMENTS))
    for xy, z, t in zip(ring_xy, depth, out_by, strict=True):
        ball = _on_lid(xy - centre, EYE_RADIUS + 2.2)[:, 2]
        blend = smooth_step(0.0, 0.55, t)
        rows.append(np.column_stack([xy, ball * (1 - blend) + z * blend + upper * _lid_fold(t)]))
    return np.stack(rows)


def _lid_fold(t: np.ndarray) -> np.ndarray:
    """How far the upper lid stands out, mm, from its edge (0) to the brow (1): a crease, and above it a soft fold."""
    return 1.6 * np.exp(-(((t - 0.47) / 0.14) ** 2)) - 1.0 * np.exp(-(((t - 0.28) / 0.07) ** 2))


def _relax(points: np.ndarray, layout: Layout, rounds: int = 20) -> np.ndarray:
    """Let the free vertices glide over the skin towards the middle of their neighbours."""
    sides = np.concatenate([layout.triangles[:, [0, 1]], layout.triangles[:, [1, 2]], layout.triangles[:, [2, 0]]])
    sides = np.unique(np.concatenate([sides, sides[:, ::-1]]), axis=0)
    count = np.bincount(sides[:, 0], minlength=len(points))[:, None]
    free = np.ones(len(points), dtype=bool)
    free[layout.mouth[:-2].ravel()] = free[layout.eye[:-3].ravel()] = free[layout.border] = False
    for _ in range(rounds):
        mean = np.zeros_like(points)
        np.add.at(mean, sides[:, 0], points[sides[:, 1]])
        moved = points + 0.5 * (mean / count - points)
        moved[layout.midline, 0] = 0.0
        points[free] = project(moved[free], 1)
        points[layout.midline, 0] = 0.0
    points[free] = project(points[free], 4)
    return points


def half_form(layout: Layout) -> np.ndarray:
    """The neutral half face (N, 3) mm for the half layout."""
    points = _seed(layout)
    points[layout.mouth.ravel()] = _mouth(layout).reshape(-1, 3)
    points[layout.eye.ravel()] = _eye(layout).reshape(-1, 3)
    points[layout.midline, 0] = 0.0
    return _relax(points, layout)
