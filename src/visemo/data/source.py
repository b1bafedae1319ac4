"""What a reader gives to `prepare`: the people of a data set, their sequences, and what was passed over and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from visemo.types import FloatArray, Mesh, VisemoError, Waveform

DAMAGED = "damaged data"
_PLAIN = re.compile(r"\w[\w.+ -]*")


class Skipped(NamedTuple):
    """Something that stays out of a store: `what` by name, `why` in words that many share, and all about it."""

    what: str
    why: str
    detail: str = ""


@dataclass(frozen=True, eq=False)
class Sequence:
    """One sequence of a source, read when asked for.

    `read(start, stop)` gives the vertices (n, N, 3) float32 m of frames start..stop-1, wherever the head was.
    A sequence with a `course` (T,) has one frame only, its apex: frame k shows course[k] of the way to it.
    `notes` go into the take's row.
    """

    id: str
    subject: str
    kind: str  # speech or expression
    frames: int
    read: Callable[[int, int], FloatArray]
    label: str = ""
    sentence: str = ""
    sound: Callable[[], Waveform] | None = None
    course: FloatArray | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as it lies on the disk: N vertices in one order throughout, metres, +y up, +z out of the face."""

    name: str
    licence: str
    fps: float  # native
    mesh: Mesh  # the topology, and some head in it
    neutrals: Mapping[str, FloatArray]  # (N, 3) m, each subject at rest
    sequences: tuple[Sequence, ...]
    skipped: tuple[Skipped, ...] = ()
    posed: bool = False  # heads move about: every frame is laid on its neutral first
    lips_apart: bool = False  # the neutrals are proxies whose lips do not touch: they are closed
    remarks: tuple[str, ...] = ()  # what was assumed or converted, a line each

    def __post_init__(self) -> None:
        names = {sequence.id for sequence in self.sequences} | {sequence.subject for sequence in self.sequences}
        odd = sorted(name for name in names if not _PLAIN.fullmatch(name))
        if odd:  # they become names of files
            raise VisemoError(f"{self.name}: got the name {odd[0]!r}, expected letters, digits and any of . + - _")
        ids = [sequence.id for sequence in self.sequences]
        twice = sorted({id for id in ids if ids.count(id) > 1}) if len(set(ids)) < len(ids) else []
        if twice:
            raise VisemoError(f"{self.name}: got two sequences named {twice[0]}, expected one; remove or rename one")

    @property
    def counts(self) -> dict[str, int]:
        """How many sequences there are, and how many were passed over for each reason."""
        return {"sequences": len(self.sequences), **reasons(self.skipped)}


def reasons(skipped: Iterable[Skipped]) -> dict[str, int]:
    """How often each reason is given, in the order in which they come up."""
    counts: dict[str, int] = {}
    for _, why, _ in skipped:
        counts[why] = counts.get(why, 0) + 1
    return counts
