"""The nouns of a store: takes, their phones, pairs of them, and the names of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visemo.types import FloatArray

SCHEMA = "visemo.store/1"
MANIFEST = "manifest.json"
TRANSFER = "transfer.npz"
SPLIT_PARTS = ("train", "val", "test")
KINDS = ("speech", "expression")
Precision = Literal["float16", "float32"]


class Segment(NamedTuple):
    """One phone of a take: `name` in lower-case CMU letters (`pau` is silence), times in seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Take:
    """What the manifest says about one sequence. `label` names an expression, `sentence` a text."""

    id: str
    subject: str
    kind: str
    frames: int
    fps: float
    label: str = ""
    sentence: str = ""
    text: str = ""
    voice: str = ""
    truth: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


class Pair(NamedTuple):
    """Two takes of one subject whose pure parts add up to a face that nobody recorded."""

    speech: str
    expression: str


class Fused(NamedTuple):
    """Truth of a pair: frame `expression_frames[t]` of the expression take is worn at speech frame t."""

    expression_frames: NDArray[np.int64]  # (T,)
    displacements: FloatArray  # (T, V, 3) m


def take_of(row: dict[str, Any]) -> Take:
    """A take from its row in a manifest or journal."""
    return Take(**{**row, "truth": tuple(row["truth"])})
