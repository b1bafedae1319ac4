"""What is attached to the mask: eyeballs, teeth, tongue, mouth cavity and the rest of the head."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.interpolate import CubicSpline

from visemo.face.arkit import ARKIT_NAMES
from visemo.face.builtin.form import cast, project, smooth_step
from visemo.face.builtin.hair import COLUMNS, ROWS, hair_surface
from visemo.face.builtin.paint import skin_color
from visemo.face.builtin.sculpt import EYE_CENTRE, EYE_RADIUS
from visemo.face.builtin.shapes import jaw_moves
from visemo.face.face import Part
from visemo.units import M_PER_MM

ARCH_DEPTH = 1.35  # of the dental arch, by its half width
Moves = dict[str, np.ndarray]  # shape -> (P, 3) mm
SHELL_MIDDLE = np.array([0.0, 0.0, 0.0])
CAVITY_FOLLOWS = (1.0, 0.8, 0.4)  # shares of the lips' motion that the rows of the mouth's bag go along with
NECK_END = np.array([0.0, -168.0, -48.0])
LASH = np.array([0.014, 0.010, 0.009])
LOOK = np.radians(25.0)


def _part(
    name: str, points: np.ndarray, triangles: np.ndarray, colors: np.ndarray | tuple, *, moves: Moves, gloss: float
) -> Part:
    """A part from millimetres; `moves` has the shapes that move it."""
    shapes = np.zeros((len(ARKIT_NAMES), *points.shape), np.float32)
    for shape, move in moves.items():
        shapes[ARKIT_NAMES.index(shape)] = move * M_PER_MM
    colors = np.ascontiguousarray(np.broadcast_to(np.asarray(colors, np.float32), points.shape))
    return Part(name, (points * M_PER_MM).astype(np.float32), triangles.astype(np.int32), colors, shapes, gloss)


def grid_triangles(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Triangles of a grid of `rows` by `columns` vertices, its columns joined around when `closed`."""
    index = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


def _eyeball(side: str) -> Part:
    """An eyeball, open at the back where nobody sees it."""
    polar = np.radians(np.concatenate([[0.5, 5, 10, 11, 14, 18, 22, 26, 28.8, 30.2, 31.6], np.linspace(34, 150, 11)]))
    around = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    t, a = np.meshgrid(polar, around, indexing="ij")
    unit = np.stack([np.sin(t) * np.cos(a), np.sin(t) * np.sin(a), np.cos(t)], axis=-1).reshape(-1, 3)
    degrees = np.degrees(t).ravel()
    color = np.tile([0.60, 0.575, 0.55], (len(unit), 1))
    color *= 1.0 - np.clip((degrees - 38) / 60, 0, 0.5)[:, None] * [0.6, 1.0, 1.0]
    fleck = 1.0 + 0.25 * np.sin(9 * a.ravel()) * np.sin(5 * a.ravel() + 1) + 0.15 * np.sin(17 * a.ravel())
    ring = 1.0 - 0.45 * np.clip((degrees - 14) / 12, 0, 1)
    iris = np.array([0.13, 0.16, 0.13]) * (fleck * ring)[:, None]
    color = np.where((degrees < 29.4)[:, None], iris, color)
    color[(degrees > 28.5) & (degrees < 30.5)] = (0.05, 0.055, 0.05)
    color[degrees < 10.5] = (0.004, 0.004, 0.004)
    color *= 1.0 - 0.5 * smooth_step(0.12, 0.55, unit[:, 1])[:, None]  # the upper lid's shadow
    sign = 1.0 if side == "Left" else -1.0
    centre = EYE_CENTRE * [sign, 1, 1]
    x, y, z = (unit * EYE_RADIUS).T
    zero = np.zeros_like(x)
    s, c = np.sin(LOOK), 1 - np.cos(LOOK)
    outward = np.stack([sign * s * z - c * x, zero, -sign * s * x - c * z], axis=1)
    inward = np.stack([-sign * s * z - c * x, zero, sign * s * x - c * z], axis=1)
    up = np.stack([zero, s * z - c * y, -s * y - c * z], axis=1)
    down = np.stack([zero, -s * z - c * y, s * y - c * z], axis=1)
    moves = {f"eyeLook{n}{side}": m for n, m in (("Out", outward), ("In", inward), ("Up", up), ("Down", down))}
    triangles = grid_triangles(len(polar), len(around), True)[:, [0, 2, 1]]
    return _part(f"eye_{side.lower()}", unit * EYE_RADIUS + centre, triangles, color, moves=moves, gloss=1.0)


@dataclass(frozen=True)
class TeethRow:
    """One row of teeth, mm: widths from the midline back (incisors, canine, premolars, molars) and how far each falls
    short of the cutting edge, the arch's half width and front, the height of that edge, and `up` +1 for teeth that
    hang, -1 for teeth that stand."""

    widths: tuple[float, ...]
    tips: tuple[float, ...]
    wide: float
    front: float
    edge: float
    up: float


_UPPER = TeethRow(
    (8.4, 6.6, 7.4, 6.8, 6.6, 9.5, 9.0), (0.0, 0.6, 0.1, 0.7, 1.0, 1.3, 1.6), wide=26.0, front=101.0, edge=-42.0, up=1.0
)
_LOWER = TeethRow(
    (5.3, 5.8, 6.8, 7.0, 7.0, 10.5, 10.0),
    (0.0, 0.2, 0.3, 1.6, 3.0, 4.4, 5.6),
    wide=23.5,
    front=98.0,
    edge=-41.5,
    up=-1.0,
)


def _arch(length: np.ndarray, wide: float, front: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 2) in x and z on the dental arch, and the outward normals, by arc length from the midline."""
    turn = np.linspace(-1.6, 1.6, 401)
    x, z = wide * np.sin(turn), front - ARCH_DEPTH * wide * (1 - np.cos(turn))
    arc = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    arc -= arc[200]
    at = np.interp(length, arc, turn)
    normal = np.stack([ARCH_DEPTH * np.sin(at), np.cos(at)], axis=1)
    return np.stack([wide * np.sin(at), front - ARCH_DEPTH * wide * (1 - np.cos(at))], axis=1), normal / np.linalg.norm(
        normal, axis=1, keepdims=True
    )


def _teeth(name: str, row: TeethRow) -> Part:
    """A row of teeth and its gum: a sheet from behind the cutting edge over the front and up into the gum."""
    per, widths, up = 8, row.widths, row.up
    starts = np.concatenate([[0], np.cumsum(widths)])
    half = np.concatenate([np.linspace(a, b, per, endpoint=False) for a, b in pairwise(starts)])
    inside = np.tile(np.arange(per) / per, len(widths))
    number = np.repeat(np.arange(len(widths)), per)
    length = np.concatenate([-half[:0:-1], half])
    inside = np.concatenate([inside[:0:-1], inside])
    number = np.concatenate([number[:0:-1], number])
    plan, normal = _arch(length, row.wide, row.front)
    belly = np.sin(np.pi * inside) ** 0.5
    height = np.array([9.6, 8.8, 9.4, 8.0, 7.6, 7.0, 7.0])[number] * (1.0 if up > 0 else 0.88)
    tip = np.array(row.tips)[number]
    #          along the tooth (0 edge, 1 neck, beyond: gum), thickness out of the arch, share of the belly
    rows = (
        (0.6, -6.0, 0.2),
        (0.12, -4.4, 0.4),
        (0.0, -2.6, 0.6),
        (0.02, -1.7, 0.9),
        (0.15, -0.8, 1.1),
        (0.5, 0.0, 1.2),
        (0.85, 0.1, 1.1),
        (0.98, 0.0, 0.9),
        (1.04, 0.6, 0.3),
        (1.3, 1.0, 0.35),
        (1.6, 0.8, 0.0),
        (1.7, -1.0, 0.0),
    )
    points, color = [], []
    for along, out, share in rows:
        scallop = 0.0 if along < 0.9 else 1.3 * (1 - belly)
        y = row.edge + up * (tip + 0.8 * (1 - belly) * (along < 0.3) + height * along - scallop)
        push = out + share * (belly - 1.0) * 1.3
        points.append(np.stack([plan[:, 0] + normal[:, 0] * push, y, plan[:, 1] + normal[:, 1] * push], axis=1))
        gum = along > 1.0
        tint = np.array([0.40, 0.15, 0.14]) if gum else np.array([0.64, 0.58, 0.47]) * (0.90 + 0.10 * min(along, 1.0))
        shade = np.ones_like(belly) if gum else 0.45 + 0.55 * belly
        back = 1.0 - 0.85 * smooth_step(1.0, 5.0, number)  # deep in the mouth, where no light gets to
        color.append(tint * (shade * back * (0.45 if out < -2 else 1.0))[:, None])
    grid = grid_triangles(len(rows), len(length), False)
    if up < 0:
        grid = grid[:, [0, 2, 1]]
    body = np.concatenate(points)
    return _part(name, body, grid, np.concatenate(color), moves={} if up > 0 else _with_jaw(body), gloss=0.6)


def _with_jaw(points: np.ndarray, weight: np.ndarray | float = 1.0) -> dict[str, np.ndarray]:
    weight = np.broadcast_to(np.asarray(weight, dtype=float), len(points))[:, None]
    return {name: weight * move for name, move in jaw_moves(points).items()}


def _tongue() -> Part:
    along, around = 22, 28
    t = np.linspace(0, 1, along)[:, None]
    a = np.linspace(0, 2 * np.pi, around, endpoint=False)[None]
    round_off = np.sqrt(np.clip(1 - ((t - 0.35) / 0.66) ** 2, 1e-4, 1))
    half_wide, thick = 19.5 * round_off, 6.5 * round_off
    x = half_wide * np.cos(a)
    lift = thick * np.sin(a)
    valley = -1.6 * np.exp(-((x / 5.0) ** 2)) * (np.sin(a) > 0)
    y = -49.0 - 9.0 * (t - 0.4) ** 2 + lift + valley + 0.004 * x * x
    z = 46.0 + 46.0 * t + 0 * a
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    color = np.array([0.55, 0.22, 0.20]) * (0.35 + 0.65 * np.broadcast_to(t, x.shape).reshape(-1, 1))
    reach = smooth_step(50.0, 88.0, points[:, 2])[:, None]
    moves = _with_jaw(points) | {"tongueOut": reach * [0.0, 10.0, 26.0] + reach**3 * [0.0, -8.0, 4.0]}
    return _part("tongue", points, grid_triangles(along, around, True), color, moves=moves, gloss=0.5)


def _cavity(rim: np.ndarray, rim_shapes: np.ndarray) -> Part:
    """The dark bag behind the lips; its first row is the mouth's edge (n, 3) mm and moves with it exactly.

    `rim` runs around the mouth from the middle of the upper lip over the left corner.
    """
    turn = np.pi / 2 - 2 * np.pi * np.arange(len(rim)) / len(rim)
    #        half width, roof, floor, z at the middle and at the sides
    rows = (
        (25, -35, -45.5, 99, 83),
        (29, -29, -55, 98.6, 79),
        (32, -24, -61, 88, 67),
        (31, -20, -63, 66, 54),
        (24, -22, -61, 50, 46),
        (0.1, -40, -42, 40, 40),
    )
    points, weight = [rim], [np.zeros(len(rim))]
    level = smooth_step(0.75, -0.75, np.sin(turn))
    for wide, roof, floor, middle, side in rows:
        across = np.abs(np.cos(turn)) ** 2
        y = np.where(np.sin(turn) > 0, -41 + (roof + 41) * np.sin(turn), -41 + (floor + 41) * -np.sin(turn))
        points.append(np.stack([wide * np.cos(turn), y, middle + (side - middle) * across + np.sin(turn)], axis=1))
        weight.append(level)
    body = np.concatenate(points)
    with_jaw = _with_jaw(body, np.concatenate(weight))
    moves = {}
    for name, move in zip(ARKIT_NAMES, rim_shapes, strict=True):
        follow = np.zeros((len(rows) + 1, 1, 1))
        follow[: 1 if name in with_jaw else len(CAVITY_FOLLOWS), 0, 0] = 1.0 if name in with_jaw else CAVITY_FOLLOWS
        moves[name] = (follow * move).reshape(-1, 3) + with_jaw.get(name, 0.0)
    color = np.repeat(
        np.array(
            [
                [0.25, 0.08, 0.075],
                [0.16, 0.045, 0.045],
                [0.10, 0.03, 0.03],
                [0.06, 0.018, 0.018],
                [0.03, 0.008, 0.008],
                [0.01, 0.003, 0.003],
                [0.004, 0.001, 0.001],
            ]
        ),
        len(rim),
        axis=0,
    )
    return _part(
        "mouth", body, grid_triangles(len(rows) + 1, len(rim), True)[:, [0, 2, 1]], color, moves=moves, gloss=0.0
    )


def _lashes(side: str, base: np.ndarray, base_shapes: np.ndarray) -> Part:
    """Upper lashes: thin triangles that stand on the lid's edge `base` (n, 3) mm, from the outer corner inwards."""
    fine = np.linspace(1.0, len(base) - 4.5, 3 * len(base))
    left = np.minimum(fine.astype(int), len(base) - 2)
    part = (fine - left)[:, None]
    root = base[left] * (1 - part) + base[left + 1] * part
    moved = base_shapes[:, left] * (1 - part) + base_shapes[:, left + 1] * part
    sign = 1.0 if side == "Left" else -1.0
    along = (base[left + 1] - base[left]) / np.linalg.norm(base[left + 1] - base[left], axis=1, keepdims=True)
    outward = root - EYE_CENTRE * [sign, 1, 1]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    place = np.linspace(0, 1, len(fine))[:, None]
    length = (3.5 * np.sin(np.pi * (0.12 + 0.8 * place)) ** 0.7 * (1.0 - 0.35 * place)) * (
        0.8 + 0.2 * np.cos(7.0 * fine) * np.cos(2.3 * fine)
    )[:, None]
    grow = outward * [0.9, 0.3, 0.9] + [0, 0.42, 0] + sign * (0.45 - place) * [0.6, 0, 0]
    bend = root + 0.55 * length * grow - [0, 0.25, 0]
    tip = root + length * (grow + np.array([0, 0.18, 0]))
    points = np.stack([root - 0.5 * along, root + 0.5 * along, bend - 0.3 * along, bend + 0.3 * along, tip], axis=1)
    first = 5 * np.arange(len(fine))[:, None, None]
    triangles = (first + np.array([[0, 1, 3], [0, 3, 2], [2, 3, 4]])).reshape(-1, 3)
    triangles = triangles if side == "Left" else triangles[:, [0, 2, 1]]
    reach = np.array([0.0, 0.0, 0.5, 0.5, 1.0])[:, None]
    turn = {f"eyeBlink{side}": -1.0, f"eyeLookDown{side}": -0.4}
    moves = {}
    for name, move in zip(ARKIT_NAMES, moved, strict=True):
        droop = turn.get(name, 0.0) * length * np.array([0.0, 0.85, 0.0])
        moves[name] = (move[:, None] + reach * droop[:, None]).reshape(-1, 3)
    # paler towards the tips, which are thinner than a pixel: dark ones would speckle
    color = np.tile(LASH * [[1.0], [1.0], [4.0], [4.0], [16.0]], (len(fine), 1))
    return _part(f"lashes_{side.lower()}", points.reshape(-1, 3), triangles, color, moves=moves, gloss=0.0)


def _ear(side: str) -> Part:
    """An ear: rings from its middle to the helix, round the edge and back to the head."""
    around, rings = 48, 20
    theta = np.linspace(0, 2 * np.pi, around, endpoint=False)  # 0 to the back, a quarter turn up
    knots = np.radians([0, 35, 65, 90, 120, 150, 180, 210, 240, 268, 300, 330, 360])
    reach = CubicSpline(
        knots, [17.5, 23.0, 28.5, 30.5, 26.0, 17.0, 12.0, 13.5, 22.0, 30.5, 27.0, 19.5, 17.5], bc_type="periodic"
    )(theta)
    r = np.concatenate([np.linspace(0.004, 1.0, rings - 5), [1.03, 1.0, 0.93, 0.82, 0.7]])[:, None]
    back, up = 0.93 * r * reach * np.cos(theta), 0.93 * r * reach * np.sin(theta)
    behind = smooth_step(-0.3, 0.5, np.cos(theta) + 0.35 * np.sin(theta)) * smooth_step(-0.95, -0.55, np.sin(theta))
    upper = smooth_step(-0.62, -0.3, np.sin(theta)) * smooth_step(-1.0, -0.5, np.cos(theta))
    height = 5.0 * np.exp(-(((r - 0.93) / 0.075) ** 2)) * (0.25 + 0.75 * upper)
    height = height + 4.2 * np.exp(-(((r - 0.60) / 0.10) ** 2)) * behind
    height = height - 4.6 * np.exp(-(((back + 1.0) / 8.0) ** 2) - ((up + 3.0) / 10.0) ** 2)
    height = height + 4.5 * np.exp(-(((back + 9.5) / 3.6) ** 2) - ((up + 4.0) / 5.0) ** 2)
    height = height + 2.5 * np.exp(-(((back + 3.0) / 5.0) ** 2) - ((up + 19.0) / 7.0) ** 2)
    drop = np.concatenate([np.zeros(rings - 5), [1.5, 4.0, 7.0, 11.0, 18.0]])[:, None]
    out = height - drop + 0 * back
    lean = np.radians(14.0)
    tip = np.radians(8.0)
    back, up = back * np.cos(tip) + up * np.sin(tip), up * np.cos(tip) - back * np.sin(tip)
    x = 75.0 + out * np.cos(lean) + (back + 12.0) * np.sin(lean)
    z = -1.0 - back * np.cos(lean) + out * np.sin(lean)
    points = np.stack([x, up + 13.0, z], axis=-1).reshape(-1, 3)
    hollow = np.exp(-(((back + 2.0) / 6.0) ** 2) - ((up + 3.0) / 8.0) ** 2).reshape(-1, 1)
    color = np.array([0.53, 0.29, 0.22]) * (1.0 - [0.3, 0.42, 0.42] * hollow)
    triangles = grid_triangles(rings, around, True)
    if side == "Right":
        points = points * [-1, 1, 1]
    else:
        triangles = triangles[:, [0, 2, 1]]
    return _part(f"ear_{side.lower()}", points, triangles, color, moves={}, gloss=0.0)


def _hair() -> Part:
    points, color = hair_surface()
    return _part("hair", points, grid_triangles(ROWS, COLUMNS, True), color, moves={}, gloss=0.28)


def _flatten(direction: np.ndarray) -> np.ndarray:
    """Stereographic plane (N, 2) seen from the face: straight back is the middle."""
    return direction[:, :2] / (1.0 - direction[:, 2:])


def _shell(rim: np.ndarray, rows: int = 24) -> Part:
    """The rest of the head and the neck, from the mask's border loop (B, 3) mm to the base of the neck.

    The sphere without the face and without the neck's end is a ring: rays from the head's middle,
    spread evenly between the two loops, meet the skin at its vertices.
    """
    ray = (rim - SHELL_MIDDLE) / np.linalg.norm(rim - SHELL_MIDDLE, axis=1, keepdims=True)
    start = _flatten(ray)
    turn = np.arctan2(start[:, 0], -start[:, 1] + 0.2)
    level = np.stack([np.sin(turn), np.zeros(len(rim)), np.cos(turn)], axis=1)
    base = cast(np.broadcast_to(NECK_END, level.shape), level, 140.0)
    down = (base - SHELL_MIDDLE) / np.linalg.norm(base - SHELL_MIDDLE, axis=1, keepdims=True)
    end = _flatten(down)
    t = np.linspace(0, 1, rows)[1:, None, None]
    plane = (start + (end - start) * t).reshape(-1, 2)
    square = (plane**2).sum(axis=1, keepdims=True)
    direction = np.concatenate([2 * plane, square - 1], axis=1) / (square + 1)
    points = project(cast(np.broadcast_to(SHELL_MIDDLE, direction.shape), direction), 4)
    grid = np.concatenate([rim, points]).reshape(rows, len(rim), 3)
    grid[-1] = base
    # next to the rim only along the columns: sideways, a corner of the rim would draw its neighbours across it
    sideways = 0.5 * smooth_step(0.0, 8.0, np.arange(1.0, rows - 1))[:, None, None]
    for _ in range(30):
        column, row = grid[:-2] + grid[2:], np.roll(grid, 1, axis=1)[1:-1] + np.roll(grid, -1, axis=1)[1:-1]
        inner = ((1 - sideways) * column + sideways * row) / 2
        grid[1:-1] = project(inner.reshape(-1, 3), 1).reshape(inner.shape)
    points = grid.reshape(-1, 3)
    triangles = grid_triangles(rows, len(rim), True)
    return _part("head", points, triangles, skin_color(points), moves={}, gloss=0.0)


def parts(
    rim: np.ndarray, lips: np.ndarray, lip_shapes: np.ndarray, lids: np.ndarray, lid_shapes: np.ndarray
) -> tuple[Part, ...]:
    """The attached parts, in metres.

    `rim` (B, 3) mm is the mask's border loop, `lips` (n, 3) mm the loop of the mouth's hole from the middle
    of the upper lip over the left corner, `lip_shapes` (52, n, 3) mm how that loop moves; `lids` (2, m, 3) and
    `lid_shapes` (52, 2, m, 3) the same for the upper lids' edges of the left and right eye, from the outer corner.
    """
    return (
        _shell(rim),
        _hair(),
        _ear("Left"),
        _ear("Right"),
        _eyeball("Left"),
        _eyeball("Right"),
        _teeth("teeth_upper", _UPPER),
        _teeth("teeth_lower", _LOWER),
        _lashes("Left", lids[0], lid_shapes[:, 0]),
        _lashes("Right", lids[1], lid_shapes[:, 1]),
        _tongue(),
        _cavity(lips, lip_shapes),
    )
