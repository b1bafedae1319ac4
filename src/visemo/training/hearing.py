"""The same words heard anew: takes with another tempo, throat, company, room, wire and level.

A small encoder learns its few voices by heart; these keep it at what all voices share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visemo.data.augmentation import change_channel, in_company, shift_formants, through_wire
from visemo.types import FloatArray, VisemoError, Waveform

TALKERS = 4


@dataclass(frozen=True)
class Hearing:
    """How far a take may differ from what was recorded.

    versions : in how many ways every take is heard; each is made when it is first wanted, and kept
    speed : largest change of tempo, pitch and formants together, as a tape changes them; motion follows
    formants : largest change of the formants alone
    voices, channels : shares of versions with other formants, and through another room, wire and noise
    wires : share of all other versions that come over a telephone or a low-rate codec
    babble : share of versions in which `TALKERS` others talk, 10 to 30 dB fainter
    gain, hiss, tilt : largest change of level (dB), loudest white noise (dB under speech; 0 for none), largest
        share of the sample before that is taken away or added
    """

    versions: int = 6
    speed: float = 0.1
    formants: float = 0.12
    voices: float = 0.35
    channels: float = 0.35
    wires: float = 0.25
    babble: float = 0.2
    gain: float = 6.0
    hiss: float = 25.0
    tilt: float = 0.5

    def __post_init__(self) -> None:
        if self.versions < 1 or not 0 <= self.speed < 1:
            raise VisemoError(
                f"hearing: got {self.versions} versions and speed {self.speed}, expected at least one, and 0 to 1"
            )

    def tempo(self, random: np.random.Generator) -> float:
        """How many frames of the recording pass in a frame of the version."""
        return float(random.uniform(1 - self.speed, 1 + self.speed))

    def hear(
        self,
        samples: Tensor,
        random: np.random.Generator,
        others: Sequence[Tensor] = (),
        normalise: Callable[[Tensor], Tensor] = lambda samples: samples,
    ) -> Tensor:
        """Another throat, company, room, wire, level and hiss: (S,) -> (S,), at about the level that came.

        `others` are sounds at the same level that the company is drawn from. What came over the wire is brought to
        its level and colour by `normalise`, as the encoder does with every clip; level and hiss then say how wrong
        that may be.
        """
        peak = float(samples.abs().max())
        if peak > 0:
            sound = Waveform((samples / peak).numpy())
            if random.random() < self.voices:
                sound = shift_formants(sound, float(random.uniform(1 - self.formants, 1 + self.formants)))
            if len(others) and random.random() < self.babble:
                sound = in_company(sound, [others[k].numpy() for k in random.choice(len(others), TALKERS)], random)
            if random.random() < self.channels:
                sound = change_channel(sound, random)
            elif random.random() < self.wires:
                sound = through_wire(sound, random)
            again = torch.from_numpy(sound.samples)
            samples = normalise(again * (peak / max(float(again.abs().max()), 1e-6)))
        level = 10 ** (random.uniform(-self.gain, self.gain) / 20)
        slope = random.uniform(-self.tilt, self.tilt)
        heard = level * (samples - slope * F.pad(samples, (1, -1)))
        if self.hiss:
            strength = 10 ** (-random.uniform(self.hiss, 3 * self.hiss) / 20)
            heard = heard + strength * torch.from_numpy(random.standard_normal(len(samples), np.float32))
        return heard


def at_tempo(samples: Tensor, tempo: float) -> Tensor:
    """A take (S,) played `tempo` times as fast, as a tape does."""
    at = tempo * np.arange(int((len(samples) - 1) / tempo) + 1)
    return torch.from_numpy(np.interp(at, np.arange(len(samples)), samples.numpy()).astype(np.float32))


def frames_between(rows: Tensor, at: FloatArray) -> Tensor:
    """Rows of (T, P) at fractional places (n,), linear in between, held beyond the ends."""
    at = np.clip(at, 0, len(rows) - 1)
    low = np.minimum(at.astype(np.int64), max(len(rows) - 2, 0))
    high = np.minimum(low + 1, len(rows) - 1)
    blend = torch.from_numpy((at - low).astype(np.float32))[:, None]
    return torch.lerp(rows[low], rows[high], blend)
