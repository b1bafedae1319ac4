"""A voice in a page of numpy: spelling -> phones -> pulse train or noise through formants.

It is no pleasure to hear and mispronounces freely; but its sound is tied to its phones, it needs no speech
engine, and it says the same twice. Tests train on it.
"""

from __future__ import annotations

import re

import numpy as np

from visemo.data.store import Segment
from visemo.types import Waveform
from visemo.units import SAMPLE_RATE

# letters -> phones, the longest match first
_SPELLING = {
    "tion": "sh ax n", "igh": "ay", "oo": "uw", "ee": "iy", "ea": "iy", "ai": "ey", "ay": "ey", "oa": "ow", "ow": "ow",
    "ou": "aw", "oi": "oy", "oy": "oy", "au": "ao", "aw": "ao", "er": "er", "ir": "er", "ur": "er", "ar": "aa r",
    "or": "ao r", "ch": "ch", "sh": "sh", "th": "th", "ph": "f", "ng": "ng", "ck": "k", "wh": "w", "qu": "k w",
    "a": "ae", "b": "b", "c": "k", "d": "d", "e": "eh", "f": "f", "g": "g", "h": "hh", "i": "ih", "j": "jh", "k": "k",
    "l": "l", "m": "m", "n": "n", "o": "aa", "p": "p", "q": "k", "r": "r", "s": "s", "t": "t", "u": "ah", "v": "v",
    "w": "w", "x": "k s", "y": "iy", "z": "z",
}  # fmt: skip
_PATTERN = re.compile("|".join([*sorted(_SPELLING, key=len, reverse=True), r"[,.;:!?]", r"\s+"]))

# (first, second formant Hz) of what has a resonance; consonants share the neighbour's place roughly
_FORMANTS = {
    "aa": (730, 1090), "ae": (660, 1720), "ah": (640, 1190), "ao": (570, 840), "ax": (500, 1500), "aw": (680, 1000),
    "ay": (700, 1500), "eh": (530, 1840), "er": (490, 1350), "ey": (450, 2000), "ih": (390, 1990), "iy": (270, 2290),
    "ow": (480, 880), "oy": (500, 1100), "uh": (440, 1020), "uw": (300, 870), "w": (290, 700), "y": (270, 2200),
    "r": (310, 1060), "l": (360, 1300), "m": (250, 900), "n": (250, 1700), "ng": (250, 2100), "b": (200, 700),
    "d": (200, 1800), "g": (200, 2000), "v": (220, 1100), "dh": (250, 1400), "z": (240, 1700), "jh": (250, 2000),
}  # fmt: skip
# centre Hz of the noise of what hisses
_HISS = {"s": 6000, "z": 6000, "sh": 3000, "ch": 3000, "jh": 3000, "f": 4500, "v": 4500, "th": 5500, "dh": 5500,
         "hh": 1500, "p": 1000, "t": 4500, "k": 2200}  # fmt: skip
_VOWELS = frozenset("aa ae ah ao ax aw ay eh er ey ih iy ow oy uh uw".split())
_STOPS = frozenset("p b t d k g".split())


def spell(text: str) -> tuple[tuple[str, float], ...]:
    """(phone, seconds) of a text at normal speed, pauses at the ends and at punctuation."""
    phones = [("pau", 0.25)]
    for match in _PATTERN.findall(text.lower()):
        if match.isspace():
            continue
        if match in ",.;:!?":
            phones.append(("pau", 0.30))
            continue
        phones += [(name, 0.13 if name in _VOWELS else 0.08) for name in _SPELLING[match].split()]
    return (*phones, ("pau", 0.25)) if phones[-1][0] != "pau" else tuple(phones)


def hum(text: str, stretch: float, pitch: float, tract: float) -> tuple[Waveform, tuple[Segment, ...]]:
    """Say `text`: its sound and phones. `pitch` in Hz; `tract` scales the vocal tract (1 = average)."""
    segments, end = [], 0.0
    for name, seconds in spell(text):
        start, end = end, end + seconds * stretch
        segments.append(Segment(name, start, end))
    count = round(end * SAMPLE_RATE)
    time = np.arange(count) / SAMPLE_RATE
    phase = np.cumsum(pitch * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))) / SAMPLE_RATE
    pulses = np.diff(np.floor(phase), prepend=0.0)
    noise = np.random.default_rng(count).normal(size=count) * 0.05
    sound = np.zeros(count)
    for segment in segments:
        cut = slice(round(segment.start * SAMPLE_RATE), round(segment.end * SAMPLE_RATE))
        sound[cut] = _phone(segment.name, pulses[cut], noise[cut], tract)
    sound = np.convolve(sound, np.hanning(9) / np.hanning(9).sum(), mode="same")
    peak = max(float(np.abs(sound).max(initial=0.0)), 1e-9)
    return Waveform((0.5 * sound / peak).astype(np.float32)), tuple(segments)


def _phone(name: str, pulses: np.ndarray, noise: np.ndarray, tract: float) -> np.ndarray:
    """One phone of sound."""
    count = len(pulses)
    sound = np.zeros(count)
    if name in _FORMANTS:
        level = 1.0 if name in _VOWELS else 0.35 if name not in _STOPS else 0.08
        sound += level * sum(_resonate(pulses, f / tract, 90) for f in _FORMANTS[name])
    if name in _HISS:
        hiss = _resonate(noise, _HISS[name] / tract, 900)
        burst = np.arange(count) > 0.6 * count if name in _STOPS else np.ones(count)
        sound += 0.5 * hiss * burst
    return sound * np.minimum(1.0, np.minimum(np.arange(count), np.arange(count)[::-1]) / 80)  # no clicks


def _resonate(source: np.ndarray, frequency: float, width: float) -> np.ndarray:
    """Two-pole resonator of unit gain at its peak."""
    from scipy.signal import lfilter

    radius = np.exp(-np.pi * width / SAMPLE_RATE)
    angle = 2 * np.pi * min(frequency, 0.45 * SAMPLE_RATE) / SAMPLE_RATE
    return np.asarray(lfilter([(1 - radius) * 2], [1, -2 * radius * np.cos(angle), radius**2], source))
