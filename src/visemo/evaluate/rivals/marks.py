"""What is measured of fused faces: errors at every vertex, what is left of the expression, lips that still shut; and
where a method stands after all pairs, one number for each of these with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visemo.assets import atomic
from visemo.data.visemes import BILABIALS
from visemo.evaluate.articulation import SHUT
from visemo.evaluate.metrics import bootstrap_interval, closure_recall, lip_gap, retention
from visemo.evaluate.rivals.scene import Scene
from visemo.face.face import Face
from visemo.types import FloatArray, IntArray
from visemo.units import FPS, M_PER_MM, MM_PER_M

SHOWING = ("upper_face", "cheeks", "mouth")  # where a face, lips aside, shows what it feels
BROWS = ("brows", "upper_face", "eyes")  # the first that a face has
REACH = 0.1  # s around the middle of a closure in which the lips may meet
SHOWS = 0.2 * M_PER_MM  # rms; a place that an expression moves less keeps nothing of it
MEASURES = {  # unit of each, in the order of the table
    "error, all vertices": "mm", "ratio to the naive sum, all vertices": "1", "error, worst lip vertex": "mm",
    "ratio to the naive sum, worst lip vertex": "1", "expression kept at the lips": "1",
    "expression kept beside the lips": "1", "closures kept at /p b m/": "%", "talk in the brows": "mm",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Marks:
    """One method on one scene; an amplitude is nan where the expression is not seen, closures where nothing shuts.

    errors : (V,) mm, mean over frames
    lips, beside : size of what the fused face adds to pure speech along the pure expression, 1 is all of it;
        at the lips, and where else a face shows what it feels
    closures : % of the /p b m/ whose lips meet
    brows : mm rms that the brows are away from the pure expression; talk leaks into them
    """

    errors: NDArray[np.float32]
    lips: float
    beside: float
    closures: float
    brows: float

    def save(self, path: Path) -> None:
        """As an npz."""
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, errors=self.errors, values=np.array([self.lips, self.beside, self.closures, self.brows]))

    @classmethod
    def load(cls, path: Path) -> Marks:
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["errors"], *arrays["values"].tolist())


class Marker:
    """Measures fused faces of one topology. Raises VisemoError for a face without lips or without brows and eyes."""

    def __init__(self, face: Face) -> None:
        self.lips = face.region("lips")
        showing = [face.regions[name] for name in SHOWING if name in face.regions]
        everywhere = [np.arange(len(face.template), dtype=np.int32)]
        self.beside: IntArray = np.setdiff1d(np.concatenate(showing or everywhere), self.lips)
        self.brows = face.region(next((name for name in BROWS if name in face.regions), BROWS[0]))
        self.rim = face.lip_pairs.ravel()
        self.rim_pairs = np.arange(len(self.rim), dtype=np.int32).reshape(-1, 2)

    def marks(self, scene: Scene, fused: FloatArray) -> Marks:
        """Of a fused face (T, V, 3) m."""
        off = fused - scene.truth
        errors = np.sqrt(np.einsum("tvc,tvc->tv", off, off)).mean(axis=0) * np.float32(MM_PER_M)
        astray = off[:, self.brows] + scene.speech[:, self.brows]
        brows = MM_PER_M * float(np.square(astray).sum(axis=2).mean()) ** 0.5
        lips, beside = (self._kept(scene, fused, place) for place in (self.lips, self.beside))
        return Marks(errors, lips, beside, self._closures(scene, fused), brows)

    def _kept(self, scene: Scene, fused: FloatArray, place: IntArray) -> float:
        pure = scene.expression[:, place]
        if np.square(pure).sum(axis=2).mean() < SHOWS**2:
            return float("nan")
        return retention(fused[:, place] - scene.speech[:, place], pure)[0]

    def _closures(self, scene: Scene, fused: FloatArray) -> float:
        gap = lip_gap(scene.neutral[self.rim] + fused[:, self.rim], self.rim_pairs)
        middles = [(phone.start + phone.end) / 2 for phone in scene.phones if phone.name in BILABIALS]
        times = [time for time in middles if time <= (len(gap) - 1) / FPS]
        return 100 * closure_recall(gap, times, FPS, SHUT, REACH) if times else float("nan")


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
