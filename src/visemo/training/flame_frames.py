"""Frames of weights that a FLAME map is fitted to, and others that it is measured on.

A third is speech alone, a third expression alone, a third both together; the fit also sees each blendshape alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from visemo.assets import ASSETS
from visemo.media import load_audio
from visemo.models.checkpoint import Model
from visemo.models.expressions import MAX_INTENSITY
from visemo.training.corpus import Corpus, Recording
from visemo.training.frames import sample_frames
from visemo.types import FloatArray
from visemo.units import frame_count

SENTENCE = ASSETS / "speech.flac"
SPOKEN = 2 / 3  # of the sentence is fitted to, what comes after is held out
ALONE = 0.5  # weight of a blendshape that is seen alone, and its opposite; 1 is the largest in the model's own data


@dataclass(frozen=True, eq=False)
class Frames:
    """Weights (T, K), speech first, and where each frame is from."""

    weights: FloatArray
    names: tuple[str, ...]

    @classmethod
    def mixed(cls, speech: Half, expression: Half, count: int, seed: int) -> Frames:
        """`count` frames at random of each third, as far as there are; expressions in both up to full intensity."""
        random = np.random.default_rng(seed)
        spoken, shown = (random.permutation(len(half.weights))[:count] for half in (speech, expression))
        pairs = [random.integers(len(half.weights), size=count) for half in (speech, expression)]
        strength = random.uniform(0, MAX_INTENSITY, (count, 1)).astype(np.float32)
        none = [
            np.zeros((len(other), half.weights.shape[1]), np.float32)
            for half, other in ((expression, spoken), (speech, shown))
        ]
        weights = np.concatenate(
            [
                np.concatenate([speech.weights[spoken], none[0]], axis=1),
                np.concatenate([none[1], expression.weights[shown]], axis=1),
                np.concatenate([speech.weights[pairs[0]], strength * expression.weights[pairs[1]]], axis=1),
            ]
        )
        names = [speech.names[i] for i in spoken] + [expression.names[i] for i in shown]
        names += [
            f"{speech.names[i]} + {s:.2f} {expression.names[j]}" for i, j, s in zip(*pairs, strength[:, 0].tolist())
        ]
        return cls(weights, tuple(names))

    def with_blendshapes(self) -> Frames:
        """The same and each blendshape alone, both ways."""
        alone = ALONE * np.eye(self.weights.shape[1], dtype=np.float32)
        names = tuple(f"blendshape {sign}{k}" for sign in "+-" for k in range(len(alone)))
        return Frames(np.concatenate([self.weights, alone, -alone]), self.names + names)


@dataclass(frozen=True, eq=False)
class Half:
    """Weights (T, K_A) or (T, K_E), and where each frame is from."""

    weights: FloatArray
    names: tuple[str, ...]


def frames_of_model(model: Model, count: int, seed: int) -> tuple[Frames, Frames]:
    """Fitted and held-out frames of what a model carries: the bundled sentence in every speaking style it knows, and
    its expression library, of which the last take of each expression is held out."""
    spoken = [_said(model, subject) for subject in model.speech.config.subjects]
    cut = round(SPOKEN * len(spoken[0].weights))
    takes = [
        (f"{name}/{number}", take.weights, len(group) > 1 and number == len(group) - 1)
        for name, group in model.expressions.takes.items()
        for number, take in enumerate(group)
    ]
    found = []
    for held in (False, True):
        part = slice(cut, None) if held else slice(cut)
        speech = _joined([(half.weights[part], half.names[part]) for half in spoken])
        chosen = [(name, weights) for name, weights, last in takes if last == held] or [t[:2] for t in takes]
        expression = _joined([(w, tuple(f"{name} frame {t}" for t in range(len(w)))) for name, w in chosen])
        found.append(Frames.mixed(speech, expression, _third(count, held), seed + held))
    return found[0].with_blendshapes(), found[1]


def frames_of_stores(model: Model, corpus: Corpus, count: int, seed: int) -> tuple[Frames, Frames]:
    """The same of data sets, encoded by the model: fitted to their training takes, held out of those to validate
    with. Raises VisemoError where either has no speech or no expression."""
    found = []
    for part, held in (("train", False), ("val", True)):
        third = _third(count, held)
        halves = [_encoded(model, corpus.takes(part, kind), third, seed) for kind in ("speech", "expression")]
        found.append(Frames.mixed(halves[0], halves[1], third, seed + held))
    return found[0].with_blendshapes(), found[1]


def _third(count: int, held: bool) -> int:
    return max(1, count // (12 if held else 3))


@torch.inference_mode()
def _said(model: Model, subject: str) -> Half:
    """w_A of the bundled sentence in the style of a subject (Eq. 2, 3)."""
    sound = load_audio(SENTENCE)
    frames = frame_count(sound.seconds, model.speech.config.audio.fps)
    device = model.fusion.decoder.weight.device
    samples = torch.from_numpy(sound.samples).to(device)
    moved = model.speech.generate(samples, model.speech.style_of(subject), frames)
    weights = model.fusion.encode_speech(moved)[0].cpu().numpy()
    return Half(weights, tuple(f"{SENTENCE.stem} as {subject} frame {t}" for t in range(frames)))


@torch.inference_mode()
def _encoded(model: Model, recordings: Sequence[Recording], limit: int, seed: int) -> Half:
    """w_A or w_E of some frames of takes of one kind (Eq. 3, 4)."""
    frames, rows, numbers = sample_frames(recordings, limit, seed)
    device = model.fusion.decoder.weight.device
    speech = recordings[0].take.kind == "speech"
    weights = []
    for block in frames.split(model.fusion.config.block):
        moved = block.float().to(device)
        weights.append(
            (model.fusion.encode_speech(moved)[0] if speech else model.fusion.encode_expression(moved)[1]).cpu()
        )
    names = [f"{recordings[row].take.id} frame {number}" for row, number in zip(rows.tolist(), numbers.tolist())]
    return Half(torch.cat(weights).numpy(), tuple(names))


def _joined(parts: Sequence[tuple[FloatArray, tuple[str, ...]]]) -> Half:
    return Half(np.concatenate([weights for weights, _ in parts]), tuple(name for _, names in parts for name in names))
