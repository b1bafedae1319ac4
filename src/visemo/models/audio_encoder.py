"""Sound to features at the mesh frame rate: the part of the speech model that listens.

Two kinds. `mel` is small, trained here, and looks at most a quarter of a second ahead. `wav2vec2`
(models/wav2vec2.py) is the encoder of FaceFormer. Both turn (B, S) samples into (B, T, width).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visemo.models.acoustic import AcousticModel
from visemo.types import VisemoError
from visemo.units import FPS, SAMPLE_RATE

Progress = Callable[[float], None]  # told the fraction done, 0..1


@dataclass(frozen=True)
class AudioEncoderConfig:
    """What rebuilds an audio encoder; the two groups below belong to one kind each."""

    kind: Literal["mel", "wav2vec2"] = "mel"
    fps: float = FPS  # mesh frames per second

    # mel
    bands: int = 80
    width: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 1, 1, 4, 8)  # in steps of 20 ms, one per block
    look_ahead: float = 0.25  # s, the most that any output may know of its future
    dropout: float = 0.1
    phone_classes: int = 0  # > 0 adds a linear head for an auxiliary phone loss
    phonetic: bool = False  # hear through CMU Sphinx's acoustic model as well (extra `corpus`)

    # wav2vec2
    sizes: dict[str, Any] = field(default_factory=dict)  # where Wav2Vec2Config differs from wav2vec2-base
    window: int = 900  # mesh frames that see one another; a longer clip is cut into overlapping windows
    overlap: int = 90  # mesh frames that two neighbouring windows share and cross-fade

    def __post_init__(self) -> None:
        if self.kind not in ("mel", "wav2vec2"):
            raise VisemoError(f"audio encoder: got kind {self.kind!r}, expected mel or wav2vec2")
        if not self.fps > 0:
            raise VisemoError(f"audio encoder: got {self.fps} frames per second, expected a positive number")
        if not 0 <= 4 * self.overlap <= self.window:
            raise VisemoError(
                f"audio encoder: got overlap {self.overlap} of window {self.window}, expected at most a quarter of it"
            )


class AudioEncoder(nn.Module):
    """What both kinds share: `forward` is `normalise`, which needs the whole clip, then `encode`."""

    width: int  # features per frame
    look_ahead: float  # s; infinite for an encoder that reads the whole clip

    def forward(self, samples: Tensor, frames: int, progress: Progress | None = None) -> Tensor:
        """Features of a clip.

        Parameters
        ----------
        samples : (B, S) float32, 16 kHz, any loudness.
        frames : number T of mesh frames wanted.

        Returns
        -------
        (B, T, width) float32.

        Raises
        ------
        VisemoError when `samples` is not two-dimensional or has no samples, or `frames` is below 1.
        """
        if samples.ndim != 2 or samples.shape[1] == 0 or frames < 1:
            raise VisemoError(
                f"audio encoder: got samples of shape {tuple(samples.shape)} for {frames} frames, "
                "expected (clips, samples) and at least one frame"
            )
        return self.encode(self.normalise(samples), frames, progress)

    def normalise(self, samples: Tensor) -> Tensor:
        """(B, S) -> (B, S) at the level the encoder expects, judged over the whole clip."""
        raise NotImplementedError

    def encode(self, samples: Tensor, frames: int, progress: Progress | None = None) -> Tensor:
        """(B, S) normalised -> (B, T, width)."""
        raise NotImplementedError


# --- mel ---------------------------------------------------------------------------------------------

HOP = SAMPLE_RATE // 100  # 10 ms
WINDOW = SAMPLE_RATE // 40  # 25 ms
FFT = 512
STRIDE = 2  # mel frames per step of the network
STEP = STRIDE * HOP / SAMPLE_RATE  # s
STEM = 5  # mel frames that the first layer sees
BLOCK = 900  # mesh frames encoded at a time, so that memory does not grow with the clip

SPEECH_LEVEL = 0.95  # of a clip's sounding frames are quieter than the level that is brought to 0 dB
LOUD = 0.01  # of that level: the frames that tell a voice's colour
GATE = 1e-4  # of the loudest frame, -40 dB: what is fainter is a pause
QUIETEST = 10**-5.5  # mean square, -55 dB: a quieter clip is raised by 55 dB and no more, so hiss stays low
# mean log-mel of loud speech, dB, that clips are brought to: what recordings of many voices have in common
COLOUR_HZ = (143, 285, 487, 731, 1025, 1379, 1806, 2514, 3423, 4588, 6083, 7733)
COLOUR_DB = (-28, -30, -31, -38, -41, -44, -45, -45, -46, -51, -54, -57)
MOST_COLOUR = 12.0  # dB, the most that a band is raised or lowered
SURE = 2.0  # s of loud speech after which half of a difference is taken for the voice and the microphone
TAPS = 512  # of the filter
FILTER_BLOCK = 2**16 - 2 * TAPS  # samples filtered together
COLOUR_BLOCK = 3000  # mel frames looked at together
FLOOR = 1e-6  # mel power per band, -60 dB under speech: what silence reads as
UNLIKELY = 30.0  # nats: what is less likely than that is heard as just that unlikely


class MelEncoder(AudioEncoder):
    """Log-mel frames through a small convolutional stack that looks little ahead.

    Frame t stands for the instant t / fps. Before and after the clip there is silence. Everything
    after `normalise` is local, so a clip encoded in blocks equals the clip encoded at once.
    """

    mel: Tensor
    hann: Tensor

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.acoustic = AcousticModel() if config.phonetic else None
        inputs = STEM * config.bands + (AcousticModel.width if config.phonetic else 0)
        self.stem = nn.Linear(inputs, config.width)
        ahead = _steps_ahead(config)
        self.blocks = nn.ModuleList(
            Block(config.width, dilation, future, config.dropout) for dilation, future in zip(config.dilations, ahead)
        )
        self.norm = nn.LayerNorm(config.width)
        self.phones = nn.Linear(config.width, config.phone_classes) if config.phone_classes else None
        self.past = sum(2 * d - a for d, a in zip(config.dilations, ahead))
        self.future = sum(ahead)
        self.look_ahead = _look_ahead(self.future, config)
        self.register_buffer("mel", mel_filters(config.bands), persistent=False)
        self.register_buffer("hann", torch.hann_window(WINDOW), persistent=False)

    def normalise(self, samples: Tensor) -> Tensor:
        """Bring the clip's loud speech to 0 dB and to the common colour; silence and faint hiss stay far below."""
        level = samples * _speech_level(samples).clamp(min=QUIETEST).rsqrt()[:, None]
        gains = self._missing_colour(level)
        if not gains.any():
            return level
        coloured = _filtered(level, 10 ** (gains / 20))
        return coloured * _speech_level(coloured).clamp(min=QUIETEST).rsqrt()[:, None]

    def _missing_colour(self, samples: Tensor) -> Tensor:
        """(B, S) at 0 dB -> (B, TAPS / 2 + 1) dB that its loud speech lacks, from 0 to 8 kHz."""
        sums = torch.zeros(len(samples), self.config.bands, device=samples.device)
        count = torch.zeros(len(samples), 1, device=samples.device)
        for start in range(0, samples.shape[1] - WINDOW + 1, COLOUR_BLOCK * HOP):
            block = samples[:, start : start + (COLOUR_BLOCK - 1) * HOP + WINDOW]
            power = block.unfold(1, WINDOW, HOP).square().mean(dim=2)
            loud = (power > LOUD)[:, :, None]
            sums += (30 * (self._log_mel(block) - 1) * loud).sum(dim=1)
            count += loud.sum(dim=1)
        heard, seconds = sums / count.clamp(min=1), count * HOP / SAMPLE_RATE
        sure = seconds / (seconds + SURE)
        centres = torch.linspace(0, _mel(SAMPLE_RATE / 2), self.config.bands + 2)[1:-1]
        mels = [_mel(hertz) for hertz in COLOUR_HZ]
        wanted = torch.from_numpy(np.interp(centres, mels, COLOUR_DB)).to(heard)
        lacking = (wanted - heard).clamp(-MOST_COLOUR, MOST_COLOUR) * sure
        lacking[:, centres < mels[0]] = 0  # below every voice: hum
        smooth = F.avg_pool1d(F.pad(lacking[:, None], (4, 4), mode="replicate"), 9, 1)[:, 0]
        lines = [_mel(hertz) for hertz in np.linspace(0, SAMPLE_RATE / 2, TAPS // 2 + 1)]
        gains = [np.interp(lines, centres, row, left=0.0) for row in smooth.cpu().numpy()]
        return torch.from_numpy(np.stack(gains)).to(samples)

    def encode(self, samples: Tensor, frames: int, progress: Progress | None = None) -> Tensor:
        features = []
        for start in range(0, frames, BLOCK):
            stop = min(start + BLOCK, frames)
            features.append(self.understand(self.hear(samples, start, stop), start, stop))
            if progress is not None:
                progress(stop / frames)
        return torch.cat(features, dim=1)

    def hear(self, samples: Tensor, start: int, stop: int) -> Tensor:
        """What mesh frames start..stop-1 depend on: (B, S) normalised -> (B, steps, inputs). Nothing here learns."""
        first, last, _ = self._steps(start, stop)
        steps = STRIDE * (first - self.past), STRIDE * (last + self.future)  # in mel frames
        margin = STEM // 2
        sound = _cut(samples, (steps[0] - margin) * HOP - WINDOW // 2, (steps[1] + margin) * HOP + WINDOW // 2)
        heard = self._log_mel(sound).unfold(1, STEM, STRIDE).transpose(2, 3).flatten(2)
        if self.acoustic is None:
            return heard
        margin = self.acoustic.margin
        likely = self.acoustic(_cut(samples, steps[0] * HOP - margin, steps[1] * HOP + margin), STRIDE)
        return torch.cat([heard, (likely / (UNLIKELY / 3)).clamp(min=-3) + 1.5], dim=2)

    def understand(self, heard: Tensor, start: int, stop: int) -> Tensor:
        """What was heard of mesh frames start..stop-1 -> (B, stop - start, width); no padding anywhere."""
        x = F.gelu(self.stem(heard))
        for block in self.blocks:
            x = block(x)
        steps = self.norm(x).float()  # may be of half precision while training
        first, _, at = self._steps(start, stop)
        below = at.long()
        mix = (at - below).to(steps)[:, None]
        return torch.lerp(steps[:, below - first], steps[:, below - first + 1], mix)

    def _steps(self, start: int, stop: int) -> tuple[int, int, Tensor]:
        """The first and last step that mesh frames start..stop-1 lie between, and the place (n,) of each in steps."""
        at = torch.arange(start, stop, dtype=torch.float64, device=self.hann.device) / (self.config.fps * STEP)
        return int(at[0]), int(at[-1]) + 1, at

    def phone_logits(self, features: Tensor) -> Tensor:
        """(B, T, width) -> (B, T, phone_classes), for the auxiliary loss.

        Raises VisemoError when the config asks for no phone classes.
        """
        if self.phones is None:
            raise VisemoError("audio encoder: got phone_classes=0, expected a positive number to name phones")
        return self.phones(features)

    def _log_mel(self, samples: Tensor) -> Tensor:
        """(B, S) -> (B, frames, bands) every 10 ms, between -1 (silence) and about 1."""
        spectrum = torch.fft.rfft(samples.unfold(1, WINDOW, HOP) * self.hann, n=FFT)
        power = (spectrum.real.square() + spectrum.imag.square()) @ self.mel
        return power.clamp(min=FLOOR).log10() / 3 + 1


class Block(nn.Module):
    """x + mix(GELU(three taps of norm(x))): `future` of the 2 * dilation steps it spans lie ahead."""

    def __init__(self, width: int, dilation: int, future: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.past = 2 * dilation - future
        self.norm = nn.LayerNorm(width)
        self.taps = nn.Linear(3 * width, width)
        self.mix = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, width) -> (B, n - 2 * dilation, width)."""
        n, d = x.shape[1] - 2 * self.dilation, self.dilation
        normed = self.norm(x)
        taps = torch.cat([normed[:, k * d : k * d + n] for k in range(3)], dim=2)
        return x[:, self.past : self.past + n] + self.dropout(self.mix(F.gelu(self.taps(taps))))


def mel_filters(bands: int) -> Tensor:
    """(FFT / 2 + 1, bands) triangles, even on the mel scale from 0 to 8 kHz, mapping the power
    spectrum of a Hann-windowed frame to mean squares: a full spectrum sums to the frame's energy."""
    edges = torch.linspace(0, _mel(SAMPLE_RATE / 2), bands + 2, dtype=torch.float64)
    hertz = 700 * (torch.exp(edges / 1127) - 1)
    bins = torch.arange(FFT // 2 + 1, dtype=torch.float64)[:, None] * SAMPLE_RATE / FFT
    rising = (bins - hertz[:-2]) / (hertz[1:-1] - hertz[:-2])
    falling = (hertz[2:] - bins) / (hertz[2:] - hertz[1:-1])
    triangles = torch.minimum(rising, falling).clamp(min=0)
    energy = 2 / (FFT * torch.hann_window(WINDOW, dtype=torch.float64).square().sum())  # Parseval
    return (triangles * energy).float()


def _mel(hertz: float) -> float:
    return 1127 * math.log1p(hertz / 700)


def _look_ahead(steps: int, config: AudioEncoderConfig) -> float:
    """Seconds of future that `steps` of the network's future add up to, with all that surrounds it."""
    samples = WINDOW // 2 + STEM // 2 * HOP
    if config.phonetic:
        samples = max(samples, AcousticModel.margin)
    return (steps + 1) * STEP + samples / SAMPLE_RATE  # + 1: interpolation touches the step after


def _steps_ahead(config: AudioEncoderConfig) -> list[int]:
    """Future steps per block: symmetric while the budget lasts, causal after."""
    ahead = []
    for dilation in config.dilations:
        fits = _look_ahead(sum(ahead) + dilation, config) <= config.look_ahead
        ahead.append(dilation if fits else 0)
    if _look_ahead(0, config) > config.look_ahead:
        raise VisemoError(
            f"audio encoder: got a look-ahead of {config.look_ahead} s, expected at least {_look_ahead(0, config)} s"
        )
    return ahead


def _filtered(samples: Tensor, gains: Tensor) -> Tensor:
    """(B, S) through filters of real gains (B, TAPS / 2 + 1), without delay."""
    taps = torch.fft.irfft(gains).roll(TAPS // 2, dims=1) * torch.hann_window(TAPS, device=gains.device)
    size = FILTER_BLOCK + 2 * TAPS
    response = torch.fft.rfft(taps, size)
    blocks = []
    for start in range(0, samples.shape[1], FILTER_BLOCK):
        piece = _cut(samples, start - TAPS, start - TAPS + size)
        blocks.append(torch.fft.irfft(torch.fft.rfft(piece) * response, size)[:, TAPS + TAPS // 2 : size - TAPS // 2])
    return torch.cat(blocks, dim=1)[:, : samples.shape[1]]


def _speech_level(samples: Tensor) -> Tensor:
    """(B, S) -> (B,) mean square of the clip's loud frames: a high quantile over all but the pauses."""
    padded = F.pad(samples, (0, max(0, WINDOW - samples.shape[1])))
    power = F.avg_pool1d(padded.square()[:, None], WINDOW, HOP)[:, 0].sort(dim=1).values
    gated = (power >= GATE * power[:, -1:]).sum(dim=1)
    rank = power.shape[1] - 1 - ((1 - SPEECH_LEVEL) * gated).long()
    return power.gather(1, rank[:, None])[:, 0]


def _cut(samples: Tensor, start: int, stop: int) -> Tensor:
    """samples[:, start:stop] with silence where the clip has nothing."""
    length = samples.shape[1]
    inside = samples[:, min(max(start, 0), length) : min(max(stop, 0), length)]
    before = min(max(-start, 0), stop - start)
    return F.pad(inside, (before, stop - start - before - inside.shape[1]))
