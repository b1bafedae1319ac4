"""The moments at which a take's lips shut, and how many of them another motion of the same take keeps.

Where the phones are known these are its /p b m/. Where nobody knows them, they are read off the recorded take itself:
its lips come together after they were open, whatever was said; a motion keeps such a closure when its lips come as
near, give or take the millimetre that counts as shut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visemo.data.visemes import BILABIALS
from visemo.evaluate.articulation import SHUT
from visemo.evaluate.metrics import closure_recall
from visemo.evaluate.sheet import Table
from visemo.training.corpus import Recording
from visemo.units import FPS

OPENED = 2.0  # mm that lips have to have been apart for what follows to be a closure
REACH = 0.1  # s around the middle of a closure in which the lips may meet


@dataclass(frozen=True)
class Closures:
    """When (s) and how narrow (mm) the lips have to be, and how a report calls the share that does it."""

    name: str
    times: tuple[float, ...]
    limits: tuple[float, ...]

    @classmethod
    def of(cls, recording: Recording, gap: NDArray) -> Closures:
        """Those of a speech take with the lip gap (T,) mm: of its phones, or of the gap where it has none."""
        phones = recording.phones()
        if phones:
            times = [(phone.start + phone.end) / 2 for phone in phones if phone.name in BILABIALS]
            spoken = tuple(time for time in times if time <= (len(gap) - 1) / FPS)
            return cls("closure recall at /p b m/", spoken, (SHUT,) * len(spoken))
        frames = own_closures(gap)
        return cls("closure recall", tuple(t / FPS for t in frames), tuple(SHUT + gap[t] for t in frames))

    def note(self, table: Table, sequence: str, gaps: Mapping[str, NDArray]) -> None:
        """Write down the share of closures (%) that each motion's lip gap (T,) mm keeps, by mode; nothing for a take
        without closures."""
        for mode, gap in gaps.items() if self.times else ():
            kept = [closure_recall(gap, [time], FPS, limit, REACH) for time, limit in zip(self.times, self.limits)]
            table.note(self.name, mode, "%", sequence, 100 * float(np.mean(kept)))


def own_closures(gap: NDArray) -> list[int]:
    """Frames in which a lip gap (T,) mm is narrowest, of every stretch under `SHUT` that comes after more than
    `OPENED`."""
    turns = np.flatnonzero(np.diff(np.concatenate([[False], gap < SHUT, [False]]).astype(np.int8)))
    starts, ends = turns[::2].tolist(), turns[1::2].tolist()
    return [
        start + int(np.argmin(gap[start:end]))
        for last, start, end in zip([0, *ends], starts, ends)
        if gap[last:start].max(initial=0.0) > OPENED
    ]
