"""What a model answers to the takes of a corpus: each is asked once, and its weights are kept.

Weights (T, K) are all that the fusion module gives: [w_A | eps_A] of a speech take, [eps_E | w_E] of an expression
take. Motion is decoded again where it is needed, at the vertices where it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visemo.data.frames import resample, single
from visemo.models.checkpoint import Model
from visemo.training.corpus import Corpus, Recording
from visemo.types import FloatArray, IntArray
from visemo.units import FPS, MM_PER_M

BLOCK = 64  # frames whose every vertex is held at once


@dataclass(frozen=True, eq=False)
class Spoken:
    """A speech take as the model says it: `latents` (T, D) of the speech model, E_a's weights (T, K) of its motion,
    and `error` (V,) mm, how far that motion is from the recorded one, mean over frames."""

    latents: FloatArray
    weights: FloatArray
    error: FloatArray


class Answers:
    """One model's answers to the takes of one corpus; call it in `torch.inference_mode`."""

    def __init__(self, model: Model, corpus: Corpus) -> None:
        self.model, self.corpus = model, corpus
        self.basis = np.ascontiguousarray(model.fusion.basis.numpy())  # (K, V, 3) m
        flat = MM_PER_M * self.basis.reshape(len(self.basis), -1)
        self._gram = flat @ flat.T / self.basis.shape[1]
        self.speech_shapes = model.fusion.config.speech_shapes
        weight, bias = model.speech.output_basis()
        self._output = weight.flatten(1), bias.flatten()
        self._spoken: dict[tuple[Path, str], Spoken] = {}
        self._weights: dict[tuple[Path, str], FloatArray] = {}

    def name(self, recording: Recording) -> str:
        """What a take is called in the report: its own name, after the store's where there are several."""
        folders = [store.folder for store in self.corpus.stores]
        if len(folders) == 1:
            return recording.take.id
        clear = len({folder.name for folder in folders}) == len(folders)
        folder = recording.store.folder
        return f"{folder.name if clear else folder}/{recording.take.id}"

    def weights(self, recording: Recording) -> FloatArray:
        """(T, K) of a recorded take, from the encoder of its kind."""
        name = recording.store.folder, recording.take.id
        if name not in self._weights:
            blocks = [self.encode(recording.take.kind, block) for block in recording.blocks(size=BLOCK)]
            self._weights[name] = np.concatenate(blocks)
        return self._weights[name]

    def spoken(self, recording: Recording) -> Spoken:
        """A speech take, from its sound alone."""
        name = recording.store.folder, recording.take.id
        if name not in self._spoken:
            samples = torch.from_numpy(recording.audio().samples)
            latents = self.model.speech.latents(samples, self._style(recording), recording.frames)
            weights, off = [], torch.zeros(len(self.model.face.template))
            for said, recorded in zip(latents.split(BLOCK), recording.blocks(size=BLOCK)):
                moved = self._moved(said)
                weights.append(self.encode("speech", moved))
                off += (moved - recorded).norm(dim=2).sum(dim=0)
            error = (off * (MM_PER_M / recording.frames)).numpy()
            self._spoken[name] = Spoken(latents.numpy(), np.concatenate(weights), error)
        return self._spoken[name]

    def neutral(self, recording: Recording) -> FloatArray:
        """(V, 3) m, the face at rest of who is recorded."""
        return recording.store.neutral(recording.take.subject)

    def energy(self, weights: FloatArray) -> float:
        """Mean square displacement (mm^2) over frames and vertices that weights (T, K) stand for."""
        return float(np.einsum("tk,kl,tl->t", weights, self._gram, weights).mean())

    def encode(self, kind: str, motion: Tensor) -> FloatArray:
        """Weights (T, K) of motion (T, V, 3) m, "speech" or "expression"."""
        fusion = self.model.fusion
        encoder = fusion.encode_speech if kind == "speech" else fusion.encode_expression
        return torch.cat(encoder(motion), dim=1).numpy()

    def said(self, latents: FloatArray, chosen: IntArray | slice = slice(None)) -> FloatArray:
        """The speech model's own motion (T, n, 3) m of latents (T, D) at some vertices."""
        weight, bias = (part.view(*part.shape[:-1], -1, 3).numpy() for part in self._output)
        return decoded(latents, weight[:, chosen]) + bias[chosen]

    def decoded(self, weights: FloatArray, chosen: IntArray | slice = slice(None)) -> FloatArray:
        """The fusion module's motion (T, n, 3) m of weights (T, K) at some vertices."""
        return decoded(weights, self.basis[:, chosen])

    def speech_half(self, weights: FloatArray) -> FloatArray:
        """`weights` (T, K) without the expression's: w_A of a speech take, eps_E of an expression take."""
        return np.where(np.arange(weights.shape[1]) < self.speech_shapes, weights, np.float32(0))

    def expression_half(self, weights: FloatArray) -> FloatArray:
        """`weights` (T, K) without the speech's: eps_A of a speech take, w_E of an expression take."""
        return np.where(np.arange(weights.shape[1]) < self.speech_shapes, np.float32(0), weights)

    def _moved(self, latents: Tensor) -> Tensor:
        weight, bias = self._output
        return torch.addmm(bias, latents, weight).view(len(latents), -1, 3)

    def _style(self, recording: Recording) -> Tensor:
        """A speaker's own style; the mean of all styles for one that the model has not met."""
        subjects, subject = self.model.speech.config.subjects, self.corpus.style_name(recording)
        if subject in subjects:
            return self.model.speech.style_of(subject)
        return torch.full((len(subjects),), 1.0 / len(subjects))


def recorded(recording: Recording, chosen: IntArray | slice = slice(None)) -> FloatArray:
    """(T, n, 3) float32 m of a take at some vertices, at `FPS`."""
    return single(recording.motion()[:, chosen])


def truth_of(recording: Recording, name: str) -> FloatArray:
    """(T, V, 3) float32 m of planted truth, at `FPS`."""
    return single(resample(recording.truth(name), recording.take.fps, FPS))


def decoded(weights: FloatArray, basis: FloatArray) -> FloatArray:
    """Motion (T, n, 3) m of weights (T, K) over a basis (K, n, 3) m."""
    return (weights @ basis.reshape(len(basis), -1)).reshape(len(weights), -1, 3)
