"""The one-third rule: an expression moves the mouth less while its wearer speaks.

Source: the remedy given in met4citizen/TalkingHead issue 35 for moods that spoil visemes: the mood's mouth shapes are
scaled to about a third as long as speech lasts. There shapes are known by name; here a region stands for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from visemo.evaluate.metrics import lip_gap
from visemo.evaluate.rivals.lessons import Lessons
from visemo.evaluate.rivals.rival import Setting
from visemo.face.face import Face
from visemo.types import FloatArray
from visemo.units import FPS

OPEN = 1.0  # mm that the lips are apart in speech
MOVING = 0.5  # mm that their gap changes by within two frames of it
HOLD = round(0.3 * FPS)  # frames: pauses up to twice as long count as speech
FADE = round(0.2 * FPS)  # frames from the whole expression to the scaled one
SCALES = (0.0, 0.2, 1 / 3, 0.45, 0.6, 0.7, 0.8, 0.9)


def speaking(face: Face, talk: FloatArray) -> NDArray[np.float32]:
    """(T,) how much somebody speaks, 0..1, by the lips of (T, V, 3) m alone: they are open, or they move."""
    gap = lip_gap(face.template + talk, face.lip_pairs)
    change = np.abs(np.gradient(gap)) * 2 if len(gap) > 1 else np.zeros_like(gap)
    active = ((gap > OPEN) | (change > MOVING)).astype(np.float32)
    held = uniform_filter1d(maximum_filter1d(active, 2 * HOLD + 1), FADE, mode="nearest")
    return np.asarray(held, np.float32)


def lower_face(face: Face) -> NDArray[np.float32]:
    """(V,) 1 at the height of the lips and below, 0 from halfway to the eyes on, linear between."""
    height = face.template[:, 1]
    lips = height[face.region("lips")].max()
    between = 0.5 * (height[face.region("lips")].mean() + height[face.region("eyes")].mean())
    return np.clip((between - height) / max(between - lips, 1e-6), 0, 1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class OneThird:
    """The expression's lower face (weights `where` (V,)) is scaled by `scale` as long as the talk lasts."""

    face: Face
    where: NDArray[np.float32]
    scale: float

    def fuse(self, talk: FloatArray, face: FloatArray, label: str) -> FloatArray:
        lost = (1 - self.scale) * speaking(self.face, talk)
        return np.asarray(talk + face * (1 - lost[:, None] * self.where)[:, :, None], np.float32)


@dataclass(frozen=True)
class OneThirdRule:
    """The rule with the published third, or with a scale that is searched."""

    name: str
    settings: tuple[Setting, ...]
    steps: int = 0

    def fit(self, lessons: Lessons, setting: Setting) -> OneThird:
        return OneThird(lessons.face, lower_face(lessons.face), setting["scale"])


def one_third_rules() -> tuple[OneThirdRule, ...]:
    """With a third, and with the best scale."""
    searched = tuple({"scale": scale} for scale in SCALES)
    return OneThirdRule("one-third rule", ({"scale": 1 / 3},)), OneThirdRule("one-third rule, best scale", searched)
