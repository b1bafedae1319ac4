"""The same words in another throat, room and wire: seeded changes to a planted voice.

`change_speaker` may move the phones in time and returns them moved; `change_channel` leaves all times alone, so
training may apply it again on the fly. Both draw everything from the generator given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import signal

from visemo.data.store import Segment
from visemo.data.utterance import Utterance
from visemo.types import Waveform
from visemo.units import SAMPLE_RATE

_FRAME = 512  # samples of the short-time transform
_LIFTER = 28  # cepstral coefficients that make up the spectral envelope


def change_speaker(utterance: Utterance, random: np.random.Generator) -> Utterance:
    """Another pitch and tempo together (+-12 %, phones move along), and another vocal tract (+-15 %)."""
    utterance = faster(utterance, float(random.uniform(0.88, 1.12)))
    return Utterance(shift_formants(utterance.sound, float(random.uniform(0.85, 1.15))), utterance.phones)


def change_channel(sound: Waveform, random: np.random.Generator) -> Waveform:
    """Any of a room, a band limit and noise, then a level of -26..0 dB of full scale; phones stay where they are.

    Silence is returned as it is.
    """
    if np.abs(sound.samples).max(initial=0.0) < 1e-4:
        return sound
    if random.random() < 0.5:
        sound = in_room(sound, random)
    if random.random() < 0.35:
        sound = through_wire(sound, random)
    if random.random() < 0.6:
        sound = with_noise(sound, float(random.uniform(8, 35)), random)
    level = 10 ** (float(random.uniform(-26, 0)) / 20)
    return _as_wave(sound.samples * (level / float(np.abs(sound.samples).max())))


def faster(utterance: Utterance, factor: float) -> Utterance:
    """Play `factor` times faster, as a tape does: times shrink, pitch and formants rise."""
    count = max(1, round(len(utterance.sound.samples) / factor))
    at = np.arange(count) * factor
    samples = np.interp(at, np.arange(len(utterance.sound.samples)), utterance.sound.samples)
    phones = tuple(Segment(s.name, s.start / factor, s.end / factor) for s in utterance.phones)
    return Utterance(_as_wave(samples), phones)


def shift_formants(sound: Waveform, factor: float) -> Waveform:
    """Move the spectral envelope up by `factor` and leave the pitch: another length of vocal tract."""
    if len(sound.samples) < _FRAME:
        return sound
    spectrum = signal.stft(sound.samples, SAMPLE_RATE, nperseg=_FRAME)[2]
    floor = 1e-4 * np.abs(spectrum).max() + 1e-12
    cepstrum = np.fft.irfft(np.log(np.abs(spectrum) + floor), axis=0)
    cepstrum[_LIFTER : len(cepstrum) - _LIFTER + 1] = 0
    envelope = np.fft.rfft(cepstrum, axis=0).real
    bins = np.arange(len(envelope))
    source = np.minimum(bins / factor, bins[-1])
    low = np.minimum(source.astype(int), bins[-1] - 1)
    blend = (source - low)[:, None]
    moved = envelope[low] * (1 - blend) + envelope[low + 1] * blend
    samples = signal.istft(spectrum * np.exp(np.clip(moved - envelope, -4, 4)), SAMPLE_RATE, nperseg=_FRAME)[1]
    padded = np.zeros(len(sound.samples))
    padded[: len(samples)] = samples[: len(padded)]
    return _as_wave(padded)


def in_room(sound: Waveform, random: np.random.Generator) -> Waveform:
    """Reverberation of 0.1-0.6 s behind the direct sound, which stays in place."""
    seconds = float(random.uniform(0.1, 0.6))
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = random.normal(size=len(time)) * 10 ** (-3 * time / seconds)  # -60 dB at its end
    tail *= float(random.uniform(0.1, 0.5)) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return _as_wave(signal.fftconvolve(sound.samples, tail)[: len(sound.samples)])


def through_wire(sound: Waveform, random: np.random.Generator) -> Waveform:
    """A telephone (300-3400 Hz, 8-bit mu-law) or a low-rate codec (low-pass of 3.5-7 kHz)."""
    if random.random() < 0.5:
        cut = float(random.uniform(3500, 7000))
        return _as_wave(signal.sosfiltfilt(signal.butter(6, cut, fs=SAMPLE_RATE, output="sos"), sound.samples))
    band = signal.butter(4, (300, 3400), "bandpass", fs=SAMPLE_RATE, output="sos")
    samples = signal.sosfiltfilt(band, sound.samples)
    peak = np.abs(samples).max(initial=1e-9)
    squeezed = np.sign(samples) * np.log1p(255 * np.abs(samples) / peak) / np.log(256)
    squeezed = np.round(squeezed * 127) / 127
    return _as_wave(np.sign(squeezed) * (256 ** np.abs(squeezed) - 1) / 255 * peak)


def with_noise(sound: Waveform, ratio: float, random: np.random.Generator) -> Waveform:
    """Noise of a random colour (white to brown), `ratio` dB below the speech."""
    count = len(sound.samples)
    spectrum = np.fft.rfft(random.normal(size=count))
    frequency = np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE), 50.0)
    noise = np.fft.irfft(spectrum * frequency ** -float(random.uniform(0, 1)), count)
    speech = np.sqrt(np.square(sound.samples).mean()) + 1e-9
    return _as_wave(sound.samples + noise * speech / np.sqrt(np.square(noise).mean()) * 10 ** (-ratio / 20))


def in_company(sound: Waveform, others: Sequence[np.ndarray], random: np.random.Generator) -> Waveform:
    """Others talk too, each from a random place of its sound on, together 10 to 30 dB below this one."""
    count = len(sound.samples)
    babble = np.zeros(count)
    for other in others:
        if len(other):
            babble += np.resize(np.roll(other, int(random.integers(len(other)))), count)
    own, theirs = (float(np.sqrt(np.square(x).mean())) for x in (sound.samples, babble))
    if own == 0 or theirs == 0:
        return sound
    return _as_wave(sound.samples + babble * (own / theirs * 10 ** (-float(random.uniform(10, 30)) / 20)))


def _as_wave(samples: np.ndarray) -> Waveform:
    return Waveform(np.clip(samples, -1.0, 1.0).astype(np.float32))
