"""The 52 ARKit shapes of the built-in head, as linear displacements at weight 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from visemo.face.arkit import ARKIT_NAMES
from visemo.face.builtin.layout import EYE_OUTER, MOUTH_INNER, MOUTH_OUTER, MOUTH_RED, MOUTH_RINGS, ROLL
from visemo.face.builtin.sculpt import EYE_CENTRE, EYE_RADIUS, smooth_step

JAW_PIVOT = np.array([0.0, 6.0, 10.0])
JAW_ANGLE = np.radians(20.5)
JAW_FORWARD = np.array([0.0, 0.0, 6.0])
JAW_LEFT = np.array([7.0, 0.0, 0.0])
JAW_GLIDE = np.array([0.0, -1.0, 3.0])
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
    """How far each vertex (V,) goes with the jaw bone."""
    return smooth_step(0.6, -0.6, frame.angle) * frame.fade


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


def _corner(frame: Frame, power: float) -> np.ndarray:
    """0 in the middle of the mouth to 1 at its left corner and beyond: (V, 1)."""
    return np.clip(frame.along, 0, 1)[:, None] ** power


def _left(frame: Frame, soft: float = 9.0) -> np.ndarray:
    return smooth_step(-soft, soft, frame.points[:, 0])[:, None]


def brush(
    frame: Frame, centre: tuple[float, float], radius: tuple[float, float], move: tuple[float, float, float]
) -> np.ndarray:
    """A soft push (V, 3) around a place (u, v) of the layout; the lids stay."""
    q = (frame.place - np.asarray(centre)) / np.asarray(radius)
    return (np.exp(-(q * q).sum(axis=1)) * frame.fade * frame.off_lids)[:, None] * np.asarray(move, dtype=float)


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
    move = move * around(frame, 0.6, 1.3 - 0.3 * np.clip(2.0 * frame.angle, -1, 1))
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
        least = np.maximum(least, EYE_RADIUS + (1.3 if k > 0 else 0.9)) if upper + lower > 0.9 else least
        lifted = EYE_CENTRE + (goal - EYE_CENTRE) * np.maximum(1.0, least / far)
        out[row] = goal - start + (lifted - goal) * fade
    return out


def _eye_shapes(f: Frame) -> dict[str, np.ndarray]:
    pouch = brush(f, (33, 13), (17, 7), (0, 2.2, 1.2))
    return {
        "eyeBlinkLeft": lids(f, 0.86, 0.14),
        "eyeSquintLeft": lids(f, 0.12, 0.36) + pouch,
        "eyeWideLeft": lids(f, -0.30, -0.08) + brush(f, (33, 47), (18, 8), (0, 1.5, 0)),
        "eyeLookDownLeft": lids(f, 0.36, -0.14),
        "eyeLookUpLeft": lids(f, -0.16, 0.10),
        "eyeLookInLeft": lids(f, 0.0, 0.0, (-0.5, 0, 0)),
        "eyeLookOutLeft": lids(f, 0.0, 0.0, (0.5, 0, 0)),
    }


def _brow_shapes(f: Frame) -> dict[str, np.ndarray]:
    inner = brush(f, (13, 50), (13, 15), (0.8, 8.0, 0.5)) + brush(f, (12, 72), (18, 16), (0, 2.5, 0))
    return {
        "browDownLeft": brush(f, (15, 47), (13, 11), (-2.6, -4.8, 1.4))
        + brush(f, (36, 50), (17, 11), (-0.5, -4.5, 0.4)),
        "browInnerUp": inner + reflect(f, inner),
        "browOuterUpLeft": brush(f, (43, 52), (20, 15), (0, 6.5, -0.5)) + brush(f, (42, 72), (20, 14), (0, 2.5, 0)),
    }


def _cheek_shapes(f: Frame) -> dict[str, np.ndarray]:
    puff = brush(f, (47, -36), (21, 22), (7.5, 0, 6.5))
    skin = around(f, 0.9, 1.5) * band(f) * _lip(f, True) * _left(f)
    return {
        "cheekPuff": puff + reflect(f, puff) + around(f, 0.5, 1.3) * [0, 0, 1.5],
        "cheekSquintLeft": brush(f, (38, 6), (21, 12), (0, 4.5, 2.8)),
        "noseSneerLeft": brush(f, (13, -9), (8, 9), (0.8, 4.0, 0.5))
        + brush(f, (16, 4), (10, 12), (0, 3.0, 1.2))
        + brush(f, (24, -18), (10, 10), (0.5, 3.0, 1.5))
        + skin * [0, 1.6, 0.4]
        + brush(f, (8, 30), (7, 9), (-0.6, -1.4, 0.8)),
    }


def _jaw_shapes(f: Frame) -> dict[str, np.ndarray]:
    weight = jaw_weight(f)[:, None]
    # the cheek is drawn in and down between jaw and cheekbone
    hollow = brush(f, (60, -32), (20, 26), (-2.5, -1.0, -2.0))
    opening = weight * jaw_move(f.points) + hollow + reflect(f, hollow)
    opening[:, 0] -= 0.08 * f.points[:, 0] * around(f, 0.4, 1.3)[:, 0]  # the corners come together
    return {
        "jawOpen": opening,
        "jawForward": weight * JAW_FORWARD,
        "jawLeft": weight * JAW_LEFT,
    }


def _pull_shapes(f: Frame) -> dict[str, np.ndarray]:
    """Shapes that move the lips along with each other: functions of the place along the lips, so they stay sealed."""
    corner, wide = _corner(f, 2.0), around(f, 0.55, 1.75)
    upper, lower, red = _lip(f, True), _lip(f, False), band(f)
    narrow = f.points * [1.0, 0, 0]
    left = _left(f)
    chin = brush(f, (0, -70), (17, 13), (0, 1.0, 0.3))
    middle = _middle(f)
    smile = (
        wide * (corner * [6.5, 7.5, -4.5] + (1 - corner) * left * [0, 0.6, -1.0])
        + brush(f, (38, -6), (17, 14), (1.4, 4.5, 4.8))
        + brush(f, (34, 10), (18, 8), (0, 1.8, 1.0))
        + brush(f, (15, -12), (8, 8), (1.2, 0.8, -0.3))
        + red * left * (upper * [0, -0.8, -0.6] + lower * [0, 0.6, -0.8])
    )
    return {
        "mouthSmileLeft": smile,
        "mouthFrownLeft": wide * corner * [1.0, -7.0, -1.0]
        + brush(f, (24, -62), (14, 11), (0, -1.0, 2.0))
        + 1.5 * chin * left,
        "mouthDimpleLeft": wide * corner * [4.5, 1.0, -4.5] + brush(f, (36, -39), (6, 8), (0.5, 0, -1.6)),
        "mouthStretchLeft": wide * corner * [8.5, -3.0, -5.0]
        + red * left * lower * [0, 0.5, -1.2]
        + brush(f, (40, -70), (20, 18), (2, -2, 0)),
        "mouthLeft": wide * [7.5, 0, 0]
        + wide * corner * [0, 1.0, -3.5]
        + wide * reflect(f, corner * np.ones(3)) * [-1, 0.4, 1.5],
        "mouthPucker": around(f, 0.6, 1.8) * (narrow * -0.36 + [0, 0, 6.5] + middle * [0, 0, 2.0])
        + red * middle * (upper * [0, 1.2, 1.6] + lower * [0, -1.6, 1.6]),
        "mouthPressLeft": left
        * (around(f, 0.4, 0.9) * [0, -0.2, -1.6] + red * (upper * [0, -1.4, -0.7] + lower * [0, 1.5, -0.7])),
        "mouthRollLower": around(f, 0.4, 0.8) * middle * [0, 0.4, -1.6]
        + red * lower * middle * [0, 3.2, -2.4]
        + 2.0 * brush(f, (0, -56), (18, 7), (0, 0.8, 0.6)),
        "mouthRollUpper": around(f, 0.4, 0.8) * middle * [0, -0.4, -1.6] + red * upper * middle * [0, -2.7, -2.2],
        "mouthShrugLower": around(f, 0.65, 1.3) * middle * [0, 3.2, 0.8]
        + red * lower * middle * [0, 1.0, 2.4]
        + 4.5 * chin,
        "mouthShrugUpper": around(f, 0.65, 1.15) * middle * [0, 2.6, 1.0] + red * upper * middle * [0, 1.4, 1.8],
    }


def _part_shapes(f: Frame) -> dict[str, np.ndarray]:
    """Shapes that part the lips."""
    upper, lower, red, middle = _lip(f, True), _lip(f, False), band(f), _middle(f)
    near, left = around(f, 0.62, 1.35), _left(f)
    one_side = np.clip(1 - (f.along - 0.25) ** 2 / 0.5625, 0, 1)[:, None] * left
    return {
        "mouthFunnel": around(f, 0.6, 1.8) * (f.points * [-0.27, 0, 0] + [0, 0, 4.5])
        + near * middle * (upper * [0, 4.2, 2.5] + lower * [0, -6.0, 2.0])
        + red * middle * (upper * [0, 0.6, 1.8] + lower * [0, -0.8, 2.0]),
        "mouthLowerDownLeft": near * one_side * lower * [0.6, -7.5, -0.5] + red * one_side * lower * [0, -0.4, 0.9],
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
