"""How much of a pure expression is left in a face that shows it: its size, its direction, and the worst emotion."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from visemo.evaluate.metrics import retention
from visemo.evaluate.sheet import Table
from visemo.models.expressions import NEUTRAL
from visemo.types import FloatArray
from visemo.units import M_PER_MM

SHOWS = 0.2 * M_PER_MM  # rms; an expression that moves a place less has nothing there to be kept
PARTS = ("amplitude", "cosine")


@dataclass(frozen=True, eq=False)
class Kept:
    """Amplitude and cosine of what is shown against the pure expression, in one `place` of the face, for a table."""

    table: Table
    place: str
    mode: str
    worst: str = "worst emotion"
    _by_label: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def note(self, sequence: str, label: str, shown: FloatArray, pure: FloatArray) -> None:
        """Measure motion (T, n, 3) m of the place, as it is shown and as the pure expression has it."""
        if label == NEUTRAL or np.square(pure).sum(axis=2).mean() < SHOWS**2:
            return
        found = retention(shown, pure)
        self._by_label.setdefault(label, []).append(found)
        for part, value in zip(PARTS, found):
            self.table.note(f"emotion kept {self.place}, {part}", self.mode, "1", sequence, value)

    def conclude(self) -> None:
        """The rows of the emotion that keeps least."""
        for column, part in enumerate(PARTS if self._by_label else ()):
            each = {label: np.array(found)[:, column] for label, found in self._by_label.items()}
            worst = min(each, key=lambda label: float(each[label].mean()))
            name = f"{part} of the {self.worst}, {worst}"
            self.table.conclude(name, self.mode, "1", each[worst], lambda sample: float(sample.mean()))
