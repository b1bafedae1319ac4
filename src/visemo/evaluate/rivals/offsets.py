"""Additive offsets: every expression is one shape, added to the talk; a recording says at most how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from visemo.evaluate.rivals.lessons import Lessons
from visemo.evaluate.rivals.rival import Setting
from visemo.types import FloatArray, VisemoError

STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.2)


@dataclass(frozen=True, eq=False)
class Offset:
    """Talk plus `strength` times the shape (V, 3) m of a label: constantly, or as much of it as the recording has."""

    shapes: Mapping[str, FloatArray]
    strength: float
    worn: bool

    def fuse(self, talk: FloatArray, face: FloatArray, label: str) -> FloatArray:
        """As `Rival.fuse`. Raises VisemoError for a label that was not learned."""
        if label not in self.shapes:
            raise VisemoError(f"offset: got expression {label!r}, expected one of {', '.join(self.shapes)}")
        shape = self.shapes[label]
        size = np.ones(len(talk), np.float32)
        if self.worn:
            size = np.einsum("tvc,vc->t", face, shape) / np.maximum(np.square(shape).sum(), np.float32(1e-12))
        return np.asarray(talk + self.strength * size[:, None, None] * shape, np.float32)


@dataclass(frozen=True)
class Offsets:
    """One shape per label: the mean frame of its training takes, which blinks hardly touch."""

    worn: bool
    steps: int = 0
    settings: tuple[Setting, ...] = tuple({"strength": strength} for strength in STRENGTHS)

    @property
    def name(self) -> str:
        return "label offset, as large as the take" if self.worn else "label offset, constant"

    def fit(self, lessons: Lessons, setting: Setting) -> Offset:
        """As `School.fit`."""
        frames: dict[str, list[FloatArray]] = {label: [] for label in sorted(set(lessons.faces.names))}
        for take, label in zip(lessons.faces.takes, lessons.faces.names):
            frames[label].append(np.asarray(take, np.float32))
        means = lessons.displacements(np.stack([np.concatenate(own).mean(axis=0) for own in frames.values()]))
        return Offset(dict(zip(frames, means)), setting["strength"], self.worn)
