"""Phones in time -> the 52 ARKit curves of talking.

Gestures follow Cohen and Massaro's dominance model (1993): each phone pulls each gesture to its target with a
strength that decays on both sides, so that neighbours blend and rounding starts early. Two things are never
blended away, because a viewer sees them at once: lips meet for /p b m/ and in pauses, and the lower lip reaches
the teeth for /f v/. They are separate curves in 0..1 that take the opening away while they act.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visemo.data.store import Segment
from visemo.data.visemes import BILABIALS, GESTURES, GLIDES, LABIODENTALS, SILENCE, VISEMES, VOWELS
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.types import FloatArray, VisemoError, Waveform
from visemo.units import FPS, MM_PER_M

_FINE = 120.0  # frames per second of the model itself, before sampling at the motion's rate

# seconds over which a phone's pull fades before it begins and after it ends: (jaw, lips, rounding)
_ANTICIPATION = np.array([0.036, 0.036, 0.085])
_CARRY_OVER = np.array([0.040, 0.036, 0.050])
_GROUP = np.array([{"jaw": 0, "lower": 1, "upper": 1, "tongue": 1}.get(g, 2) for g in GESTURES])

_CLOSING, _OPENING = 0.085, 0.080  # seconds the lips take to meet and to part
_PAUSE = 0.20  # shorter silences are only less speech
_SMOOTHING = 0.016  # s, of the gestures


@dataclass(frozen=True)
class Style:
    """How one speaker talks: gains on the gestures, and how much more one side moves (-1..1)."""

    jaw: float = 1.0
    lips: float = 1.0
    rounding: float = 1.0
    lean: float = 0.0

    @staticmethod
    def draw(random: np.random.Generator) -> Style:
        """A speaker's own habits."""
        jaw, lips, rounding = np.exp(random.normal(0, [0.10, 0.12, 0.15]).clip(-0.2, 0.2))
        return Style(float(jaw), float(lips), float(rounding), float(random.normal(0, 0.05)))


def speech_curves(
    phones: Sequence[Segment],
    frames: int,
    fps: float = FPS,
    style: Style | None = None,
    sound: Waveform | None = None,
) -> FloatArray:
    """ARKit curves of saying `phones`.

    Parameters
    ----------
    phones : segments in order; names of `visemes.PHONES`.
    frames, fps : how many frames to give; frame k shows the time k / fps.
    style : the speaker's habits.
    sound : with it, vowels louder than the take's average open wider (12 % at most), fainter ones less (15 %).

    Returns
    -------
    (frames, 52) float32, 0..1, in the order of ARKIT_NAMES.

    Raises VisemoError for an unknown phone or none at all.
    """
    unknown = sorted({s.name for s in phones} - set(VISEMES) - set(GLIDES))
    if unknown or not phones:
        raise VisemoError(f"phones: got {unknown or 'none'}, expected names of the CMU set in lower case")
    fine = np.arange(int(np.ceil(frames / fps * _FINE)) + 1) / _FINE
    gestures = _gestures(phones, fine, sound)
    sealed = _events(phones, fine, BILABIALS, hold=0.7)
    resting = _resting(phones, fine)
    bitten = _events(phones, fine, LABIODENTALS, hold=0.6)
    at = np.arange(frames) / fps
    table = np.stack([np.interp(at, fine, row) for row in (*gestures, sealed, resting, bitten)])
    sealed, resting, bitten = table[-3:]
    return _to_arkit(table[:-3], sealed=sealed, resting=resting, bitten=bitten, style=style or Style())


def predicted_gap(phones: Sequence[Segment], frames: int, face: Face, fps: float = FPS) -> FloatArray:
    """Mean lip gap (frames,) in mm that saying `phones` should show on `face`, which needs the 52 shapes."""
    curves = speech_curves(phones, frames, fps)
    ends = face.lip_pairs.T
    shapes = np.stack([face.shape(name) for name in ARKIT_NAMES])
    apart = face.template[ends[0]] - face.template[ends[1]]
    apart = apart + np.tensordot(curves, shapes[:, ends[0]] - shapes[:, ends[1]], axes=1)
    return np.linalg.norm(apart, axis=2).mean(axis=1) * MM_PER_M


def _gestures(phones: Sequence[Segment], time: np.ndarray, sound: Waveform | None) -> np.ndarray:
    """(G, N): dominance-weighted mean of the targets at each time."""
    parts = [part for segment in phones for part in _glide(segment, _effort(segment, sound))]
    targets = np.array([p[1] for p in parts])  # (S, G)
    holds = np.array([p[2] for p in parts])[:, _GROUP]  # (S, G)
    start = np.array([p[0].start for p in parts])[:, None]
    end = np.array([p[0].end for p in parts])[:, None]
    core = 0.15 * (end - start)  # the pull is full inside the phone but for its edges
    before = np.maximum(start + core - time, 0.0)  # (S, N)
    after = np.maximum(time - end + core, 0.0)
    rows = np.empty((len(GESTURES), len(time)))
    for g, group in enumerate(_GROUP):
        pull = holds[:, g, None] * np.exp(-before / _ANTICIPATION[group] - after / _CARRY_OVER[group])
        rows[g] = (pull * targets[:, g, None]).sum(0) / np.maximum(pull.sum(0), 1e-6)
    return _smoothed(rows, _SMOOTHING * _FINE)


def _glide(segment: Segment, effort: float) -> list[tuple[Segment, np.ndarray, tuple[float, ...]]]:
    """A phone as one target, or a diphthong as two; `effort` scales the targets."""
    if segment.name not in GLIDES:
        viseme = VISEMES[segment.name]
        return [(segment, effort * np.array(viseme.targets), viseme.hold)]
    first, second, share = GLIDES[segment.name]
    middle = segment.start + share * (segment.end - segment.start)
    halves = (Segment(first, segment.start, middle), Segment(second, middle, segment.end))
    return [(half, effort * np.array(VISEMES[half.name].targets), VISEMES[half.name].hold) for half in halves]


def _effort(segment: Segment, sound: Waveform | None) -> float:
    """Vowels gain by length (a short one is not reached, a long one is stressed) and by loudness."""
    if segment.name not in VOWELS:
        return 1.0
    effort = float(np.clip(0.72 + 0.28 * (segment.end - segment.start) / 0.11, 0.8, 1.2))
    if sound is None:
        return effort
    rate = sound.sample_rate
    part = sound.samples[round(segment.start * rate) : round(segment.end * rate)]
    if len(part) == 0:
        return effort
    louder = 10 * np.log10((np.square(part).mean() + 1e-9) / (np.square(sound.samples).mean() * 2 + 1e-9))
    return effort * float(np.clip(1 + 0.02 * louder, 0.85, 1.12))


def _resting(phones: Sequence[Segment], time: np.ndarray) -> np.ndarray:
    """(N,) 1 while the lips rest shut in a pause; they part only as the next phone begins."""
    resting = np.zeros(len(time))
    for segment in phones:
        if segment.name == SILENCE and segment.end - segment.start >= _PAUSE:
            shut = -np.inf if segment.start <= 0 else segment.start + 0.10
            part = np.inf if segment.end >= phones[-1].end else segment.end - 0.05
            resting = np.maximum(resting, _bump(time, shut, part, 0.12, 0.10))
    return resting


def _events(phones: Sequence[Segment], time: np.ndarray, names: frozenset[str], hold: float) -> np.ndarray:
    """(N,) 0..1: a smooth bump for each phone of `names`, held for `hold` of it and for a 30th of a second
    at least."""
    height = np.zeros(len(time))
    for segment in phones:
        if segment.name in names:
            centre = (segment.start + segment.end) / 2
            half = max(hold * (segment.end - segment.start), 1.25 / FPS) / 2
            height = np.maximum(height, _bump(time, centre - half, centre + half, _CLOSING, _OPENING))
    return height


def _bump(time: np.ndarray, start: float, end: float, rise: float, fall: float) -> np.ndarray:
    """1 from `start` to `end`, minimum-jerk flanks of `rise` and `fall` seconds outside."""
    inside = np.minimum((time - start) / rise, (end - time) / fall) + 1
    x = np.clip(inside, 0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x * x)


def _smoothed(rows: np.ndarray, width: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(rows, width, axis=1, mode="nearest")


def _to_arkit(
    gestures: np.ndarray, *, sealed: np.ndarray, resting: np.ndarray, bitten: np.ndarray, style: Style
) -> FloatArray:
    """Gestures (G, T) and the curves of closure (T,) -> (T, 52)."""
    jaw, lower, upper, funnel, pucker, wide, tongue = gestures
    shut = np.maximum(sealed, resting)
    apart = 1 - shut
    jaw = jaw * style.jaw * (1 - 0.5 * bitten)  # the lower lip cannot reach the teeth from a jaw that hangs
    curves = {
        "jawOpen": jaw,
        "mouthClose": jaw * shut,  # complementary: equal weights leave the lips shut under an open jaw
        "mouthFunnel": funnel * style.rounding * apart * (1 - 0.8 * bitten),
        "mouthPucker": pucker * style.rounding * (1 - 0.3 * shut) * (1 - 0.8 * bitten),
        "mouthLowerDown": lower * style.lips * apart * (1 - bitten),
        "mouthUpperUp": (upper * style.lips + 0.20 * bitten) * apart,
        "mouthStretch": 0.55 * wide * style.lips * apart,
        "mouthSmile": 0.45 * wide * style.lips * (1 - resting),
        "mouthDimple": 0.15 * wide * (1 - resting),
        "mouthRollLower": 0.90 * bitten * apart,
        "mouthPress": 0.10 * sealed,
        "tongueOut": tongue * apart,
    }
    table = np.zeros((len(jaw), len(ARKIT_NAMES)), np.float32)
    for k, name in enumerate(ARKIT_NAMES):
        stem = name.removesuffix("Left").removesuffix("Right")
        if stem in curves:
            side = {stem + "Left": 1.0, stem + "Right": -1.0}.get(name, 0.0)
            table[:, k] = curves[stem] * (1 + side * style.lean)
    return np.clip(table, 0.0, 1.0)
