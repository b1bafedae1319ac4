"""How far a motion is from planted truth, beside the naive sum: a mean error per vertex and sequence, and its rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from visemo.evaluate.sheet import Table
from visemo.types import FloatArray, IntArray
from visemo.units import MM_PER_M

NAIVE = "naive"


@dataclass(frozen=True, eq=False)
class TruthErrors:
    """Errors (V,) mm of the same sequences in several modes, one of them `NAIVE`."""

    table: Table
    name: str
    ratio: str  # name of the rows that divide by the naive error
    lips: IntArray
    _found: dict[str, list[NDArray]] = field(default_factory=lambda: defaultdict(list))

    def note(self, sequence: str, mode: str, motion: FloatArray, truth: FloatArray) -> None:
        """Hold motion (T, V, 3) m against its truth."""
        off = (torch.from_numpy(motion) - torch.from_numpy(truth)).norm(dim=2).mean(dim=0)
        self._found[mode].append(MM_PER_M * off.numpy())
        self.table.note(f"{self.name}, all vertices", mode, "mm", sequence, self._found[mode][-1].mean())

    def means(self) -> dict[str, NDArray]:
        """(V,) mm by mode, over all sequences."""
        return {mode: np.mean(errors, axis=0) for mode, errors in self._found.items()}

    def conclude(self) -> None:
        """The rows of the lip vertex that is worst on average, and every mode's share of the naive error."""
        found = {mode: np.stack(errors) for mode, errors in self._found.items()}
        for mode, errors in found.items():
            self.table.conclude(f"{self.name}, worst lip vertex", mode, "mm", errors[:, self.lips], _worst)
        for mode, errors in found.items():
            if mode != NAIVE:
                both = np.stack([errors, found[NAIVE]], axis=1)  # (n, 2, V)
                places = {"all vertices": both.mean(axis=2, keepdims=True), "worst lip vertex": both[:, :, self.lips]}
                for place, there in places.items():
                    self.table.conclude(f"{self.ratio}, {place}", mode, "1", there, _ratio_of_worst)


def _worst(sample: NDArray) -> float:
    return float(sample.mean(axis=0).max())


def _ratio_of_worst(sample: NDArray) -> float:
    own, naive = sample.mean(axis=0).max(axis=1)
    return float(own / naive)
