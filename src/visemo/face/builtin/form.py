"""The form: the bare head as the zero level of one function of space.

Millimetres throughout; the origin lies between the ears, +y up, +z out of the face.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

# the bare skull-and-flesh form without nose, lips and eyes, by level: half width, front, back, roundness
_LEVEL = np.array([-121, -87.5, -83.5, -79.5, -76, -72, -64, -54, -40, -20, 0, 15, 30, 48, 75, 95], dtype=float)
_FRONT = np.array([38, 45, 57, 75, 89, 97, 99.5, 99.0, 101.5, 101, 97.5, 96, 95, 99, 96, 90])
_WIDTH = np.array([29, 32, 36, 41, 45.5, 50, 55, 58.5, 62, 66.5, 71.5, 73, 72.5, 72.5, 73.5, 73])
_BACK = np.array([-40, -42, -44, -47, -51, -56, -62, -67, -72, -79, -87, -92, -95, -97, -94, -91])
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
    level = y - tilt * np.clip(95.0 - z, 0.0, 80.0)
    past = np.maximum(-90.0 - level, 0.0)  # below the jaw there is no head any more
    level = np.clip(level, -120.9, 94.9)
    front, width, back = _front(level), _width(level), _back(level)
    middle = 12.0
    depth = np.where(z > middle, front - middle, middle - back)
    power = np.where(z > middle, 2.1 - 0.15 * smooth_step(-50.0, -76.0, level), 2.1)
    radius = (np.abs(x / width) ** power + np.abs((z - middle) / depth) ** power) ** (1.0 / power)
    side = (radius - 1.0) * np.minimum(width, np.abs(depth)) * 0.9
    dome = np.abs(x / 75.0) ** 2.2 + np.abs((y - 46.0) / 92.0) ** 2.15 + np.abs((z - 1.0) / 95.5) ** 2.15
    over = smooth_step(40.0, 92.0, y)
    return side * (1 - over) + (dome ** (1 / 2.15) - 1.0) * 78.0 * over + 0.6 * past


def _jaw(p: np.ndarray) -> np.ndarray:
    """The mandible under its muscle: from the ear down to the angle, and forward along the lower edge to the chin."""
    branch = _capsule(p, (52, -8, 8), (43, -41, 18), 12.0, 9.5)
    body = _capsule(p, (43, -41, 18), (26.5, -61, 60), 9.5, 10.0)
    arch = _capsule(p, (26.5, -61, 60), (8, -69.8, 80.5), 10.0, 11.0)
    front = _capsule(p, (8, -69.8, 80.5), (0, -71.2, 84), 11.0, 11.6)
    return _union(_union(_union(body, branch, 12.0), arch, 8.0), front, 6.0)


def _neck(p: np.ndarray) -> np.ndarray:
    """The column of the neck with the two muscles that run from behind the ears to the breastbone."""
    column = _capsule(p, (0, -40, -6), (0, -180, -35), 40.0, 46.0)
    strap = _capsule(p, (46, -20, -14), (14, -172, 3), 7.0, 7.0)
    slope = _capsule(p, (12, -96, -54), (66, -200, -58), 12.0, 32.0)
    larynx = _ellipsoid(p, (0, -112, 14), (11, 18, 13))
    floor = _capsule(p, (8, -57, 62), (12, -61, 18), 14.5, 17.0)  # of the mouth, between the branches of the jaw
    neck = _union(_union(column, slope, 30.0), strap, 14.0)
    return _union(_union(neck, larynx, 12.0), floor, 30.0)


def _groove(p: np.ndarray, a: tuple, b: tuple, width: float) -> np.ndarray:
    """A soft ridge (N,) of height 1 along a segment, to be added as a groove or taken away as a fold."""
    return np.exp(-((_capsule(p, a, b, 0.0, 0.0) / width) ** 2))


def _nose(p: np.ndarray) -> np.ndarray:
    bridge = _capsule(p, (0, 33, 88.8), (0, 4, 107.6), 5.0, 7.2)
    tip = _ellipsoid(p, (0, -4.8, 111.4), (9.2, 8.0, 9.3))
    base = _ellipsoid(p, (0, -9.5, 102.5), (11.5, 6.5, 10.0))
    wing = _ellipsoid(p, (11.4, -9.4, 99.8), (5.2, 6.4, 8.6))
    column = _capsule(p, (0, -11.5, 112.2), (0, -17.0, 102.2), 2.8, 3.4)
    wall = _capsule(p, (5.0, 20, 83.5), (9.5, -2, 96.5), 4.6, 6.6)
    nose = _union(_union(bridge, tip, 10.0), base, 8.0)
    nose = _union(nose, wall, 12.0)
    nose = _union(nose, wing, 6.5)
    return _union(nose, column, 4.5)


def nostril(p: np.ndarray) -> np.ndarray:
    """Distance (N,) to the axis of the nostril, a short line in the nose's base."""
    return _capsule(p, (5.4, -15.2, 109.8), (8.6, -15.0, 103.4), 0.0, 0.0)


def skin(points: np.ndarray) -> np.ndarray:
    """Signed distance-like value (N,), about mm, negative inside, of the skin without lips and lids."""
    p = np.stack([np.abs(points[:, 0]), points[:, 1], points[:, 2]], axis=1)
    d = _union(_head(p), _jaw(p), 24.0)
    d = _union(d, _neck(p), 40.0)
    d -= 2.6 * bump(p, (26, 47, 92), (20, 7.5, 16))  # brow ridge
    d -= 1.5 * bump(p, (56, 42, 70), (10, 14, 18))
    d += 5.5 * bump(p, (31, 29, 90), (16, 11, 16))  # sockets
    d += 3.5 * bump(p, (14, 31, 92), (6, 8, 14))
    d += 2.2 * bump(p, (22, 39, 92), (9, 6, 14))
    d -= 3.0 * bump(p, (50, 5, 70), (18, 11, 24))  # cheekbones
    d -= 1.3 * _groove(p, (50, 6, 68), (71, 13, 22), 7.0)  # and the arch that runs from them to the ear
    d += 1.6 * bump(p, (66, 43, 42), (12, 13, 18))  # temples
    d += 2.0 * bump(p, (25, 10, 92), (12, 9, 20))  # from the inner corner of the eye down to the cheek
    d += 1.2 * bump(p, (48, -24, 72), (18, 15, 28))  # the hollow below the cheekbones
    d -= 1.8 * bump(p, (0, -67, 100), (13, 9, 14))  # chin
    d += 1.0 * bump(p, (0, -53.5, 100), (14, 4.6, 12))
    d -= 4.6 * bump(p, (0, -36, 100), (20, 14, 20))  # muzzle
    d -= 2.0 * bump(p, (20, 70, 88), (18, 16, 20))  # frontal eminences
    d = _union(d, _nose(p), 13.0)
    d += 3.6 * np.exp(-((nostril(p) / 2.6) ** 2))
    d += 0.9 * _groove(p, (14.5, -1, 101), (17.8, -10, 95), 2.8)  # behind the wings
    d += 1.2 * bump(p, (0, -27, 104), (2.8, 6.5, 9)) - 0.8 * bump(p, (5.2, -28, 103), (2.5, 6.5, 9))  # philtrum
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
