"""Interpolation of the inputs: weighted sums of the two recordings, the naive sum among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visemo.evaluate.rivals.lessons import Lessons
from visemo.evaluate.rivals.rival import Setting
from visemo.types import FloatArray

NAIVE = "naive sum"
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Blend:
    """`talk` times one number plus `face` times another."""

    of_talk: float
    of_face: float

    def fuse(self, talk: FloatArray, face: FloatArray, label: str) -> FloatArray:
        return np.asarray(self.of_talk * talk + self.of_face * face, np.float32)


@dataclass(frozen=True)
class Blends:
    """Blends of given weights (`talk`, `face`), the ablation "interpolation" of the paper's Table 5."""

    name: str
    settings: tuple[Setting, ...]
    steps: int = 0

    def fit(self, lessons: Lessons, setting: Setting) -> Blend:
        return Blend(setting["talk"], setting["face"])


def blends() -> tuple[Blends, ...]:
    """The naive sum, half of each, and the best share of the talk."""
    return (
        Blends(NAIVE, ({"talk": 1.0, "face": 1.0},)),
        Blends("half of each", ({"talk": 0.5, "face": 0.5},)),
        Blends("best interpolation", tuple({"talk": share, "face": 1 - share} for share in SHARES)),
    )
