"""Life that speech does not carry: blinks, glances and a little head motion, as a third track.

Everything is an event in continuous time, drawn from the seed, and only then sampled: the same seed
gives the same eyes at every frame rate, and a longer clip begins as the shorter one did.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from visemo.geometry.rotation import axis_angle_to_matrix, matrix_to_quaternion
from visemo.models.expressions import smoothstep
from visemo.types import Animation, FloatArray, Waveform
from visemo.units import M_PER_MM

BLINK_MEDIAN, BLINK_SPREAD = 3.4, 0.45  # s between blinks: log-normal, two thirds within 2-6 s
BLINK_LIMITS = (1.0, 9.0)  # s
CLOSING, SHUT, OPENING = 0.075, 0.03, 0.16  # s: a lid falls twice as fast as it rises
DOUBLE_BLINK = 0.08  # share of blinks that come twice

FIXATION_MEDIAN, FIXATION_SPREAD = 1.1, 0.6  # s between glances while talking to somebody
SACCADE = 0.045  # s that the eyes take to move
GLANCE = (0.14, 0.08)  # usual size of a glance, sideways and up, in units of the eyeLook shapes
LID_FOLLOWS = 0.5  # share of a downward look that the upper lid goes along with

SWAY = np.deg2rad([1.1, 1.4, 0.8])  # usual pitch, yaw and roll of an idle head, rad
SWAY_BAND = (0.07, 0.45)  # Hz
NOD = np.deg2rad(2.2)  # of the head with the loudest words
NOD_SMOOTH = 0.16  # s
DRIFT = 1.5 * M_PER_MM  # usual translation
SETTLE = 0.6  # s: the head starts and ends at rest

SIDES = ("Left", "Right")
ACTIONS = ("eyeBlink", "eyeLookUp", "eyeLookDown", "eyeLookIn", "eyeLookOut")
LIVELY_NAMES: tuple[str, ...] = tuple(f"{action}{side}" for side in SIDES for action in ACTIONS)


def add_life(clip: Animation, seed: int = 0) -> Animation:
    """The take with blinks, glances and head motion as its third track; vertices are untouched."""
    blink = blinks(clip.frames, clip.fps, seed)
    gaze = glances(clip.frames, clip.fps, seed)
    columns = _eye_curves(blink, gaze)
    weights = np.stack([columns[name] for name in LIVELY_NAMES], axis=1).astype(np.float32)
    pose = head_motion(clip.frames, clip.fps, clip.audio, neck_pivot(clip.template), seed)
    return replace(clip, lively_weights=weights, lively_names=LIVELY_NAMES, head_pose=pose)


def blink_times(seconds: float, seed: int = 0) -> np.ndarray:
    """When the lids begin to fall: log-normal intervals, now and then a double blink."""
    chance = np.random.default_rng([abs(int(seed)), 1])
    times = [0.35 * BLINK_MEDIAN * chance.random() + 0.4]
    while times[-1] < seconds:
        if chance.random() < DOUBLE_BLINK:
            times.append(times[-1] + CLOSING + SHUT + OPENING + 0.05)
        interval = BLINK_MEDIAN * np.exp(BLINK_SPREAD * chance.standard_normal())
        times.append(times[-1] + float(np.clip(interval, *BLINK_LIMITS)))
    return np.array([t for t in times if t < seconds])


def blinks(frames: int, fps: float, seed: int = 0) -> np.ndarray:
    """(T,) closure of the lids, 0..1, shut on at least one frame of every blink."""
    t = np.arange(frames) / fps
    closure = np.zeros(frames)
    shut = max(SHUT, 1.01 / fps)  # a frame has to fall into it
    for start in blink_times(frames / fps, seed):
        fall = smoothstep((t - start) / CLOSING)
        rise = smoothstep((t - start - CLOSING - shut) / OPENING)
        closure = np.maximum(closure, fall - rise)
    return closure


def glances(frames: int, fps: float, seed: int = 0) -> np.ndarray:
    """(T, 2) direction of both eyes, to the face's own left and up, in units of the eyeLook shapes.

    Fixations with quick jumps between them; most come back to the listener.
    """
    chance = np.random.default_rng([abs(int(seed)), 2])
    t = np.arange(frames) / fps
    gaze, here, start = np.zeros((frames, 2)), np.zeros(2), 0.0
    while start < frames / fps:
        start += FIXATION_MEDIAN * np.exp(FIXATION_SPREAD * chance.standard_normal())
        away = chance.random() < 0.55
        there = np.clip(chance.standard_normal(2), -2, 2) * GLANCE if away else 0.02 * chance.standard_normal(2)
        gaze += smoothstep((t - start) / SACCADE)[:, None] * (there - here)
        here = there
    return gaze


def head_motion(frames: int, fps: float, audio: Waveform | None, pivot: np.ndarray, seed: int = 0) -> FloatArray:
    """Head pose (T, 7): x y z m and a quaternion wxyz, turning about `pivot` (3,) m.

    Slow sway, and a nod with the energy of the speech; at rest at both ends of the clip.
    """
    chance = np.random.default_rng([abs(int(seed)), 3])
    t = np.arange(frames) / fps
    angles = np.stack([size * _slow_noise(t, chance) for size in SWAY], axis=1)
    shift = np.stack([DRIFT * _slow_noise(t, chance) for _ in range(3)], axis=1)
    if audio is not None:
        angles[:, 0] += NOD * _speech_energy(audio, t)
    ends = smoothstep(np.minimum(t, t[-1] - t) / min(SETTLE, max(t[-1] / 2, 1 / fps)))[:, None]
    rotation = axis_angle_to_matrix(angles * ends)
    # x -> R (x - p) + p + shift
    position = pivot - rotation @ pivot + shift * ends
    return np.concatenate([position, matrix_to_quaternion(rotation)], axis=1).astype(np.float32)


def neck_pivot(template: FloatArray) -> np.ndarray:
    """Where the head turns, (3,) m: below and behind the face, from the template's own extent."""
    low, high = template.min(axis=0), template.max(axis=0)
    return np.array([0.0, low[1], low[2]]) - np.array([0.0, 0.1, 0.0]) * (high[1] - low[1])


def _eye_curves(blink: np.ndarray, gaze: np.ndarray) -> dict[str, np.ndarray]:
    left, up = gaze.T
    curves: dict[str, np.ndarray] = {}
    for side, outward in zip(SIDES, (left, -left)):
        down = np.maximum(-up, 0)
        curves[f"eyeBlink{side}"] = np.maximum(blink, LID_FOLLOWS * down)
        curves[f"eyeLookUp{side}"] = np.maximum(up, 0)
        curves[f"eyeLookDown{side}"] = down
        curves[f"eyeLookOut{side}"] = np.maximum(outward, 0)
        curves[f"eyeLookIn{side}"] = np.maximum(-outward, 0)
    return curves


def _slow_noise(t: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Unit-variance sum of slow sines with random phases, slower ones stronger."""
    rates = np.geomspace(*SWAY_BAND, 7) * chance.uniform(0.85, 1.15, 7)
    heights = 1 / rates
    phases = chance.uniform(0, 2 * np.pi, 7)
    return np.sin(2 * np.pi * rates * t[:, None] + phases) @ heights / np.sqrt((heights**2).sum() / 2)


def _speech_energy(audio: Waveform, t: np.ndarray) -> np.ndarray:
    """(T,) loudness around its own mean, smoothed, roughly -0.5..1."""
    hop = audio.sample_rate // 100
    count = max(1, len(audio.samples) // hop)
    level = np.sqrt(np.resize(audio.samples, count * hop).reshape(count, hop).astype(np.float64) ** 2).mean(axis=1)
    loud = np.quantile(level, 0.95)
    if loud < 1e-4:  # silence has no rhythm
        return np.zeros(len(t))
    smooth = gaussian_filter1d(np.minimum(level / loud, 1.0), NOD_SMOOTH * 100)
    return np.interp(t, np.arange(count) / 100, smooth - smooth.mean())
