"""How curves are held to what rigs are made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# what no face does at once
OPPOSITES = (
    ("mouthLeft", "mouthRight"), ("jawLeft", "jawRight"),
    *((f"{one}{side}", f"{other}{side}") for side in ("Left", "Right") for one, other in (
        ("mouthSmile", "mouthFrown"), ("eyeLookIn", "eyeLookOut"), ("eyeLookUp", "eyeLookDown"),
        ("eyeWide", "eyeBlink"),
    )),
)  # fmt: skip
GAZE = ("eyelook", "look")  # what names of shapes that turn the eyes begin with: ARKit's, and VRM's


@dataclass(frozen=True)
class Habit:
    """How curves are held to what rigs are made for, in units of the mean energy of a shape.

    The defaults cost 0.03 mm of rms on speech and 0.03 to 0.13 mm on expressions, and bring opposites that pull at once
    from full strength to 0.12: the other head would show such a pull as lips that vanish in the chin.
    """

    ridge: float = 5e-3  # on squares: two shapes that look alike share the work
    sparse: float = 3e-3  # on sums: a shape that hardly helps is left alone
    exclusive: float = 1e-2  # on the squared sum of opposites
    gaze: float = 1.0  # on squares of shapes that turn the eyes: lids that move are no reason to look elsewhere

    def penalty(self, names: Sequence[str]) -> np.ndarray:
        """(R, R) the quadratic part for curves of these names; ARKit's opposites are known by theirs."""
        looks = np.array([name.lower().startswith(GAZE) for name in names])
        matrix = np.diag(self.ridge + self.gaze * looks)
        for pair in OPPOSITES:
            if set(pair) <= set(names):
                rows = [list(names).index(name) for name in pair]
                matrix[np.ix_(rows, rows)] += self.exclusive
        return matrix


EXACT = Habit(1e-4, 0.0, 0.0, 0.0)  # as close as the shapes come, by whatever play of them against each other
NATURAL = Habit()
