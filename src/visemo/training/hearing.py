"""The same words heard anew: windows of a take with another tempo, throat, room, wire and level.

A small encoder learns its few voices by heart; these keep it at what all voices share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visemo.data.augmentation import change_channel, shift_formants
from visemo.types import FloatArray, Waveform
from visemo.units import FPS, SAMPLE_RATE

PER_FRAME = SAMPLE_RATE / FPS  # samples


@dataclass(frozen=True)
class Hearing:
    """How far a window may differ from what was recorded.

    speed : largest change of tempo, pitch and formants together, as a tape changes them; motion follows
    formants : largest change of the formants alone
    voices, channels : shares of windows with other formants, and through another room, wire and noise
    gain, hiss, tilt : largest change of level (dB), loudest white noise (dB under speech; 0 for none), largest
        one-pole high- or low-pass coefficient
    """

    speed: float = 0.1
    formants: float = 0.12
    voices: float = 0.35
    channels: float = 0.35
    gain: float = 6.0
    hiss: float = 25.0
    tilt: float = 0.5

    def tempo(self, random: np.random.Generator) -> float:
        """How many frames of the recording pass in a frame of the window."""
        return float(random.uniform(1 - self.speed, 1 + self.speed))

    def hear(self, samples: Tensor, random: np.random.Generator) -> Tensor:
        """Another throat, room, wire, level and hiss: (S,) -> (S,), at about the level that came."""
        peak = float(samples.abs().max())
        if peak > 0:
            sound = Waveform((samples / peak).numpy())
            if random.random() < self.voices:
                sound = shift_formants(sound, float(random.uniform(1 - self.formants, 1 + self.formants)))
            if random.random() < self.channels:
                sound = change_channel(sound, random)
            again = torch.from_numpy(sound.samples)
            samples = again * (peak / max(float(again.abs().max()), 1e-6))
        level = 10 ** (random.uniform(-self.gain, self.gain) / 20)
        slope = random.uniform(-self.tilt, self.tilt)
        heard = level * (samples - slope * F.pad(samples, (1, -1)))
        if self.hiss:
            strength = 10 ** (-random.uniform(self.hiss, 3 * self.hiss) / 20)
            heard = heard + strength * torch.from_numpy(random.standard_normal(len(samples), np.float32))
        return heard


def sound_at(samples: Tensor, frame: float, count: int, tempo: float) -> Tensor:
    """`count` samples of a take (S,) from the time of `frame` on, played `tempo` times as fast; silence around it."""
    at = frame * PER_FRAME + tempo * np.arange(count)
    return torch.from_numpy(np.interp(at, np.arange(len(samples)), samples.numpy(), 0, 0).astype(np.float32))


def frames_between(rows: Tensor, at: FloatArray) -> Tensor:
    """Rows of (T, P) at fractional places (n,), linear in between, held beyond the ends."""
    at = np.clip(at, 0, len(rows) - 1)
    low = np.minimum(at.astype(np.int64), max(len(rows) - 2, 0))
    high = np.minimum(low + 1, len(rows) - 1)
    blend = torch.from_numpy((at - low).astype(np.float32))[:, None]
    return torch.lerp(rows[low], rows[high], blend)
