"""The form: the skin as the zero level of one function of space, lips and lids lofted onto it.

Millimetres throughout; the origin lies between the ears, +y up, +z out of the face.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from visemo.face.builtin.layout import EYE_SEGMENTS, MOUTH_RED, MOUTH_SEGMENTS, ROLL, Layout

EYE_CENTRE = np.array([31.5, 28.0, 76.0])
EYE_RADIUS = 12.0

# the bare skull-and-flesh form without nose, lips and eyes, by level: half width, front, back, roundness
_LEVEL = np.array([-125, -95.5, -91.5, -87.5, -83.8, -79, -69, -56, -40, -20, 0, 15, 30, 48, 75, 95], dtype=float)
_FRONT = np.array([38, 44, 55, 72, 86, 95.5, 101, 99.0, 101.5, 101, 97.5, 96, 95, 99, 96, 90])
_WIDTH = np.array([29, 32, 35, 38.5, 42.0, 45.5, 50.5, 56, 61, 65.5, 69, 70, 69.5, 70, 72, 72])
_BACK = np.array([-40, -42, -44, -47, -51, -55, -60, -66, -72, -80, -87, -91, -94, -97, -97, -95])
_front, _width, _back = (PchipInterpolator(_LEVEL, row, extrapolate=False) for row in (_FRONT, _WIDTH, _BACK))


def smooth_step(low: float | np.ndarray, high: float | np.ndarray, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth ramp between (either order)."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(points: np.ndarray, centre: tuple[float, float, float], radius: tuple[float, float, float]) -> np.ndarray:
    """A Gaussian hill (N,) at `centre`, and at its mirror image when that is another place."""
    x, y, z = points.T
    (cx, cy, cz), (rx, ry, rz) = centre, radius
    hill = np.exp(-(((x - cx) / rx) ** 2))
    if cx > 0:  # both hills everywhere: folding x instead would leave a crease in the middle
        hill = hill + np.exp(-(((x + cx) / rx) ** 2))
    return hill * np.exp(-(((y - cy) / ry) ** 2) - ((z - cz) / rz) ** 2)


def _union(a: np.ndarray, b: np.ndarray, soft: float) -> np.ndarray:
    h = np.maximum(soft - np.abs(a - b), 0.0) / soft
    return np.minimum(a, b) - h * h * h * soft / 6.0


def _subtract(a: np.ndarray, b: np.ndarray, soft: float) -> np.ndarray:
    return -_union(-a, b, soft)


def _capsule(p: np.ndarray, a: tuple, b: tuple, radius_a: float, radius_b: float) -> np.ndarray:
    start, along = np.asarray(a, dtype=float), np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    t = np.clip((p - start) @ along / (along @ along), 0.0, 1.0)
    return np.linalg.norm(p - start - t[:, None] * along, axis=1) - (radius_a + (radius_b - radius_a) * t)


def _ellipsoid(p: np.ndarray, centre: tuple, radius: tuple) -> np.ndarray:
    q = (p - np.asarray(centre)) / np.asarray(radius)
    k0, k1 = np.linalg.norm(q, axis=1), np.linalg.norm(q / np.asarray(radius), axis=1)
    return k0 * (k0 - 1.0) / np.maximum(k1, 1e-9)


def _head(p: np.ndarray) -> np.ndarray:
    """The loft: cross-sections tilted towards the jaw line below the cheeks."""
    x, y, z = p.T
    tilt = 0.5 * smooth_step(5.0, -60.0, y)
    level = np.clip(y - tilt * np.clip(95.0 - z, 0.0, 80.0), -124.9, 94.9)
    front, width, back = _front(level), _width(level), _back(level)
    middle = 12.0
    depth = np.where(z > middle, front - middle, middle - back)
    power = np.where(z > middle, 2.35, 2.1)
    radius = (np.abs(x / width) ** power + np.abs((z - middle) / depth) ** power) ** (1.0 / power)
    side = (radius - 1.0) * np.minimum(width, np.abs(depth)) * 0.9
    dome = (np.abs(x / 74.0) ** 2.25 + np.abs((y - 46.0) / 92.0) ** 2.2 + np.abs(z / 97.5) ** 2.2) ** (1 / 2.2)
    over = smooth_step(40.0, 92.0, y)
    return side * (1 - over) + (dome - 1.0) * 78.0 * over


def _groove(p: np.ndarray, a: tuple, b: tuple, width: float) -> np.ndarray:
    """A soft ridge (N,) of height 1 along a segment, to be added as a groove or taken away as a fold."""
    return np.exp(-((_capsule(p, a, b, 0.0, 0.0) / width) ** 2))


def _nose(p: np.ndarray) -> np.ndarray:
    bridge = _capsule(p, (0, 34, 86.6), (0, 3, 105.6), 5.4, 7.0)
    tip = _ellipsoid(p, (0, -6.5, 110.0), (9.0, 8.0, 9.2))
    base = _ellipsoid(p, (0, -10.5, 102.0), (11.5, 6.5, 9.5))
    wing = _ellipsoid(p, (11.4, -11.2, 100.2), (5.0, 5.8, 7.6))
    column = _capsule(p, (0, -13.0, 112.0), (0, -18.5, 101.5), 2.6, 3.2)
    wall = _capsule(p, (5.0, 24, 82.0), (9.5, -2, 94.0), 5.0, 6.0)
    nose = _union(_union(bridge, tip, 11.0), base, 8.0)
    nose = _union(nose, wall, 14.0)
    nose = _union(nose, wing, 8.0)
    return _union(nose, column, 4.0)


def _nostril(p: np.ndarray) -> np.ndarray:
    """Distance (N,) to the axis of the nostril, a short line in the nose's base."""
    return _capsule(p, (5.6, -16.8, 108.4), (8.3, -16.8, 102.9), 0.0, 0.0)


def skin(points: np.ndarray) -> np.ndarray:
    """Signed distance-like value (N,), about mm, negative inside, of the skin without lips and lids."""
    p = np.stack([np.abs(points[:, 0]), points[:, 1], points[:, 2]], axis=1)
    d = _head(p)
    d = _union(d, _capsule(p, (0, -40, -20), (0, -200, -40), 43.0, 60.0), 26.0)
    d -= 2.6 * bump(p, (26, 47, 92), (20, 7.5, 16))  # brow ridge
    d -= 1.5 * bump(p, (56, 42, 70), (10, 14, 18))
    d += 5.5 * bump(p, (31, 29, 90), (16, 11, 16))  # sockets
    d += 3.5 * bump(p, (14, 31, 92), (6, 8, 14))
    d -= 3.2 * bump(p, (45, 3, 76), (18, 13, 24))  # cheekbones
    d += 2.0 * bump(p, (60, -28, 55), (16, 20, 30))
    d -= 4.0 * bump(p, (0, -69, 100), (13, 10, 14))  # chin
    d += 1.8 * bump(p, (0, -55, 100), (14, 5, 12))
    d -= 2.0 * bump(p, (0, -38, 100), (22, 14, 20))  # muzzle
    d -= 2.0 * bump(p, (20, 70, 88), (18, 16, 20))  # frontal eminences
    d = _union(d, _nose(p), 15.0)
    d += 3.6 * np.exp(-((_nostril(p) / 2.6) ** 2))
    d += 0.7 * _groove(p, (17, -6, 99), (18, -13, 96), 2.5)  # behind the wings
    d += 0.9 * bump(p, (0, -27, 104), (2.6, 6.5, 9)) - 0.5 * bump(p, (5.2, -28, 103), (2.4, 6.5, 9))  # philtrum
    d += 0.9 * bump(p, (28, -41, 89), (4.5, 5, 8))  # corners of the mouth
    d += 0.8 * _groove(p, (21, -14, 96), (31, -34, 90), 5.0)  # nose to mouth
    return d


def gradient(points: np.ndarray, step: float = 0.05) -> np.ndarray:
    """Central differences of `skin`: (N, 3)."""
    out = np.empty_like(points)
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = step
        out[:, axis] = (skin(points + shift) - skin(points - shift)) / (2 * step)
    return out


def project(points: np.ndarray, rounds: int = 6, limit: float = 4.0) -> np.ndarray:
    """Newton steps onto the skin along its gradient."""
    for _ in range(rounds):
        g = gradient(points)
        move = (skin(points) / np.maximum((g * g).sum(axis=1), 0.05))[:, None] * g
        size = np.linalg.norm(move, axis=1, keepdims=True)
        points = points - move * np.minimum(1.0, limit / np.maximum(size, 1e-9))
    return points


def cast(origin: np.ndarray, direction: np.ndarray, reach: float = 220.0) -> np.ndarray:
    """First hits (N, 3) of rays that come in from `reach` along -direction towards `origin`."""
    out = np.full(len(origin), reach)
    for _ in range(32):  # the value may overstate the distance twofold where the form is steep
        value = skin(origin + out[:, None] * direction)
        out -= 0.6 * value
    return origin + out[:, None] * direction


def front_depth(xy: np.ndarray) -> np.ndarray:
    """z (...,) of the skin seen from the front at (x, y) (..., 2)."""
    flat = np.append(xy.reshape(-1, 2), np.zeros((xy.size // 2, 1)), axis=1)
    return cast(flat, np.broadcast_to([0.0, 0.0, 1.0], flat.shape), 140.0)[:, 2].reshape(xy.shape[:-1])


def _seed(layout: Layout) -> np.ndarray:
    u, v = layout.points.T
    theta = u / ROLL
    rise = np.radians(48.0) * (smooth_step(50, 150, v) - smooth_step(-55, -160, v))
    direction = np.stack([np.sin(theta) * np.cos(rise), np.sin(rise), np.cos(theta) * np.cos(rise)], axis=1)
    origin = np.stack([0 * u, np.clip(v, -60, 60), 20.0 * np.cos(theta)], axis=1)
    return cast(origin, direction)


# from the hole's edge to the rim, mm: how far each lip leaves the other, how far it lies behind the rim
INNER_LIP = ((4.2, 5.2), (1.5, 4.4), (0.0, 3.0), (0.0, 1.5), (0.0, 0.0))


def _lip_curves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rim, red border (x, y) of the half mouth, along the upper then the lower lip: (33, 2) each."""
    half = MOUTH_SEGMENTS // 2
    s = np.linspace(0, 1, half + 1)
    level: Any = ((1, 0.0), (2, 0.0))  # no kink in the middle
    rim_y = CubicSpline([0, 0.3, 0.7, 1], [-40.4, -39.9, -40.0, -39.8], bc_type=level)(s)
    up = CubicSpline([0, 0.1, 0.24, 0.55, 0.85, 1], [-34.3, -33.7, -32.8, -34.9, -38.1, -39.7], bc_type=level)(s)
    low = CubicSpline([0, 0.3, 0.6, 0.85, 1], [-48.6, -48.0, -45.6, -42.0, -40.0], bc_type=level)(s)
    rim = np.stack([23.8 * s, rim_y], axis=1)
    border = np.stack([24.9 * s, up], axis=1), np.stack([24.9 * s, low], axis=1)
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
        full = np.where(sign > 0, 3.2, 3.6) * fade * np.sin(np.pi * t) ** 0.8
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
    top = PchipInterpolator([0, 0.1, 0.3, 0.5, 0.75, 0.93, 1], [0.3, 1.9, 4.1, 4.7, 4.0, 0.8, -1.3])(t)
    low = PchipInterpolator([0, 0.15, 0.4, 0.7, 0.92, 1], [0.3, -2.3, -5.0, -4.9, -2.4, -1.3])(t)
    y = np.where(upper, top, low)
    return np.stack([x, y], axis=1)


def _on_ball(xy: np.ndarray, radius: float) -> np.ndarray:
    z2 = np.maximum(radius**2 - (xy**2).sum(axis=1), 0)
    z = np.sqrt(z2)
    flat = np.maximum(z, 3.0)
    return np.stack([xy[:, 0], xy[:, 1], flat], axis=1) + EYE_CENTRE


def _eye(layout: Layout) -> np.ndarray:
    """Vertices of the eye rings: (rings, 52, 3)."""
    xy = lid_curve()
    far = np.linalg.norm(xy, axis=1, keepdims=True)
    behind = xy * np.minimum(1.05, 11.5 / far)
    rows = [_on_ball(behind, EYE_RADIUS + 0.1), _on_ball(xy, EYE_RADIUS + 0.5), _on_ball(xy * 1.02, EYE_RADIUS + 1.8)]
    outer = layout.points[layout.eye[-1]]
    target = np.stack([ROLL * np.sin(outer[:, 0] / ROLL), outer[:, 1]], axis=1)
    centre = EYE_CENTRE[:2]
    edge = rows[-1][:, :2]
    rings = len(layout.eye) - len(rows)
    out_by = np.arange(1, rings + 1)[:, None] / rings
    ring_xy = edge + (target - edge) * out_by[:, None]
    depth = front_depth(ring_xy)
    for xy, z, t in zip(ring_xy, depth, out_by, strict=True):
        ball = _on_ball(xy - centre, EYE_RADIUS + 2.4)[:, 2]
        blend = smooth_step(0.0, 0.55, t)
        rows.append(np.column_stack([xy, ball * (1 - blend) + z * blend]))
    return np.stack(rows)


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


def brow_strength(points: np.ndarray) -> np.ndarray:
    """How much brow hair grows at each point (N,): 0..1, a tapered arc above each eye."""
    x, y = np.abs(points[:, 0]), points[:, 1]
    t = np.clip((x - 11.0) / 43.0, -0.2, 1.2)
    middle = 46.5 + 7.5 * np.sin(np.clip(t, 0, 1) * 2.45) * 0.85 - 3.0 * np.clip(t - 0.62, 0, 1)
    half = 4.3 * np.clip(1.25 - t, 0, 1) ** 0.6
    across = 1.0 - smooth_step(0.35, 1.25, np.abs(y - middle) / np.maximum(half, 0.4))
    return across * smooth_step(-0.04, 0.10, t) * smooth_step(1.03, 0.80, t) * (points[:, 2] > 40)


def hair_strength(points: np.ndarray) -> np.ndarray:
    """How much cropped hair covers each point (N,): 0..1."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    wave = 1.2 * np.sin(0.31 * x + 0.2 * y) + 0.8 * np.sin(0.57 * x - 0.35 * z)
    front = y + wave - 92.0 + 0.0022 * x * x
    temple = np.minimum(20.0 - z + 0.35 * (y - 20.0), y - 6.0) + wave
    nape = np.minimum(-24.0 - z, y + 58.0) + wave
    return smooth_step(-9.0, 14.0, np.maximum(front, np.maximum(temple, nape)))


SKIN = np.array([0.53, 0.325, 0.245])
HAIR = np.array([0.045, 0.028, 0.02])


def skin_color(points: np.ndarray) -> np.ndarray:
    """Linear RGB (N, 3) of the skin and the cropped hair: ruddier on cheeks, nose and chin, sallow round the eyes."""
    p = np.stack([np.abs(points[:, 0]), points[:, 1], points[:, 2]], axis=1)
    color = np.tile(SKIN, (len(p), 1))
    warm = (
        0.8 * bump(p, (45, -3, 76), (22, 16, 28))
        + 0.8 * bump(p, (0, -7, 114), (12, 9, 14))
        + 0.4 * bump(p, (0, -72, 100), (14, 10, 14))
    )
    color *= 1.0 + warm[:, None] * np.array([0.02, -0.13, -0.14])
    cool = bump(p, (31, 20, 84), (15, 5, 14)) + 0.7 * bump(p, (30, 36, 84), (15, 7, 14))
    color *= 1.0 - cool[:, None] * np.array([0.06, 0.08, 0.05])
    color *= 1.0 + 0.05 * bump(p, (0, 75, 95), (40, 20, 30))[:, None]
    dark = smooth_step(3.5, 1.6, _nostril(p))
    for strength, target in (
        (0.9 * dark, SKIN * (0.2, 0.11, 0.1)),
        (hair_strength(p), HAIR),
        (0.92 * brow_strength(p), HAIR * 1.3),
    ):
        color += strength[:, None] * (target - color)
    return color
