"""Where a method stands after all pairs: one number for each thing that was measured, with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visemo.evaluate.metrics import bootstrap_interval
from visemo.evaluate.rivals.marks import Marks
from visemo.types import IntArray

MEASURES = {  # unit of each, in the order of the table
    "error, all vertices": "mm", "ratio to the naive sum, all vertices": "1", "error, worst lip vertex": "mm",
    "ratio to the naive sum, worst lip vertex": "1", "expression kept at the lips": "1",
    "expression kept beside the lips": "1", "closures kept at /p b m/": "%", "talk in the brows": "mm",
}  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """`low`..`high` is the 95 % bootstrap interval over `n` pairs."""

    method: str
    measure: str
    value: float
    unit: str
    low: float
    high: float
    n: int


def standings(method: str, marks: Sequence[Marks], naive: Sequence[Marks], lips: IntArray) -> list[Standing]:
    """All measures of one method, with the marks that the naive sum has on the same pairs."""
    both = np.stack([[own.errors, other.errors] for own, other in zip(marks, naive)])  # (n, 2, V)
    everywhere, at_lips = both.mean(axis=2, keepdims=True), both[:, :, lips]
    found: Mapping[str, tuple[NDArray, Callable[[NDArray], float]]] = {
        "error, all vertices": (everywhere[:, 0], _worst),
        "ratio to the naive sum, all vertices": (everywhere, _ratio),
        "error, worst lip vertex": (at_lips[:, 0], _worst),
        "ratio to the naive sum, worst lip vertex": (at_lips, _ratio),
        "expression kept at the lips": (_known([m.lips for m in marks]), np.mean),
        "expression kept beside the lips": (_known([m.beside for m in marks]), np.mean),
        "closures kept at /p b m/": (_known([m.closures for m in marks]), np.mean),
        "talk in the brows": (_known([m.brows for m in marks]), np.mean),
    }
    rows = []
    for measure, (values, statistic) in found.items():
        value, low, high = bootstrap_interval(values, statistic) if len(values) else (float("nan"),) * 3
        rows.append(Standing(method, measure, value, MEASURES[measure], low, high, len(values)))
    return rows


def _known(values: list[float]) -> NDArray:
    column = np.array(values)
    return column[~np.isnan(column)]


def _worst(sample: NDArray) -> float:
    """Of errors (n, V): the vertex that is worst on average."""
    return float(sample.mean(axis=0).max())


def _ratio(sample: NDArray) -> float:
    """Of errors (n, 2, V): the worst vertex of the first over the worst of the second."""
    own, naive = sample.mean(axis=0).max(axis=1)
    return float(own / naive) if naive else float("nan")
