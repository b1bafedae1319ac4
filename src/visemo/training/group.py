"""Takes of one kind as coordinates of a motion basis, and their mean frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Group:
    """Takes as coordinates (T, P) in mm, each with a name: the speaker, or the expression's label."""

    takes: Sequence[Array]
    names: Sequence[str]

    @property
    def frames(self) -> Array:
        return np.concatenate(self.takes)

    @property
    def moment(self) -> Array:
        """E[x^T x], (P, P) mm^2."""
        return self.frames.T @ self.frames / sum(len(take) for take in self.takes)

    def named(self, name: str) -> list[Array]:
        """Its takes."""
        return [take for take, own in zip(self.takes, self.names) if own == name]


def means_of(takes: Sequence[Array]) -> Array:
    """Mean frame (n, P) of each take."""
    return np.stack([weighted_mean(take) for take in takes])


def weighted_mean(take: Array) -> Array:
    """Mean frame, each frame counting by its amplitude."""
    amplitude = np.sqrt(np.square(take).sum(axis=1)) + 1e-12
    return amplitude @ take / amplitude.sum()
