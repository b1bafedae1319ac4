"""A prediction on its truth: matched by name, brought to its times, laid on its head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from visemo.data.frames import frames_at
from visemo.data.peers import Clip, Found
from visemo.geometry.align import similarity_align
from visemo.types import FloatArray, IntArray, VisemoError
from visemo.units import M_PER_MM, MM_PER_M

STILL = 0.25  # of the vertices, those that move least, by which faces without a known neutral are laid on each other
ANOTHER_HEAD = 1.0 * M_PER_MM  # rms between neutrals that are of two people
ROUNDING = 1e-6  # frames


@dataclass(frozen=True, eq=False)
class Laid:
    """A prediction on the truth: both (T, V, 3) m at `fps`, on the neutral `rest` (V, 3) m.

    `notes` say what was done for that; each has a number, which stands where it has `{}`.
    """

    truth: FloatArray
    prediction: FloatArray
    rest: FloatArray
    fps: float
    notes: Mapping[str, float] = field(default_factory=dict)


def lay_on(clip: Clip, truth: Clip, rows: IntArray | None = None) -> Laid:
    """Bring a prediction to the truth's times and head.

    Where both neutrals are known, one is laid on the other, rigidly and with a change of size; a prediction on another
    person's head then moves the truth's head. Otherwise the vertices that move least lie on each other in the mean.

    Parameters
    ----------
    rows : of a whole FLAME head, those that are compared; whatever else has other vertices stays as it is

    Raises
    ------
    VisemoError
        for another topology, and for less than three common frames
    """
    (pred, own), (true, rest) = (_picked(c, rows) for c in (clip, truth))
    if pred.shape[1] != true.shape[1]:
        raise VisemoError(
            f"{clip.name}: got {clip.format} with {pred.shape[1]} vertices, expected the {true.shape[1]} of "
            f"{truth.name}; carry it over first, see visemo register"
        )
    last = (len(pred) - 1) * truth.fps / clip.fps  # beyond it nothing was predicted
    frames = min(len(true), int(last + ROUNDING) + 1)
    if frames < 3:
        raise VisemoError(f"{clip.name}: got {frames} frames in common with {truth.name}, expected at least 3")
    notes = _trimmed(clip, truth, frames)
    pred, true = frames_at(pred, np.arange(frames) * (clip.fps / truth.fps)), true[:frames]
    if own is not None and rest is not None:
        size, rotation, shift = similarity_align(own, rest)
        pred = size * pred @ rotation.T + shift
        off = rest - (size * own @ rotation.T + shift)
        if (apart := _rms(off)) > ANOTHER_HEAD:
            pred += off
            notes["another head ({} mm rms): its motion is shown on the truth's"] = MM_PER_M * apart
    else:
        still = true.std(axis=0).sum(axis=1)
        still = still <= np.quantile(still, STILL)
        size, rotation, shift = similarity_align(pred[:, still].mean(axis=0), true[:, still].mean(axis=0))
        notes["neutral unknown: laid on the truth by what moves least"] = 0
        pred = size * pred @ rotation.T + shift
        if (apart := _rms((true - pred).mean(axis=0)[still])) > ANOTHER_HEAD:
            notes["ANOTHER HEAD ({} mm rms where least moves): errors are of its shape too"] = MM_PER_M * apart
    if rest is None:
        rest = true[0]
        notes["neutral of the truth unknown: its first frame stands for it in fdd"] = 0
    return Laid(true, pred.astype(np.float32), rest, truth.fps, notes)


def _picked(clip: Clip, rows: IntArray | None) -> tuple[FloatArray, FloatArray | None]:
    """Vertices and template, of the rows where there are more than that."""
    if rows is None or clip.vertices.shape[1] <= int(rows.max()):
        return clip.vertices, clip.template
    return clip.vertices[:, rows], None if clip.template is None else clip.template[rows]


def _trimmed(clip: Clip, truth: Clip, frames: int) -> dict[str, float]:
    """What of the two is left out."""
    notes = {} if clip.fps == truth.fps else {f"{clip.fps:g} to {truth.fps:g} frames a second, by time": 0.0}
    for name, whole in (("it", clip), ("the truth", truth)):
        over = whole.seconds - frames / truth.fps
        if over * truth.fps > 0.5 + ROUNDING:
            notes[f"up to {{}} s at the end of {name} left out"] = over
    return notes


def _rms(offsets: np.ndarray) -> float:
    """Of the lengths of (N, 3) vectors."""
    return float(np.square(offsets).sum(axis=1).mean() ** 0.5)


def matched(truths: Sequence[Found], predictions: Sequence[Found], what: str) -> list[tuple[Found, Found]]:
    """Each prediction with its truth: the only one, or the one by whose name, alone or with `_...` after it, it goes.

    Raises VisemoError, naming `what` they are, where no name fits.
    """
    if len(truths) == len(predictions) == 1:
        return [(truths[0], predictions[0])]
    pairs = []
    for found in predictions:
        fitting = [truth for truth in truths if f"{found.name}_".startswith(f"{truth.name}_")]
        if fitting:
            pairs.append((max(fitting, key=lambda truth: len(truth.name)), found))
    if not pairs:
        names = [", ".join(found.name for found in side[:3]) for side in (predictions, truths)]
        raise VisemoError(f"{what}: got clips {names[0]}, expected names of the truth, such as {names[1]}")
    return pairs
