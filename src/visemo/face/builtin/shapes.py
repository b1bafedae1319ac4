"""The 52 ARKit shapes of the built-in head, as linear displacements at weight 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial import KDTree

from visemo.face.arkit import ARKIT_NAMES
from visemo.face.builtin.layout import EYE_OUTER, MOUTH_INNER, MOUTH_OUTER, MOUTH_RED, MOUTH_RINGS, ROLL
from visemo.face.builtin.sculpt import EYE_CENTRE, EYE_RADIUS, smooth_step

KNOT = np.array([25.5, -40.5])  # layout mm
JAW_PIVOT = np.array([0.0, 6.0, 10.0])
JAW_ANGLE = np.radians(20.5)
JAW_FORWARD = np.array([0.0, 0.0, 6.0])
JAW_LEFT = np.array([7.0, 0.0, 0.0])
JAW_GLIDE = np.array([0.0, -1.0, 3.0])
THROAT = 50.0  # mm from the border to where the skin goes all the way with the bone
RIM = 0.12 + 0.88 * MOUTH_INNER / (MOUTH_RINGS - 1)  # polar radius of the lip rim in the layout
RED = 0.12 + 0.88 * (MOUTH_INNER + MOUTH_RED) / (MOUTH_RINGS - 1)  # and of the border of the lips' red


@dataclass(frozen=True, eq=False)
class Frame:
    """What the shapes are drawn on: the whole neutral (V, 3) mm with its flat coordinates.

    `flat` (V, 2) layout mm, u signed; `mirror` (V,); `near` (V,) distance to the border in the layout, mm;
    `eye` (2, rings, 52) lid rings of the left and right eye; `mouth` (rings, 37) rings of the left half of the mouth.
    """

    points: np.ndarray
    flat: np.ndarray
    mirror: np.ndarray
    near: np.ndarray
    eye: np.ndarray
    mouth: np.ndarray

    @cached_property
    def fade(self) -> np.ndarray:
        """(V,) 0 on the border, 1 well inside: every shape ends before the border."""
        return smooth_step(2.0, 24.0, self.near)

    @cached_property
    def radius(self) -> np.ndarray:
        """(V,) polar radius around the mouth: RIM at the rim, 1 at the outermost ring."""
        return np.hypot(self.flat[:, 0] / MOUTH_OUTER[2], (self.flat[:, 1] - MOUTH_OUTER[1]) / MOUTH_OUTER[3])

    @cached_property
    def angle(self) -> np.ndarray:
        """(V,) polar angle around the mouth in half turns of the lips: 1 above, 0 at the corners, -1 below."""
        u, v = self.flat.T
        return np.arctan2((v - MOUTH_OUTER[1]) / MOUTH_OUTER[3], np.abs(u) / MOUTH_OUTER[2]) / (np.pi / 2)

    @cached_property
    def place(self) -> np.ndarray:
        """(V, 2) layout coordinates with the openings shut: where lips and lids really are."""
        real = np.stack([ROLL * np.arcsin(np.clip(self.points[:, 0] / ROLL, -1, 1)), self.points[:, 1]], axis=1)
        near = np.maximum(smooth_step(1.15, 0.95, self.radius), smooth_step(1.15, 0.95, self.eye_radius))[:, None]
        return near * real + (1 - near) * self.flat

    @cached_property
    def eye_radius(self) -> np.ndarray:
        """(V,) polar radius around the nearer eye, 1 at its outermost ring."""
        u, v = np.abs(self.flat[:, 0]), self.flat[:, 1]
        return np.hypot((u - EYE_OUTER[0]) / EYE_OUTER[2], (v - EYE_OUTER[1]) / EYE_OUTER[3])

    @cached_property
    def off_lids(self) -> np.ndarray:
        """(V,) 0 on the lids, 1 outside the eye's rings."""
        return smooth_step(0.45, 0.95, self.eye_radius)

    @cached_property
    def along(self) -> np.ndarray:
        """(V,) signed place along the lip: -1 right corner, 0 middle, 1 left corner."""
        return np.sign(self.flat[:, 0]) * (1.0 - np.abs(self.angle))


def jaw_move(points: np.ndarray) -> np.ndarray:
    """Displacement (N, 3) mm of the jaw bone at full opening."""
    rel = points - JAW_PIVOT
    c, s = np.cos(JAW_ANGLE), np.sin(JAW_ANGLE)
    turned = np.stack([rel[:, 0], c * rel[:, 1] - s * rel[:, 2], s * rel[:, 1] + c * rel[:, 2]], axis=1)
    return turned - rel + JAW_GLIDE


def jaw_moves(points: np.ndarray) -> dict[str, np.ndarray]:
    """The shapes in which the jaw bone moves, by name: (N, 3) mm at weight 1."""
    still = np.zeros_like(points)
    return {
        "jawOpen": jaw_move(points),
        "jawForward": still + JAW_FORWARD,
        "jawLeft": still + JAW_LEFT,
        "jawRight": still - JAW_LEFT,
    }


def jaw_weight(frame: Frame) -> np.ndarray:
    """How far each vertex (V,) goes with the jaw bone.

    The throat gives way evenly from the border to the chin: it has to, where the chin comes back over half of it.
    """
    inside = KDTree(frame.points[frame.near == 0.0]).query(frame.points)[0]
    reach = THROAT - 18.0 * smooth_step(20.0, 60.0, np.abs(frame.flat[:, 0]))
    slack = 1.0 - np.clip(inside / reach, 0.0, 1.0)
    lips = 0.5 - 0.5 * np.sin(0.5 * np.pi * np.clip(1.2 * frame.angle, -1, 1))  # the rims open to an oval
    skin = smooth_step(0.6, -0.6, frame.angle)
    near = smooth_step(1.2, 0.6, frame.radius)
    return (near * lips + (1 - near) * skin) * (1.0 - slack**1.4)


def around(frame: Frame, full: float, none: float | np.ndarray) -> np.ndarray:
    """1 (V, 1) up to the polar radius `full` around the mouth, 0 from `none` on."""
    return (smooth_step(none, full, frame.radius) * frame.fade)[:, None]


def band(frame: Frame) -> np.ndarray:
    """Bell (V, 1) over the red of the lips and their border: 0 at the rim, so that it cannot open the mouth."""
    r = frame.radius
    return (smooth_step(RIM, 0.9 * RED, r) * smooth_step(1.15, 1.1 * RED, r))[:, None]


def _lip(frame: Frame, upper: bool) -> np.ndarray:
    """1 (V, 1) on one lip, a half at the corners."""
    share = smooth_step(-0.3, 0.3, frame.angle)[:, None]
    return share if upper else 1.0 - share


def _middle(frame: Frame, power: float = 0.8) -> np.ndarray:
    return np.clip(1.0 - frame.along**2, 0, 1)[:, None] ** power


def _knot(frame: Frame, radius: tuple[float, float] = (16.0, 15.0)) -> np.ndarray:
    """Bell (V, 1) around the knot of muscles beside the left corner of the mouth.

    It has no slope at the corner itself, so that what it moves stays round there, and it hardly differs between
    two lips that touch.
    """
    q = (frame.place - KNOT) / np.asarray(radius)
    return (np.exp(-(q * q).sum(axis=1)) * frame.fade)[:, None]


def _left(frame: Frame, soft: float = 9.0) -> np.ndarray:
    return smooth_step(-soft, soft, frame.points[:, 0])[:, None]


def brush(
    frame: Frame, centre: tuple[float, float], radius: tuple[float, float], move: tuple[float, float, float]
) -> np.ndarray:
    """A soft push (V, 3) around a place (u, v) of the layout; the lids stay."""
    q = (frame.place - np.asarray(centre)) / np.asarray(radius)
    return (np.exp(-(q * q).sum(axis=1)) * frame.fade * frame.off_lids)[:, None] * np.asarray(move, dtype=float)


def crease(
    frame: Frame, path: list[tuple[float, float]], width: float, height: tuple[float, float], out: tuple
) -> np.ndarray:
    """A fold (V, 3) along a path (u, v) of the layout: a groove, and a ridge to the left of the way it runs.

    `height` is the groove's depth and the ridge's height, mm; both fade towards the ends of the path. `out` is the
    unit direction out of the skin.
    """
    groove, ridge = height
    knots = np.linspace(0.0, 1.0, len(path))
    way = CubicSpline(knots, np.asarray(path, dtype=float))
    along = np.linspace(0.0, 1.0, 201)
    nearest = KDTree(way(along)).query(frame.place)[1]
    rel, tangent = frame.place - way(along)[nearest], way(along, 1)[nearest]
    side = tangent[:, 0] * rel[:, 1] - tangent[:, 1] * rel[:, 0]
    across = np.sign(side) * np.linalg.norm(rel, axis=1) / width
    ends = smooth_step(0.0, 0.2, along[nearest]) * smooth_step(1.0, 0.65, along[nearest])
    profile = ridge * np.exp(-(((across - 1.7) / 1.3) ** 2)) - groove * np.exp(-(across**2))
    return (profile * ends * frame.fade * frame.off_lids)[:, None] * np.asarray(out, dtype=float)


def blunt(frame: Frame) -> np.ndarray:
    """Round the left corner of the mouth (V, 3): the red thickens beside it, the corner itself sinks in."""
    q = (frame.place - KNOT) / (5.5, 5.0)
    beside = np.exp(-(((frame.place[:, :1] - 21.5) / 4.5) ** 2))
    apart = beside * band(frame) * (2.0 * _lip(frame, True) - 1.0) * [0, 1.4, 0.4]
    return apart + (np.exp(-(q * q).sum(axis=1)) * frame.fade)[:, None] * [-0.8, 0, -1.6]


def reflect(frame: Frame, move: np.ndarray) -> np.ndarray:
    """The mirror image (V, 3) of a displacement field."""
    return move[frame.mirror] * np.array([-1.0, 1.0, 1.0])


def _mouth_close(frame: Frame, opening: np.ndarray) -> np.ndarray:
    """What shuts the lips again while the jaw is open: both rims meet, nearer to the upper."""
    rim = frame.mouth[MOUTH_INNER]
    half = len(rim) // 2
    moved = frame.points + opening
    upper, lower = moved[rim[: half + 1]], moved[rim[: half - 1 : -1]]
    meet = 0.72 * upper + 0.28 * lower
    shut = np.concatenate([meet - upper, (meet - lower)[-2::-1]])
    at = np.interp(-frame.angle, np.linspace(-1, 1, len(rim)), np.arange(len(rim)))
    first = np.minimum(at.astype(int), len(rim) - 2)
    part = (at - first)[:, None]
    move = shut[first] * (1 - part) + shut[first + 1] * part
    exact = frame.mouth[: MOUTH_INNER + 1]
    move[exact] = shut
    move = move * around(frame, 0.6, 1.55 - 0.55 * np.clip(2.0 * frame.angle, -1, 1))
    move[:, 0] = np.where(frame.points[:, 0] < 0, -move[:, 0], move[:, 0])
    move[frame.points[:, 0] == 0, 0] = 0.0
    return move


def lids(frame: Frame, upper: float, lower: float, shift: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Move the left eye's lids: each rim goes that fraction of its way to the other, gliding over the ball.

    Fractions that add up to 1 close the eye.
    """
    rings = frame.eye[0]
    count = rings.shape[1]
    rim = frame.points[rings[1]]
    above = (np.arange(count) <= count // 2)[:, None]
    travel = np.where(above, upper, lower) * (rim[-np.arange(count) % count] - rim) + np.asarray(shift, dtype=float)
    out = np.zeros_like(frame.points)
    for k, row in enumerate(rings):
        fade = 1.0 - smooth_step(3.0, len(rings) - 2.0, np.full((count, 1), float(k)))
        start = frame.points[row]
        goal = start + travel * fade
        far = np.linalg.norm(goal - EYE_CENTRE, axis=1, keepdims=True)
        least = np.minimum(np.linalg.norm(start - EYE_CENTRE, axis=1, keepdims=True), EYE_RADIUS + 2.2)
        if upper + lower > 0.9:  # behind its edge the upper lid lies in front of a lower lid that comes up further
            cover = 0.6 * np.clip(k - 1, 0, 3) * above
            least = np.maximum(least, EYE_RADIUS + (1.3 if k > 0 else 0.9) + cover)
        lifted = EYE_CENTRE + (goal - EYE_CENTRE) * np.maximum(1.0, least / far)
        out[row] = goal - start + (lifted - goal) * fade
    return out


def bag(frame: Frame, size: float) -> np.ndarray:
    """The left lower lid's roll of flesh (V, 3), pushed up and out; the lid's edge stays."""
    q = (frame.place - (32.5, 16.0)) / (15.0, 5.5)
    strength = np.exp(-(q * q).sum(axis=1)) * smooth_step(0.36, 0.62, frame.eye_radius) * frame.fade
    return size * strength[:, None] * [0.0, 1.6, 1.5]


def _eye_shapes(f: Frame) -> dict[str, np.ndarray]:
    return {
        "eyeBlinkLeft": lids(f, 0.86, 0.14),
        "eyeSquintLeft": lids(f, 0.06, 0.30) + bag(f, 1.0) + brush(f, (34, 8), (18, 8), (0, 1.5, 0.6)),
        "eyeWideLeft": lids(f, -0.30, -0.08) + brush(f, (33, 47), (18, 8), (0, 1.5, 0)),
        "eyeLookDownLeft": lids(f, 0.36, -0.14),
        "eyeLookUpLeft": lids(f, -0.16, 0.10),
        "eyeLookInLeft": lids(f, 0.0, 0.0, (-0.5, 0, 0)),
        "eyeLookOutLeft": lids(f, 0.0, 0.0, (0.5, 0, 0)),
    }


def _brow_shapes(f: Frame) -> dict[str, np.ndarray]:
    inner = (
        brush(f, (13, 50), (14, 15), (0.8, 8.0, 0.5))
        + brush(f, (12, 72), (20, 16), (0, 3.0, 0))
        + crease(f, [(-2, 64), (12, 65), (28, 62)], 4.0, (0.8, 0.8), (0.1, 0.1, 0.98))
        + crease(f, [(-2, 76), (12, 77), (28, 74)], 4.0, (0.6, 0.6), (0.1, 0.2, 0.97))
    )
    return {
        "browDownLeft": brush(f, (14, 47), (14, 12), (-3.2, -5.2, 1.6))
        + brush(f, (36, 50), (18, 12), (-0.5, -4.5, 0.6))
        + crease(f, [(7, 40), (7.5, 49), (10, 60)], 3.0, (1.3, 0.5), (0, 0, 1)),
        "browInnerUp": inner + reflect(f, inner),
        "browOuterUpLeft": brush(f, (40, 54), (24, 17), (0, 7.5, -0.6)) + brush(f, (40, 74), (24, 15), (0, 3.0, 0)),
    }


def _cheek_shapes(f: Frame) -> dict[str, np.ndarray]:
    puff = brush(f, (46, -35), (24, 24), (6.5, 0, 6.0))
    skin = around(f, 0.9, 1.5) * band(f) * _lip(f, True) * _left(f)
    return {
        "cheekPuff": puff + reflect(f, puff) + around(f, 0.5, 1.3) * [0, 0, 1.5],
        "cheekSquintLeft": brush(f, (40, 3), (22, 14), (0.4, 5.0, 3.2)) + lids(f, 0.0, 0.10) + bag(f, 0.9),
        "noseSneerLeft": brush(f, (13, -10), (8, 9), (1.2, 4.6, 0.6))
        + brush(f, (17, 3), (10, 12), (0, 3.2, 1.2))
        + crease(f, [(12, 0), (19, -9), (27, -22), (31, -34)], 5.0, (1.4, 1.7), (0.35, 0, 0.94))
        + brush(f, (14, -36), (11, 12), (0.5, 2.6, 0.6))
        + skin * [0, 1.2, 0.6]
        + brush(f, (7, 34), (7, 9), (-0.4, -1.6, 0.8))
        + crease(f, [(0, 20), (6, 24), (13, 21)], 3.0, (0.8, 0.6), (0.3, 0, 0.95)),
    }


def _jaw_shapes(f: Frame) -> dict[str, np.ndarray]:
    weight = jaw_weight(f)[:, None]
    # the cheek is drawn in and down between jaw and cheekbone
    hollow = brush(f, (60, -32), (20, 26), (-2.5, -1.0, -2.0))
    opening = weight * jaw_move(f.points) + hollow + reflect(f, hollow)
    opening += brush(f, (0, -104), (40, 15), (0, -6.0, 1.0))  # the throat's skin has no room and sags
    opening[:, 0] -= 0.08 * f.points[:, 0] * around(f, 0.4, 1.3)[:, 0]  # the corners come together
    return {
        "jawOpen": opening,
        "jawForward": weight * JAW_FORWARD,
        "jawLeft": weight * JAW_LEFT,
    }


def muzzle(frame: Frame) -> np.ndarray:
    """The polar radius (V,) to which lips that are pushed forward take the skin along: to the nose, and the chin."""
    return 1.95 - 0.15 * np.clip(2.0 * frame.angle, -1, 1)


def ring(frame: Frame) -> np.ndarray:
    """The red of the lips (V, 3) thickens towards both corners: gathered lips are a ring, not a narrow lens."""
    beside = np.exp(-(((np.abs(frame.place[:, :1]) - 17.0) / 7.0) ** 2))
    return beside * band(frame) * (_lip(frame, True) * [0, 1.3, 0.8] + _lip(frame, False) * [0, -1.6, 0.8])


def _pull_shapes(f: Frame) -> dict[str, np.ndarray]:
    """Shapes that move the lips along with each other: functions of the place along the lips, so they stay sealed."""
    knot, wide, left = _knot(f), around(f, 0.55, 1.75), _left(f)
    upper, lower, red = _lip(f, True), _lip(f, False), band(f)
    narrow = f.points * [1.0, 0, 0]
    chin = brush(f, (0, -70), (17, 13), (0, 1.0, 0.3))
    middle = _middle(f)
    return {
        "mouthSmileLeft": _smile(f),
        "mouthFrownLeft": _knot(f, (15.0, 13.0)) * [0.8, -7.0, -1.2]
        + blunt(f)
        + crease(f, [(27, -44), (30, -53), (29, -65)], 3.5, (0.9, 0.9), (0.35, 0, 0.93))
        + brush(f, (20, -60), (14, 11), (0, -1.0, 1.2))
        + 1.5 * chin * left,
        "mouthDimpleLeft": _knot(f, (14.0, 14.0)) * [4.5, 1.0, -5.0]
        + crease(f, [(35, -30), (37, -40), (35, -50)], 3.5, (1.4, 1.0), (0.5, 0, 0.87)),
        "mouthStretchLeft": _knot(f, (17.0, 14.0)) * [8.5, -3.5, -5.5]
        + blunt(f)
        + red * left * lower * [0, 0.5, -1.2]
        + brush(f, (40, -70), (20, 18), (2, -2, 0)),
        "mouthLeft": wide * [7.5, 0, 0] + knot * [0, 1.0, -3.5] + reflect(f, knot * [1.0, 0.4, 1.5]),
        "mouthPucker": around(f, 0.6, muzzle(f)) * (narrow * -0.32 + [0, 0, 6.5] + middle * [0, 0, 2.0])
        + red * middle * (upper * [0, 1.0, 1.6] + lower * [0, -1.0, 1.6])
        + 0.8 * ring(f),
        "mouthPressLeft": left
        * (around(f, 0.4, 0.75) * [0, -0.2, -1.3] + red * (upper * [0, -1.8, -0.9] + lower * [0, 1.9, -0.9]))
        + knot * [-0.6, -0.4, 0.4],
        "mouthRollLower": around(f, 0.4, 0.7) * middle * [0, 0.6, -2.4]
        + red * lower * middle * [0, 3.2, -2.2]
        + brush(f, (0, -55), (18, 7), (0, 1.6, 2.0)),
        "mouthRollUpper": around(f, 0.4, 0.8) * middle * [0, -0.4, -1.6] + red * upper * middle * [0, -2.7, -2.2],
        "mouthShrugLower": around(f, 0.65, 1.3) * middle * [0, 3.2, 0.8]
        + red * lower * middle * [0, 1.0, 2.4]
        + 4.5 * chin,
        "mouthShrugUpper": around(f, 0.65, 1.15) * middle * [0, 2.2, 1.2] + red * upper * middle * [0, 1.6, 2.0],
    }


def _smile(f: Frame) -> np.ndarray:
    """The left corner out, up and back; the cheek rises in front of the fold from nose to mouth."""
    upper, lower = _lip(f, True), _lip(f, False)
    return (
        _knot(f, (17.0, 16.0)) * [7.5, 8.5, -5.5]
        + around(f, 0.45, 0.95) * _left(f) * [0, -0.2, -0.8]
        + brush(f, (42, -10), (20, 16), (1.0, 5.0, 4.5))
        + crease(f, [(15, -3), (24, -14), (33, -30), (36, -47)], 6.5, (1.5, 2.2), (0.4, 0.1, 0.91))
        + brush(f, (15, -12), (8, 8), (1.4, 0.8, -0.3))
        + bag(f, 0.7)
        + blunt(f)
        + brush(f, (33, -40), (6, 9), (0.4, 0.3, 1.4))
        + band(f) * _left(f) * (upper * [0, -0.8, -0.6] + lower * [0, 1.7, -0.9])
    )


def _part_shapes(f: Frame) -> dict[str, np.ndarray]:
    """Shapes that part the lips."""
    upper, lower, red, middle = _lip(f, True), _lip(f, False), band(f), _middle(f)
    near = around(f, 0.62, 1.35)
    one_side = np.clip(1 - ((f.along - 0.28) / 0.78) ** 2, 0, 1)[:, None] ** 1.5 * _left(f, 13.0)
    return {
        "mouthFunnel": around(f, 0.6, muzzle(f)) * (f.points * [-0.22, 0, 0] + [0, 0, 4.5])
        + middle * (near * upper * [0, 4.2, 2.5] + around(f, 0.5, 1.8) * lower * [0, -5.4, 1.5])
        + red * middle * (upper * [0, 0.6, 1.8] + lower * [0, -0.3, 2.0])
        + ring(f),
        "mouthLowerDownLeft": around(f, 0.55, 1.75) ** 1.5 * one_side * lower * [0.6, -7.5, -0.5]
        + red * one_side * lower * [0, -0.4, 0.9],
        "mouthUpperUpLeft": near * one_side * upper * [0.6, 6.2, 0.4]
        + red * one_side * upper * [0, 0.2, 0.8]
        + brush(f, (24, -16), (11, 12), (0.5, 2.5, 1.8))
        + brush(f, (13, -11), (7, 7), (0.8, 1.2, 0)),
    }


def arkit_shapes(frame: Frame) -> np.ndarray:
    """(52, V, 3) mm, rows as ARKIT_NAMES."""
    drawn = _jaw_shapes(frame) | _eye_shapes(frame) | _brow_shapes(frame) | _cheek_shapes(frame)
    drawn |= _pull_shapes(frame) | _part_shapes(frame) | {"tongueOut": np.zeros_like(frame.points)}
    drawn["mouthClose"] = _mouth_close(frame, drawn["jawOpen"])
    every: dict[str, np.ndarray] = {}
    for name, move in drawn.items():
        if "Left" in name:
            every[name], every[name.replace("Left", "Right")] = move, reflect(frame, move)
        else:  # the mean of itself and its mirror image: exactly symmetric
            every[name] = 0.5 * (move + reflect(frame, move))
    return np.stack([every[name] for name in ARKIT_NAMES])
