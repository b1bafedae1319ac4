"""Whether a take says what the sound says: its lips against phone times, captured lips, and the sound's own pauses.

Curves are lip gaps in mm, one number per frame; phones come from an aligner or from the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from visemo.data.coarticulation import predicted_gap
from visemo.data.store import Segment
from visemo.data.visemes import BILABIALS, LABIODENTALS, OPEN_VOWELS, PHONES, SILENCE
from visemo.evaluate.metrics import around, correlation
from visemo.face.face import Face
from visemo.types import FloatArray, VisemoError, Waveform
from visemo.units import FPS, MM_PER_M

SLACK = 0.05  # s around a phone in which its extreme may fall: aligners are no surer than that
SHUT = 1.0  # mm, of a /p b m/ that counts as closed
OPEN = 4.0  # mm, of a vowel that counts as open
TOUCHING = 1.0  # mm from the lower lip to the upper teeth in an /f v/ that counts as made
INCISORS = 12.0  # mm to either side that the upper incisors reach
EDGE = 4.0  # mm of their height, from the cutting edge
MAX_LAG = 2  # frames
HOP = 160  # samples whose power is taken together to find pauses
QUIET = 40.0  # dB under loud speech: a pause
LOUD = 0.95  # of the sounding stretches are quieter than what counts as loud speech


@dataclass(frozen=True)
class Articulation:
    """Smallest gap of every /p b m/ and largest of every open vowel (mm), the correlation of the whole curve with the
    gap that the corpus' viseme model gives the same phones, and how near the lower lip comes to the upper teeth in
    every /f v/ (mm), where that is asked for."""

    closures: tuple[float, ...]
    vowels: tuple[float, ...]
    correlation: float
    lag: int
    bites: tuple[float, ...] = ()

    @property
    def shut(self) -> int:
        """/p b m/ whose lips meet."""
        return sum(gap <= SHUT for gap in self.closures)

    @property
    def open(self) -> int:
        """Open vowels that open."""
        return sum(gap >= OPEN for gap in self.vowels)

    @property
    def bitten(self) -> int:
        """/f v/ whose lower lip touches the teeth."""
        return sum(distance <= TOUCHING for distance in self.bites)


def articulation(
    gap: NDArray, phones: Sequence[Segment], face: Face, fps: float = FPS, teeth: NDArray | None = None
) -> Articulation:
    """Hold a take's lip gap (T,) mm, and if given its `teeth_gap`, against its phones.

    Raises VisemoError for unknown phones, and as `metrics.correlation` when a curve does not vary.
    """
    expected = predicted_gap(phones, len(gap), face, fps)
    at, lag = correlation(np.asarray(gap, np.float64), expected.astype(np.float64), MAX_LAG)
    closures = [_extreme(gap, phone, fps, np.min) for phone in phones if phone.name in BILABIALS]
    vowels = [_extreme(gap, phone, fps, np.max) for phone in phones if phone.name in OPEN_VOWELS]
    bites: list[float] = []
    if teeth is not None:
        bites = [_extreme(teeth, phone, fps, np.min) for phone in phones if phone.name in LABIODENTALS]
    return Articulation(tuple(closures), tuple(vowels), at, lag, tuple(bites))


def teeth_gap(vertices: FloatArray, face: Face) -> NDArray[np.float64]:
    """How far the lower lip of vertices (T, V, 3) m is from the cutting edge of the upper incisors: (T,) mm.

    Raises VisemoError for a face without a part `teeth_upper` or a region `lower_lip`.
    """
    found = [part.vertices for part in face.parts if part.name == "teeth_upper"]
    if not found or "lower_lip" not in face.regions:
        raise VisemoError(f"face {face.name}: got no upper teeth or no region lower_lip, expected both")
    teeth = found[0] * MM_PER_M
    incisors = teeth[(np.abs(teeth[:, 0]) <= INCISORS) & (teeth[:, 1] <= teeth[:, 1].min() + EDGE)]
    lip = vertices[:, face.regions["lower_lip"]] * MM_PER_M
    return KDTree(incisors).query(lip)[0].min(axis=1)


def _extreme(gap: NDArray, phone: Segment, fps: float, pick: Callable[[NDArray], NDArray]) -> float:
    return float(pick(around(gap, phone.start - SLACK, phone.end + SLACK, fps)))


def pause_ends(phones: Sequence[Segment], frames: int, fps: float = FPS, shortest: float = 0.4) -> list[int]:
    """The last frame of every silence longer than `shortest` seconds, as far as the clip goes."""
    return [
        min(int(phone.end * fps), frames - 1)
        for phone in phones
        if phone.name == SILENCE and phone.end - phone.start > shortest
    ]


def quiet_spells(sound: Waveform, shortest: float = 0.4) -> list[tuple[float, float]]:
    """(start, end) s of every stretch longer than `shortest` that lies `QUIET` dB under the clip's loud speech: the
    pauses of a clip whose phones nobody knows."""
    count = len(sound.samples) // HOP
    power = np.square(sound.samples[: count * HOP].reshape(count, HOP), dtype=np.float64).mean(axis=1)
    if not count:
        return []
    power = np.convolve(power, np.ones(3) / 3, "same")
    sounding = power[power > 10 ** (-QUIET / 10) * power.max(initial=0.0)]
    loud = np.quantile(sounding, LOUD) if len(sounding) else np.inf
    quiet = np.concatenate([[False], power < 10 ** (-QUIET / 10) * loud, [False]])
    turns = np.flatnonzero(np.diff(quiet.astype(np.int8))) * (HOP / sound.sample_rate)
    return [(start, end) for start, end in zip(turns[::2], turns[1::2]) if end - start > shortest]


def read_phones(path: Path | str) -> tuple[Segment, ...]:
    """Phones of an alignment file: a JSON list of {"phone": CMU name, "begin": s, "dur": s}.

    Raises VisemoError for a file that is no such list, or a phone that is not in the CMU set.
    """
    path = Path(path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = [(_cmu(row["phone"]), float(row["begin"]), float(row["dur"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VisemoError(f"{path}: got no alignment ({error}), expected a list of phone, begin, dur") from error
    unknown = sorted({name for name, _, _ in found} - set(PHONES))
    if unknown or not found:
        raise VisemoError(f"{path}: got phones {unknown or 'none'}, expected names of the CMU set")
    return tuple(Segment(name, begin, begin + length) for name, begin, length in found)


def _cmu(name: str) -> str:
    """Lower case without stress; what aligners call silence or noise is silence."""
    plain = name.lower().rstrip("012")
    return SILENCE if plain in ("sil", "sp", "+nsn+", "+spn+", "") else plain
