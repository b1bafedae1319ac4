"""How likely each phone is at each instant, by an acoustic model that has heard many real people.

CMU Sphinx's US English model (BSD) comes with the `pocketsphinx` package and is read from there: for each of 42
phones a codebook of Gaussians over cepstra, their differences and second differences, and three states that weight
it. What a corpus of a few synthetic voices cannot teach, how differently people sound, it brings along.

Arrays only: the files are parsed here, no recogniser runs.
"""

from __future__ import annotations

import struct
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visemo.assets import sha256
from visemo.types import VisemoError
from visemo.units import SAMPLE_RATE

Array = NDArray[np.floating]

PHONES = (
    "+NSN+ +SPN+ AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH SIL T TH UH UW V W Y Z"
    " ZH"
).split()
STATES = 3  # of each phone: its beginning, middle and end
CEPSTRA = 13
DENSITIES = 128  # Gaussians of a codebook
STREAMS = 3  # cepstra, first and second differences, each with Gaussians of its own

WINDOW, HOP, FFT = 410, SAMPLE_RATE // 100, 512  # samples
BANDS, LOWEST, HIGHEST = 25, 130.0, 6800.0  # Hz
PREEMPHASIS = 0.97
LIFTER = 22
DELTAS = 3  # frames on either side that second differences reach
SHARPNESS = 0.1024  # nats per step of a stored weight: 1024 logarithms to the base 1.0001
FLOOR = 4e-5  # power under each band of speech at 0 dB: rooms hiss, and the model has never heard digital silence
BLOCK = 512  # frames scored together

FOLDER = "pocketsphinx/model/en-us/en-us"
FILES = ("means", "variances", "sendump")
DIGEST = "44c2f45760a62ea6"  # of these: a network that learned to read this model cannot read another


class Densities(NamedTuple):
    """The parameters: means and variances (phones, streams, densities, cepstra), weights (phones, streams, states,
    densities) that sum to 1."""

    means: Array
    variances: Array
    weights: Array


def read_densities(folder: Path) -> Densities:
    """Read `means`, `variances` and `sendump` of a phonetically tied Sphinx model.

    Raises VisemoError for a missing file, or one of another kind or size.
    """
    means, variances = (_gaussians(folder / name) for name in FILES[:2])
    stored = _weights(folder / FILES[2]).astype(np.float64)
    logs = -SHARPNESS * stored.reshape(STREAMS, DENSITIES, len(PHONES), STATES).transpose(2, 0, 3, 1)
    weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return Densities(means, np.maximum(variances, 1e-4), weights / weights.sum(axis=-1, keepdims=True))


@cache
def _installed() -> Densities:
    """What the pocketsphinx package brings."""
    spec = find_spec("pocketsphinx")
    if spec is None or spec.origin is None:
        raise VisemoError(
            "acoustic model: got no pocketsphinx package, expected it installed; pip install visemo[corpus]"
        )
    folder = Path(spec.origin).parents[1] / FOLDER
    found = sha256(*(_bytes(folder / name) for name in FILES))[: len(DIGEST)]
    if found != DIGEST:
        raise VisemoError(
            f"{folder}: got an acoustic model with digest {found}, expected {DIGEST}; install pocketsphinx 5.1"
        )
    return read_densities(folder)


class AcousticModel(nn.Module):
    """Sound at a common level -> log posterior of each phone's states, frame by frame.

    Nothing here learns: `mean`, the average cepstrum of speech at that level, is measured once.
    """

    mean: Tensor
    terms: Tensor
    weights: Tensor
    window: Tensor
    bands: Tensor
    cosines: Tensor

    width = len(PHONES) * STATES
    margin = WINDOW // 2 + DELTAS * HOP + 1  # samples around an instant that its posterior depends on

    def __init__(self, densities: Densities | None = None) -> None:
        super().__init__()
        means, variances, weights = densities or _installed()
        precise = 1 / variances
        constant = -0.5 * (means**2 * precise + np.log(2 * np.pi * variances)).sum(axis=-1)
        buffers = {
            "terms": np.concatenate([means * precise, -0.5 * precise, constant[..., None]], axis=-1)
            .transpose(1, 3, 0, 2)
            .reshape(STREAMS, 2 * CEPSTRA + 1, -1),
            "weights": weights.transpose(1, 0, 3, 2),  # (streams, phones, densities, states)
            "window": np.hamming(WINDOW),
            "bands": _bands(),
            "cosines": _cosines(),
        }
        for name, values in buffers.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values, np.float32)), persistent=False)
        self.register_buffer("mean", torch.zeros(CEPSTRA))

    def cepstra(self, samples: Tensor) -> Tensor:
        """(B, S) -> (B, n, CEPSTRA) every 10 ms; the first frame is centred at 1 + WINDOW / 2."""
        raised = samples[:, 1:] - PREEMPHASIS * samples[:, :-1]
        spectrum = torch.fft.rfft(raised.unfold(1, WINDOW, HOP) * self.window, n=FFT)
        power = (spectrum.real.square() + spectrum.imag.square()) @ self.bands
        return (power + FLOOR).log() @ self.cosines

    @torch.no_grad()
    def measure(self, sounds: list[Tensor]) -> None:
        """Take the mean cepstrum over some clips (S,) at the common level."""
        total = torch.stack([self.cepstra(sound[None])[0].sum(dim=0) for sound in sounds])
        frames = sum((len(sound) - 1 - WINDOW) // HOP + 1 for sound in sounds)
        self.mean.copy_(total.sum(dim=0) / frames)

    @torch.no_grad()
    def forward(self, samples: Tensor, stride: int = 1) -> Tensor:
        """(B, S) -> (B, n, width) natural logarithms, every `stride` * 10 ms; instant 0 is sample `margin`."""
        cepstra = self.cepstra(samples) - self.mean
        count = cepstra.shape[1] - 2 * DELTAS

        def at(offset: int) -> Tensor:
            return cepstra[:, DELTAS + offset : DELTAS + offset + count : stride]

        streams = (at(0), at(2) - at(-2), (at(3) - at(-1)) - (at(1) - at(-3)))
        rows = torch.stack([stream.flatten(0, 1) for stream in streams])  # (streams, B n, cepstra)
        scored = torch.cat([self._scores(block) for block in rows.split(BLOCK, dim=1)])
        return scored.log_softmax(dim=1).unflatten(0, streams[0].shape[:2])

    def _scores(self, rows: Tensor) -> Tensor:
        """(streams, n, CEPSTRA) -> (n, width) log likelihoods, at most 69 below that of the likeliest phone."""
        total = torch.zeros(1)
        for x, terms, weights in zip(rows, self.terms, self.weights):
            each = torch.cat([x, x.square(), torch.ones(len(x), 1)], dim=1) @ terms
            highest = each.amax(dim=1, keepdim=True)
            densities = each.sub_(highest).exp_().view(len(x), len(PHONES), DENSITIES)
            total = total + (densities.transpose(0, 1) @ weights).clamp(min=1e-30).log()
        return total.transpose(0, 1).flatten(1)


def _bands() -> Array:
    """(FFT / 2 + 1, BANDS) triangles of unit area, even on the mel scale, their edges on lines of the spectrum."""
    line = SAMPLE_RATE / FFT
    lowest, highest = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST, HIGHEST))
    mels = np.linspace(lowest, highest, BANDS + 2)
    edges = np.round(700 * (10 ** (mels / 2595) - 1) / line) * line
    hertz = np.arange(FFT // 2 + 1)[:, None] * line
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    return np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)).clip(0) * 2 / (high - low)


def _cosines() -> Array:
    """(BANDS, CEPSTRA): the liftered cosine transform of log bands."""
    order = np.arange(CEPSTRA)
    table = np.cos(np.pi * np.outer(np.arange(BANDS) + 0.5, order) / BANDS) * np.sqrt(2 / BANDS)
    table[:, 0] /= np.sqrt(2)
    return table * (1 + LIFTER / 2 * np.sin(np.pi * order / LIFTER))


def _gaussians(path: Path) -> Array:
    """(phones, streams, densities, cepstra) of a parameter file."""
    raw = _bytes(path)
    start = raw.find(b"endhdr\n") + len(b"endhdr\n")
    sizes = (len(PHONES), STREAMS, DENSITIES, *[CEPSTRA] * STREAMS, len(PHONES) * STREAMS * DENSITIES * CEPSTRA)
    expected = struct.pack(f"<I{len(sizes)}i", 0x11223344, *sizes)
    values = raw[start + len(expected) :][: 4 * sizes[-1]]
    if not raw.startswith(b"s3\n") or raw[start : start + len(expected)] != expected or len(values) < 4 * sizes[-1]:
        raise VisemoError(
            f"{path}: got something else, expected {len(PHONES)} codebooks of {STREAMS} x {DENSITIES} Gaussians over "
            f"{CEPSTRA} cepstra; install pocketsphinx 5.1"
        )
    return np.frombuffer(values, "<f4").reshape(sizes[0], STREAMS, DENSITIES, CEPSTRA).astype(np.float64)


def _weights(path: Path) -> NDArray[np.uint8]:
    """(streams, densities, phones * states): what is stored of the states that know no neighbours."""
    raw, at, length = _bytes(path), 0, 1
    while length > 0 and at + 4 <= len(raw):  # a title and remarks, then an empty one
        (length,) = struct.unpack_from("<i", raw, at)
        at += 4 + max(length, 0)
    densities, states = struct.unpack_from("<2i", raw, at) if at + 8 <= len(raw) else (0, 0)
    if densities != DENSITIES or states < len(PHONES) * STATES or len(raw) != at + 8 + STREAMS * densities * states:
        raise VisemoError(
            f"{path}: got something else, expected weights of {DENSITIES} densities for {len(PHONES) * STATES} or more "
            "states; install pocketsphinx 5.1"
        )
    table = np.frombuffer(raw, np.uint8, offset=at + 8).reshape(STREAMS, densities, states)
    return table[:, :, : len(PHONES) * STATES]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise VisemoError(f"{path}: cannot read ({error.strerror}), expected a file of pocketsphinx's model") from error
