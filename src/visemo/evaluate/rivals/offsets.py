"""Additive offsets: every expression is one shape, added to the talk; the recording gives its size at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visemo.evaluate.rivals.lessons import Lessons
from visemo.evaluate.rivals.rival import Setting
from visemo.types import FloatArray, VisemoError

STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.85, 1.0, 1.15, 1.3)
LARGEST = 2.0  # times its label's mean apex that a recording may be


@dataclass(frozen=True, eq=False)
class Offset:
    """Talk plus `strength` times the shape (V, 3) m of a label: constantly, or as large as the recording is."""

    shapes: Mapping[str, FloatArray]
    strength: float
    enveloped: bool

    def fuse(self, talk: FloatArray, face: FloatArray, label: str) -> FloatArray:
        if label not in self.shapes:
            raise VisemoError(f"offset: got expression {label!r}, expected one of {', '.join(self.shapes)}")
        shape = self.shapes[label]
        size = np.ones(len(talk), np.float32)
        if self.enveloped:
            size = np.minimum(_rms(face) / max(float(_rms(shape[None])[0]), 1e-9), LARGEST)
        return talk + self.strength * size[:, None, None] * shape


@dataclass(frozen=True)
class Offsets:
    """One shape per label: the mean over its training takes of the frame that is farthest from rest."""

    enveloped: bool
    steps: int = 0
    settings: tuple[Setting, ...] = tuple({"strength": strength} for strength in STRENGTHS)

    @property
    def name(self) -> str:
        return "label offset, as large as the take" if self.enveloped else "label offset, constant"

    def fit(self, lessons: Lessons, setting: Setting) -> Offset:
        apexes = {label: [] for label in sorted(set(lessons.faces.names))}
        for take, label in zip(lessons.faces.takes, lessons.faces.names):
            apexes[label].append(take[np.square(take).sum(axis=1).argmax()])
        means = lessons.displacements(np.stack([np.mean(rows, axis=0) for rows in apexes.values()]))
        return Offset(dict(zip(apexes, means)), setting["strength"], self.enveloped)


def _rms(motion: FloatArray) -> NDArray[np.float32]:
    """(T,) m over the vertices of (T, V, 3) m."""
    return np.sqrt(np.einsum("tvc,tvc->t", motion, motion) / motion.shape[1]).astype(np.float32)
