"""What anybody's lips would do: three guesses, fitted on the training takes, that a speech model has to better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from visemo.models.audio_encoder import STEP, AudioEncoderConfig, MelEncoder
from visemo.training.corpus import Recording, thin
from visemo.types import FloatArray, IntArray
from visemo.units import FPS, SAMPLE_RATE

FRAMES = 20_000  # of the training takes that are looked at, at most
QUIET = 1e-4  # amplitude that counts as silence
BANDS = 20  # that sounds are compared by
BESIDE = 0.08  # s before and after a frame whose sound is compared too


class Baselines:
    """Lips (T, L, 3) m of a take as three guesses have them:

    `mean face`, which never moves; `energy jaw`, the best linear function of loudness; and `retrieval`, the training
    frame that sounds most alike (log-mel bands at the frame and `BESIDE` s to either side).
    """

    def __init__(self, talks: Sequence[Recording], lips: IntArray) -> None:
        stride = thin(talks, FRAMES)
        moved = [np.asarray(r.motion()[::stride, lips], np.float32) for r in talks]
        self.lips = np.concatenate(moved)
        loud = np.concatenate([loudness(r)[::stride] for r in talks])
        self.mean = self.lips.mean(axis=0)
        flat = self.lips.reshape(len(loud), -1).astype(np.float64)
        self.jaw = np.linalg.lstsq(_with_one(loud), flat, rcond=None)[0].astype(np.float32)
        self.encoder = MelEncoder(AudioEncoderConfig(bands=BANDS))
        self.sounds = np.concatenate([self._sound(r)[::stride] for r in talks]).astype(np.float64)

    def guess(self, recording: Recording) -> dict[str, FloatArray]:
        """Every guess at one take, by name."""
        nearest = self._nearest(self._sound(recording))
        jaw = (_with_one(loudness(recording)) @ self.jaw).reshape(-1, *self.mean.shape)
        return {
            "mean face": np.broadcast_to(self.mean, jaw.shape),
            "energy jaw": jaw.astype(np.float32, copy=False),
            "retrieval": self.lips[nearest],
        }

    def _nearest(self, sound: NDArray[np.float32]) -> NDArray[np.int64]:
        """(T,) the training frame next to each row of `sound` (T, n): one product, as no tree is of use in so many
        dimensions."""
        squared = np.square(self.sounds).sum(axis=1)
        return (squared - 2 * (sound.astype(np.float64) @ self.sounds.T)).argmin(axis=1)

    def _sound(self, recording: Recording) -> NDArray[np.float32]:
        """(T, n) what each frame of a take sounds like."""
        samples = torch.from_numpy(recording.audio().samples)[None]
        frames = recording.frames
        steps = self.encoder.hear(self.encoder.normalise(samples), 0, frames)[0][self.encoder.past :]
        at = np.rint(np.arange(frames) / (FPS * STEP)).astype(np.int64)
        reach = round(BESIDE / STEP)
        around = F.pad(steps.T[None], (reach, reach), mode="replicate")[0].T.numpy()
        return np.concatenate([around[at + shift] for shift in (0, reach, 2 * reach)], axis=1)


def loudness(recording: Recording) -> NDArray[np.float32]:
    """(T,) loudness of each frame, dB over silence, as a share of the take's loud frames."""
    samples = recording.audio().samples
    step = SAMPLE_RATE / FPS
    edges = np.round(np.arange(recording.frames + 1) * step).astype(int)
    power = np.add.reduceat(np.append(samples, 0.0) ** 2, np.minimum(edges[:-1], len(samples))) / step
    decibels = 10 * np.log10(power / QUIET**2 + 1)
    return (decibels / max(1.0, float(np.quantile(decibels, 0.95)))).astype(np.float32)


def _with_one(loud: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([np.ones(len(loud), np.float32), loud], axis=1)
