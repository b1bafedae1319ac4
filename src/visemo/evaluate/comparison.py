"""Predictions of several programs against one truth, by every measure that has a name, on the same vertices.

Each prediction is brought to the truth's frame rate by its times in seconds, cut to the common length, and laid on the
truth's head. What had to be done to it is said.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visemo.assets import atomic
from visemo.data.peers import Bodies, Clip, Found, find_clips
from visemo.evaluate import metrics
from visemo.evaluate.ground import Choices, Ground
from visemo.evaluate.laying import Laid, lay_on, matched
from visemo.face.face import Face
from visemo.face.library import load_face
from visemo.types import FloatArray, IntArray, VisemoError, Waveform

UNITS = {
    "lve": "mm",
    "lve_squared": "mm^2",
    "lve_rms": "mm",
    "fdd": "mm^2",
    "fdd_abs": "mm^2",
    "upper_face": "mm",
    "mean_vertex": "mm",
    "mouth_opening": "mm",
    "velocity": "mm/s",
    "jitter": "m/s^2",
    "lip_sync": "r",
    "lip_lag": "ms",
}
MAX_LAG = 0.2  # s by which lips may be early or late
MOVING = 1e-3  # mm of standard deviation from which on a mouth moves
ROUNDING = 1e-6  # of any unit: what is less is shown as 0
WORST, APART = 2, 0.5  # frames kept of the worst, and s between two of one sequence


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame in which the lips are far off: vertices (V, 3) m, `errors` (V,) mm, `time` s, `lips` mm."""

    sequence: str
    time: float
    lips: float
    truth: FloatArray
    prediction: FloatArray
    errors: NDArray


@dataclass(eq=False)
class Entry:
    """All that is found of one prediction: every measure by sequence, its worst frames, its mean error by vertex."""

    label: str
    format: str = ""
    fps: float = 0.0
    values: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    worst: list[Frame] = field(default_factory=list)
    assumed: dict[str, float] = field(default_factory=dict)  # note -> the largest of its numbers
    _error: NDArray | float = 0.0
    _frames: int = 0
    _intervals: dict[tuple[str, int], tuple[float, float, float]] = field(default_factory=dict)

    @property
    def mean_error(self) -> NDArray:
        """(V,) mm over all frames."""
        return np.asarray(self._error) / max(self._frames, 1)

    def note(self, sequence: str, clip: Clip, laid: Laid, ground: Ground) -> None:
        """Measure one sequence."""
        self.format, self.fps = clip.format, clip.fps
        for name, value in measures(laid, ground).items():
            if np.isfinite(value):
                self.values[name][sequence] = value
        for note, number in {**dict.fromkeys(clip.notes, 0.0), **laid.notes}.items():
            self.assumed[note] = max(number, self.assumed.get(note, 0.0))
        errors = metrics.vertex_errors(laid.prediction, laid.truth)
        self._error, self._frames = self._error + errors.sum(axis=0), self._frames + len(errors)
        self.worst += _worst_frames(sequence, laid, errors, ground.lips.indices)
        self.worst = sorted(self.worst, key=lambda frame: -frame.lips)[:WORST]

    @property
    def notes(self) -> list[str]:
        """What was assumed or left out."""
        return [note.replace("{}", f"{number:.2g}") for note, number in self.assumed.items()]

    def interval(self, name: str) -> tuple[float, float, float] | None:
        """Mean over sequences and its 95 % bootstrap interval; None where the measure says nothing of any."""
        found = list(self.values[name].values())
        if len(found) < 2:
            return (found[0], found[0], found[0]) if found else None
        if (name, len(found)) not in self._intervals:  # 2000 draws, and the table is written more than once
            self._intervals[name, len(found)] = metrics.bootstrap_interval(found)
        return self._intervals[name, len(found)]


@dataclass(eq=False)
class Comparison:
    """The table: one entry per prediction, and the truth's own jitter by sequence; and what can be drawn of it."""

    ground: Ground
    truth: str
    entries: list[Entry]
    jitter: dict[str, float] = field(default_factory=dict)
    shown: dict[str, Laid] = field(default_factory=dict)  # of the first sequence, by label: for a film
    sound: Waveform | None = None  # of the same
    triangles: IntArray | None = None  # the ground's, or what any of the files says
    _first: str = ""

    def note(self, n: int, sequence: str, clip: Clip, truth: Clip, rows: IntArray | None) -> None:
        """Measure one clip of prediction `n`, and keep it for the film where it is the first."""
        laid = lay_on(clip, truth, rows)
        entry = self.entries[n]
        entry.note(sequence, clip, laid, self.ground)
        self.jitter[truth.name] = metrics.jitter(laid.truth, laid.fps)
        if not self.shown:
            self.sound, self._first = truth.sound, truth.name
        if truth.name == self._first:
            self.shown.setdefault(entry.label, laid)
        for made in (truth, clip):
            if self.triangles is None and made.vertices.shape[1] == len(laid.rest):
                self.triangles = made.triangles

    def write(self, folder: Path) -> None:
        """Write `compare.json` and `compare.md` into an existing folder."""
        with atomic(folder / "compare.json") as temporary:
            temporary.write_text(json.dumps(self._content(), indent=1) + "\n", encoding="utf-8")
        with atomic(folder / "compare.md") as temporary:
            temporary.write_text(f"# Against {self.truth}\n\n{self.text()}\n", encoding="utf-8")

    def text(self) -> str:
        """The table for people, in Markdown, with the sets and what was assumed below."""
        rows = [["", *(entry.label for entry in self.entries), "truth"], ["---"] * (len(self.entries) + 2)]
        for name, unit in UNITS.items():
            own = f"{np.mean(list(self.jitter.values())):.4g}" if name == "jitter" else ""
            rows.append([f"{name}, {unit}", *(_cell(entry, name) for entry in self.entries), own])
        rows.append(["n", *(str(len(entry.values["lve"])) for entry in self.entries), str(len(self.jitter))])
        wide = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            "| " + " | ".join(cell.ljust(w, "-" if cell == "---" else " ") for cell, w in zip(row, wide)) + " |"
            for row in rows
        ]
        lines += ["", f"Measured on {self.ground}.", "Means over n sequences; brackets: 95 % bootstrap intervals."]
        for entry in self.entries:
            lines += [f"- {entry.label}: {'; '.join([f'{entry.format}, {entry.fps:g} frames a second', *entry.notes])}"]
        return "\n".join(lines)

    def _content(self) -> dict:
        ground = self.ground
        sets = [{"name": s.name, "vertices": s.count, "hash": s.hash} for s in (ground.lips, ground.upper_face)]
        rows = []
        for entry in self.entries:
            for name, unit in UNITS.items():
                found = entry.interval(name)
                if found is not None:
                    value, low, high = found
                    row = {
                        "prediction": entry.label,
                        "name": name,
                        "unit": unit,
                        "value": value,
                        "low": low,
                        "high": high,
                    }
                    rows.append(row | {"n": len(entry.values[name]), "sequences": entry.values[name]})
        predictions = [{"label": e.label, "format": e.format, "fps": e.fps, "notes": e.notes} for e in self.entries]
        own = {"jitter": self.jitter}
        return {"truth": self.truth, "truth_own": own, "sets": sets, "lip_pairs": ground.lip_pairs.tolist(),
                "predictions": predictions, "rows": rows}  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """What is compared: `label` in the table, where it is, and its frames a second where the file says others."""

    label: str
    path: Path
    fps: float | None = None

    def read(self, found: Found) -> Clip:
        clip = found.read()
        return clip if self.fps is None else replace(clip, fps=self.fps)


def compare(
    truth: Prediction,
    predictions: Sequence[Prediction],
    choices: Choices,
    progress: Callable[[float], None] = lambda share: None,
) -> Comparison:
    """Hold predictions against a truth, clip by clip.

    Parameters
    ----------
    choices : which vertices count, and what parameters and curves are put on; where it names no face, the one that the
        truth was made on is taken

    Raises
    ------
    VisemoError
        for files that are not known or damaged, other topologies, names that do not match, and vertex sets that
        nothing says
    """
    bodies = Bodies(choices.flame, choices.face)
    truths = find_clips(truth.path, bodies)
    first = truth.read(truths[0])
    if choices.face is None:
        choices = replace(choices, face=_own_face(first))
        bodies = Bodies(choices.flame, choices.face)
    rows = choices.rows
    count = first.vertices.shape[1]
    ground = choices.ground(count if rows is None or count <= int(rows.max()) else len(rows))
    comparison = Comparison(ground, truth.label, [Entry(p.label) for p in predictions], triangles=ground.triangles)
    plan = []
    for prediction, entry in zip(predictions, comparison.entries):
        found = find_clips(prediction.path, bodies)
        plan.append(matched(truths, found, str(prediction.path)))
        if len(plan[-1]) < len(found):
            entry.assumed["{} clips left out: no truth of their names"] = len(found) - len(plan[-1])
    done, total = 0, sum(map(len, plan))
    for there in truths:
        own = [(n, found) for n, pairs in enumerate(plan) for match, found in pairs if match is there]
        actual = truth.read(there) if own else None
        for n, found in own:
            assert actual is not None
            clip = predictions[n].read(found)
            comparison.note(n, found.name, clip, actual, rows)
            done += 1
            progress(done / total)
    return comparison


def _own_face(truth: Clip) -> Face | None:
    """The face that the truth was made on, where it goes by a name that is known here."""
    try:
        face = load_face(truth.face) if truth.face else None
    except VisemoError:
        return None
    return face if face is not None and len(face.template) == truth.vertices.shape[1] else None


def measures(laid: Laid, ground: Ground) -> dict[str, float]:
    """Every measure of `UNITS` for one sequence; NaN where it is too short or a mouth that does not move."""
    lips, upper, pairs = ground.lips.indices, ground.upper_face.indices, ground.lip_pairs
    truth, prediction, fps = laid.truth, laid.prediction, laid.fps
    moved = prediction - laid.rest, truth - laid.rest
    sync, lag = _lip_sync(metrics.lip_gap(prediction, pairs), metrics.lip_gap(truth, pairs), round(MAX_LAG * fps))
    return {
        "lve": metrics.lve(prediction, truth, lips),
        "lve_squared": metrics.lve_squared(prediction, truth, lips),
        "lve_rms": metrics.lve_rms(prediction, truth, lips),
        "fdd": metrics.upper_face_deviation(*moved, upper),
        "fdd_abs": metrics.upper_face_deviation_abs(*moved, upper),
        "upper_face": metrics.upper_face_error(prediction, truth, upper),
        "mean_vertex": metrics.mean_vertex_error(prediction, truth),
        "mouth_opening": metrics.mouth_opening_difference(prediction, truth, pairs),
        "velocity": metrics.velocity_error(prediction, truth, fps=fps),
        "jitter": metrics.jitter(prediction, fps),
        "lip_sync": sync,
        "lip_lag": 1000 * lag / fps,
    }


def _lip_sync(gap: NDArray, reference: NDArray, max_lag: int) -> tuple[float, float]:
    if min(gap.std(), reference.std()) > MOVING and len(gap) > max_lag + 1:
        return metrics.correlation(gap, reference, max_lag)
    return float("nan"), float("nan")


def _worst_frames(sequence: str, laid: Laid, errors: NDArray, lips: IntArray) -> list[Frame]:
    off, frames = errors[:, lips].max(axis=1), []
    for _ in range(WORST):
        t = int(np.argmax(off))
        if off[t] < 0:
            break
        frames.append(
            Frame(
                sequence, t / laid.fps, float(off[t]), laid.truth[t].copy(), laid.prediction[t].copy(), errors[t].copy()
            )
        )
        reach = round(APART * laid.fps)
        off[max(0, t - reach) : t + reach + 1] = -1
    return frames


def _cell(entry: Entry, name: str) -> str:
    found = entry.interval(name)
    if found is None:
        return ""
    value, low, high = (f"{number:.4g}" if abs(number) > ROUNDING else "0" for number in found)
    return value if len(entry.values[name]) == 1 else f"{value} [{low}, {high}]"
