"""Curves of planted performances: expression takes, and what each kind of take carries of the other.

All curves are (T, 52) float32 weights of a person's shapes, 0..1, in the order of ARKIT_NAMES.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from visemo.data.emotions import EMOTIONS, OTHER_OPENINGS, is_upper, weights
from visemo.data.people import Person, lip_opening
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.types import FloatArray
from visemo.units import M_PER_MM

APEX_FRAMES = 60  # an expression take: neutral, apex about the middle, neutral
BELOW_EYES = 0.55  # share of a secondary expression's energy that must lie below the eyes

_UPPER = np.array([is_upper(name) for name in ARKIT_NAMES])
_LEFT = np.array([name.endswith("Left") for name in ARKIT_NAMES])
_RIGHT = np.array([name.endswith("Right") for name in ARKIT_NAMES])
_BLINK = weights({"eyeBlink": 1.0})
_BROWS = weights({"browInnerUp": 0.8, "browOuterUp": 1.0})


Manner = Literal["usual", "other"]
"""How each kind of take carries the other. `usual`: expressions part the lips as `EMOTIONS` says; a talking face
drifts about some share of an expression, and brows flash now and then. `other`: lips are parted by other shapes; a
talking face swells into an expression and out of it, and brows go up on the stressed vowels."""


class Performance(NamedTuple):
    """One expression take: the expression, the speech-like part it carries, and what was drawn."""

    expression: FloatArray
    speech: FloatArray
    notes: dict[str, float]


def minimum_jerk(x: np.ndarray) -> np.ndarray:
    """0 -> 1 over 0..1, at rest at both ends."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x * x)


def slow_noise(frames: int, scale: float, random: np.random.Generator, count: int = 1) -> np.ndarray:
    """(count, frames) smooth noise of unit variance that changes within about `scale` frames."""
    from scipy.ndimage import gaussian_filter1d

    raw = random.normal(size=(count, frames + 4 * int(scale)))
    smooth = gaussian_filter1d(raw, scale / 2.5, axis=1)[:, 2 * int(scale) :][:, :frames]
    return smooth * np.sqrt(2 * np.sqrt(np.pi) * scale / 2.5)  # a Gaussian's own loss of variance


def apex_weights(label: str, person_seed: tuple[int, ...]) -> FloatArray:
    """(52,) apex of an expression as one person shows it: each shape a little more or less than the recipe."""
    row = weights(EMOTIONS[label].recipe)
    habit = np.random.default_rng(person_seed).normal(0, 0.15, len(row)).clip(-0.3, 0.3)
    habit[_RIGHT] = habit[_LEFT] + 0.3 * habit[_RIGHT]
    return np.clip(row * np.exp(habit), 0, 1).astype(np.float32)


def expression_take(
    face: Face, person: Person, label: str, apex: FloatArray, random: np.random.Generator, *, manner: Manner = "usual"
) -> Performance:
    """Neutral -> apex -> neutral in APEX_FRAMES frames, with a speech-like part that parts the lips."""
    strength = float(random.uniform(0.65, 1.15))
    start, top = random.uniform(1, 6), random.uniform(22, 29)
    hold, end = random.uniform(2, 9), random.uniform(52, 58)
    lag = np.where(_UPPER, random.normal(0, 1.5), random.normal(0, 1.5)).clip(-2, 2)
    time = np.arange(APEX_FRAMES)[:, None] - lag
    envelope = minimum_jerk((time - start) / (top - start)) * minimum_jerk((end - time) / (end - top - hold))
    lean = random.normal(0, 0.10)
    sides = 1 + lean * (_LEFT.astype(float) - _RIGHT)
    tremor = 1 + 0.05 * slow_noise(APEX_FRAMES, 8, random, len(apex)).T
    varied = apex * np.exp(random.normal(0, 0.10, len(apex)))
    expression = varied * sides * strength * envelope * tremor
    if random.random() < 0.3:
        expression += np.outer(_blink_at(np.arange(APEX_FRAMES), random.uniform(8, 50), 0.9), _BLINK)
    emotion = EMOTIONS[label]
    opening = (
        emotion.opening if manner == "usual" else OTHER_OPENINGS[list(EMOTIONS).index(label) % len(OTHER_OPENINGS)]
    )
    speech, gap, late = _parting(face, person, (opening, emotion.gap), (start, top, end), random)
    notes = {"strength": round(strength, 3), "lips_mm": round(gap, 2), "late_frames": round(late, 1)}
    return Performance(_clipped(expression), speech, notes)


def _parting(
    face: Face,
    person: Person,
    opening: tuple[dict[str, float], float],
    timing: tuple[float, float, float],
    random: np.random.Generator,
) -> tuple[FloatArray, float, float]:
    """The speech-like part of an expression take, from an opening's shapes and its usual gap in mm: curves, the lip
    gap it reaches in mm, and its delay in frames."""
    shapes, usual = opening
    shape = weights(shapes) * np.exp(random.normal(0, 0.15, len(ARKIT_NAMES)))
    gap = float(np.clip(usual * np.exp(random.normal(0, 0.30)), 2.0, 18.0))
    if random.random() < 0.2:
        gap = float(random.uniform(0, 0.1)) * usual  # nearly absent
    late = float(random.uniform(6, 12)) if random.random() < 0.2 else 0.0
    start, top, end = (x + late for x in timing)
    end = min(end, APEX_FRAMES - 1.5)
    time = np.arange(APEX_FRAMES)
    hold = random.uniform(0, 6)
    envelope = minimum_jerk((time - start) / (top - start)) * minimum_jerk((end - time) / max(end - top - hold, 6))
    envelope = envelope * (1 + 0.08 * slow_noise(APEX_FRAMES, 7, random)[0])
    envelope /= max(float(envelope.max()), 1e-6)
    reach = float(lip_opening(face, np.tensordot(shape, person.shapes, axes=1)))
    scale = gap * M_PER_MM / max(reach, 1e-9)
    return _clipped(np.outer(envelope, shape * scale)), gap, late


def energies(person: Person, below_eyes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two (52, 52) forms that give the energy of weights below the eyes, `below_eyes` (V,) bool, and above."""
    flat = person.shapes.reshape(len(person.shapes), -1)
    mask = np.repeat(below_eyes, 3)
    return flat[:, mask] @ flat[:, mask].T, flat[:, ~mask] @ flat[:, ~mask].T


def secondary_expression(
    apex: FloatArray,
    frames: int,
    forms: tuple[np.ndarray, np.ndarray],
    random: np.random.Generator,
    stresses: np.ndarray | None = None,
) -> tuple[FloatArray, float]:
    """What a speaker's face shows while talking: 10-40 % of an apex, drifting, with brow flashes and blinks.

    At least BELOW_EYES of its energy, measured by the person's `energies`, lies below the eyes: brows and lids are
    turned down until it does. `stresses` are the frames of stressed vowels: with them the manner is the `other` one.

    Returns
    -------
    (frames, 52) curves and the drawn share of the apex.
    """
    share = float(random.uniform(0.10, 0.40))
    time = np.arange(frames)
    if stresses is None:
        drift = 0.6 + 0.25 * slow_noise(frames, random.uniform(45, 120), random)[0]
        flashes = None
    else:
        begin, rise, fall = frames * random.uniform(0, 0.4), random.uniform(20, 45), random.uniform(20, 45)
        end = frames * random.uniform(0.7, 1.2)
        drift = minimum_jerk((time - begin) / rise) * minimum_jerk((end - time) / fall)
        flashes = stresses[random.random(len(stresses)) < 0.5]
    slow = np.outer(np.clip(drift, 0.15, 1.0) * share, apex)
    fast = np.zeros((frames, len(apex)))
    for at in _moments(frames, 110, random) if flashes is None else flashes:
        height, length = random.uniform(0.15, 0.45), random.uniform(3.5, 7)
        fast += np.outer(height * minimum_jerk(1 - np.abs(time - at) / length), _BROWS)
    for at in _moments(frames, 110, random):
        fast += np.outer(_blink_at(time, at, random.uniform(0.75, 1.0)), _BLINK)
    return _clipped(_balanced(slow, fast, forms)), share


def _balanced(slow: np.ndarray, fast: np.ndarray, forms: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """slow + fast, with eyes and brows turned down, first the slow part, until enough energy is below the eyes."""
    for step in range(21):
        upper = slow * (1 - 0.07 * min(step, 10)) + fast * (1 - 0.1 * max(step - 10, 0))
        curves = np.where(_UPPER, upper, slow)
        low, high = (float(((curves @ form) * curves).sum()) for form in forms)
        if low >= BELOW_EYES * (low + high):
            return curves
    return np.where(_UPPER, 0.0, slow)  # an expression of eyes and brows only, too faint below to let them move


def _moments(frames: int, every: float, random: np.random.Generator) -> np.ndarray:
    """Random frames, `every` frames apart on average and never within 20 of each other."""
    gaps = 20 + random.exponential(max(every - 20, 1), size=2 + frames // 20)
    times = np.cumsum(gaps) - random.uniform(0, every)
    return times[(times > 0) & (times < frames)]


def _blink_at(time: np.ndarray, at: float, height: float) -> np.ndarray:
    """Lids fall within 3 frames and rise within 5."""
    return height * minimum_jerk(np.where(time < at, 1 - (at - time) / 3, 1 - (time - at) / 5))


def _clipped(curves: np.ndarray) -> FloatArray:
    return np.clip(curves, 0.0, 1.0).astype(np.float32)
