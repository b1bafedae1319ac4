"""How well the speech model says a held-out take: free-running, from the sound alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visemo.evaluate import metrics
from visemo.evaluate.answers import Answers
from visemo.evaluate.baselines import Baselines
from visemo.evaluate.closures import Closures
from visemo.evaluate.places import Places
from visemo.evaluate.sheet import Sheet
from visemo.training.corpus import Recording
from visemo.types import FloatArray
from visemo.units import FPS

MAX_LAG = 5  # frames that lips may be early or late
BASELINES = ("mean face", "energy jaw", "retrieval")
STILL = 1e-3  # mm; a lip gap that varies less is in time with nothing


@dataclass(frozen=True, eq=False)
class Talk:
    """What a report shows of a speech take: lip gaps (T,) mm of the recording and of the speech model, and the error
    (T,) mm of the worst lip vertex of every frame."""

    recording: Recording
    name: str
    gap: NDArray
    said_gap: NDArray
    error: NDArray


@dataclass(frozen=True, eq=False)
class SpeechMeasures:
    """Writes the tables `speech` and `lips` of a sheet, take by take."""

    answers: Answers
    places: Places
    sheet: Sheet
    baselines: Baselines | None  # none where there is nothing to fit them on

    def take(self, recording: Recording, truth: FloatArray) -> Talk:
        """Measure one speech take, recorded as `truth` (T, V, 3) m."""
        name, spoken = self.answers.name(recording), self.answers.spoken(recording)
        said = self.answers.said(spoken.latents)
        said_lips, true_lips = (motion[:, self.places.lips.indices] for motion in (said, truth))
        error = metrics.vertex_errors(said_lips, true_lips).max(axis=1)
        note = self.sheet.speech.note
        note("lve", "speech", "mm", name, error.mean())
        for guess, motion in self.baselines.guess(recording).items() if self.baselines else ():
            note(f"lve {guess}", "speech", "mm", name, metrics.vertex_errors(motion, true_lips).max(axis=1).mean())
        note("mean vertex error", "speech", "mm", name, spoken.error.mean())
        if len(truth) > 2:
            note("velocity error of the lips", "speech", "mm/s", name, metrics.velocity_error(said_lips, true_lips))
            note("jitter of the lips", "speech", "m/s^2", name, metrics.jitter(said_lips))
            note("jitter of the lips", "truth", "m/s^2", name, metrics.jitter(true_lips))
        self._upper_face(name, said, truth)
        gaps = self._gaps(name, recording, said, truth)
        Closures.of(recording, gaps[0]).note(self.sheet.lips, name, {"truth": gaps[0], "speech": gaps[1]})
        return Talk(recording, name, *gaps, error)

    def _upper_face(self, name: str, said: FloatArray, truth: FloatArray) -> None:
        if self.places.upper_face is None:
            return
        upper, note = self.places.upper_face.indices, self.sheet.speech.note
        note("upper-face error", "speech", "mm", name, metrics.upper_face_error(said, truth, upper))
        deviation = metrics.upper_face_deviation(said, truth, upper)
        note("upper-face deviation", "speech", "mm^2", name, deviation)
        note("upper-face deviation, absolute", "speech", "mm^2", name, abs(deviation))

    def _gaps(self, name: str, recording: Recording, said: FloatArray, truth: FloatArray) -> tuple[NDArray, NDArray]:
        """Lip gaps (T,) mm of the recording and of the speech model, and how the two go together."""
        rest, pairs = self.answers.neutral(recording)[self.places.rim], self.places.rim_pairs
        true_rim, said_rim = (rest + motion[:, self.places.rim] for motion in (truth, said))
        note = self.sheet.lips.note
        off = metrics.mouth_opening_difference(said_rim, true_rim, pairs)
        note("mouth opening difference", "speech", "mm", name, off)
        gap, said_gap = metrics.lip_gap(true_rim, pairs), metrics.lip_gap(said_rim, pairs)
        if min(np.ptp(gap), np.ptp(said_gap)) > STILL and len(gap) > MAX_LAG + 2:
            best, lag = metrics.correlation(said_gap, gap, MAX_LAG)
            note("lip-sync correlation", "speech", "1", name, best)
            note("lip-sync lag", "speech", "ms", name, 1000 * lag / FPS)
        return gap, said_gap

    def conclude(self) -> None:
        """What all takes together say: how much nearer than each guess the speech model comes."""
        if not self.baselines:
            return
        table = self.sheet.speech
        for guess in BASELINES:
            both = [list(table.column(name, "speech").values.values()) for name in ("lve", f"lve {guess}")]
            table.conclude(f"lve below {guess}", "speech", "%", np.stack(both, axis=1), _percent_below)


def _percent_below(both: NDArray) -> float:
    own, other = both.sum(axis=0)
    return float(100 * (1 - own / other))
