"""The numbers of a report: one per sequence as they are measured, and the row that stands for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from visemo.evaluate.metrics import bootstrap_interval


@dataclass(frozen=True)
class Row:
    """One number: `low`..`high` is its 95 % bootstrap interval over `n` sequences."""

    name: str
    value: float
    unit: str
    low: float
    high: float
    n: int
    mode: str


@dataclass(eq=False)
class Column:
    """One measure of every sequence, by the sequence's name."""

    name: str
    mode: str
    unit: str
    values: dict[str, float] = field(default_factory=dict)

    def row(self) -> Row:
        """Their mean."""
        value, low, high = bootstrap_interval(list(self.values.values()))
        return Row(self.name, value, self.unit, low, high, len(self.values), self.mode)


@dataclass(eq=False)
class Table:
    """Rows that belong together, under a title and a sentence that says what they are."""

    title: str
    about: str
    _lines: dict[tuple[str, str], Column | Row] = field(default_factory=dict)

    def note(self, name: str, mode: str, unit: str, sequence: str, value: float) -> None:
        """Write down what a measure is for one sequence."""
        column = self._lines.setdefault((name, mode), Column(name, mode, unit))
        assert isinstance(column, Column)
        column.values[sequence] = float(value)

    def conclude(self, name: str, mode: str, unit: str, values: NDArray, statistic: Callable[[NDArray], float]) -> None:
        """A row of something else than a mean: a `statistic` of `values`, one entry (...) per sequence."""
        value, low, high = bootstrap_interval(values, statistic)
        self._lines[name, mode] = Row(name, value, unit, low, high, len(values), mode)

    def compare(self, name: str, first: Column, second: Column) -> None:
        """A column of the differences between two others, for the sequences that both have."""
        for sequence, value in first.values.items():
            if sequence in second.values:
                self.note(name, first.mode, first.unit, sequence, value - second.values[sequence])

    @property
    def written(self) -> bool:
        return bool(self._lines)

    def has(self, name: str, mode: str) -> bool:
        return (name, mode) in self._lines

    def column(self, name: str, mode: str) -> Column:
        column = self._lines[name, mode]
        assert isinstance(column, Column)
        return column

    @cached_property
    def rows(self) -> list[Row]:
        """In the order in which their names were first written down; read when all is written."""
        names = list(dict.fromkeys(name for name, _ in self._lines))
        lines = sorted(self._lines.values(), key=lambda line: names.index(line.name))
        return [line.row() if isinstance(line, Column) else line for line in lines]

    @property
    def sequences(self) -> list[dict[str, Any]]:
        """For machines: what every sequence gave to each of the means."""
        columns = [line for line in self._lines.values() if isinstance(line, Column)]
        return [{"name": c.name, "mode": c.mode, "unit": c.unit, "values": c.values} for c in columns]


class Sheet:
    """All tables of a report."""

    def __init__(self) -> None:
        self.speech = Table("Speech", "The speech model, from the sound alone, against the recorded take.")
        self.lips = Table("Lips", "Whether they close and open when they should, and how far.")
        self.module = Table(
            "Fusion module",
            "What the two encoders and the blendshapes make of motion, recorded or from the speech model.",
        )
        self.separation = Table(
            "Separation",
            "The face of two recordings, and each of its parts alone, against the truth that was planted; naive: the "
            "recordings as they are, added.",
        )
        self.leakage = Table("Leakage", "What one factor's blendshapes move that is the other's.")

    @property
    def tables(self) -> list[Table]:
        """Those with something in them."""
        tables = (self.speech, self.lips, self.module, self.separation, self.leakage)
        return [table for table in tables if table.written]

    @property
    def rows(self) -> list[Row]:
        return [row for table in self.tables for row in table.rows]
