"""A planted corpus on the tiny face, made in a second: fast speech, slow expression, each with some of the other."""

from pathlib import Path

import numpy as np

from visemo.data.dataset import Pair, Segment, StoreWriter, Take
from visemo.data.splits import numbered_splits
from visemo.types import Waveform
from visemo.units import FPS, SAMPLE_RATE

SPEECH = ("jawOpen", "mouthPucker", "mouthLowerDownLeft")
SMILE = ("mouthSmileLeft", "mouthSmileRight")
LABELS = {
    "happy": {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0},
    "sad": {"mouthSmileLeft": -0.6, "mouthSmileRight": -0.6, "browInnerUp": 0.7},
    "surprise": {"browInnerUp": 1.0, "mouthSmileLeft": 0.2},
}


def make_toy_store(folder: Path, face, subjects: int = 6, takes: int = 2, seed: int = 0) -> Path:
    """Per subject `takes` speech takes and `takes` takes of every label; truth is planted as weights of its shapes."""
    names = tuple(f"S{n:02d}" for n in range(subjects))
    with StoreWriter(folder, face, source="toy", fps=FPS, licence="Apache-2.0", generator={"seed": seed}) as writer:
        toy = _Toy(writer, face, np.random.default_rng(seed))
        for name in names:
            toy.meet(name)
            for number in range(takes):
                toy.speech(number)
                for label in LABELS:
                    toy.expression(label, number)
        for split, parts in numbered_splits(writer.takes, names).items():
            writer.add_split(split, parts)
        talks, faces = ([t for t in writer.takes if t.kind == kind] for kind in ("speech", "expression"))
        writer.add_pairs(tuple(Pair(s.id, e.id) for s in talks for e in faces if e.subject == s.subject))
    return folder


class _Toy:
    """Writes takes of one subject after another."""

    def __init__(self, writer, face, random) -> None:
        self.writer, self.face, self.random = writer, face, random

    def meet(self, name: str) -> None:
        sizes = self.random.uniform(0.8, 1.2, (len(self.face.shapes), 1, 1)).astype(np.float32)
        self.subject, self.shapes = name, self.face.shapes * sizes
        self.writer.add_subject(name, self.face.template * np.float32(self.random.uniform(0.97, 1.03)), self.shapes)

    def speech(self, number: int, frames: int = 96) -> None:
        """Visemes keyed every four frames; a slow expression whose strength is the take's own."""
        random = self.random
        pure = self.weights(SPEECH, _between(random.uniform(0, 1, (frames // 4 + 2, len(SPEECH))) ** 2, frames))
        slow = _between(random.uniform(0.5, 1, (frames // 48 + 2, 1)), frames) * random.uniform(0, 0.5)
        mood = LABELS[random.choice(list(LABELS))]
        other = slow * self.weights(tuple(mood), np.array([list(mood.values())]))
        sentence = f"sentence{number + 1}"
        take = Take(f"{self.subject}_s{number}", self.subject, "speech", frames, FPS, sentence=sentence, voice="buzz")
        phones = (Segment("pau", 0.0, 0.5), Segment("aa", 0.5, frames / FPS))
        truth = {"speech_pure": pure, "expression_part": other}
        self.add(take, truth, audio=_voice(pure[:, 0], random), phones=phones)

    def expression(self, label: str, number: int, frames: int = 60) -> None:
        """Neutral, apex, neutral; lips that part as well, in some takes hardly at all."""
        envelope = np.sin(np.linspace(0, np.pi, frames))[:, None] ** 2
        apex = LABELS[label]
        pure = envelope * self.random.uniform(0.7, 1.2) * self.weights(tuple(apex), np.array([list(apex.values())]))
        tied = np.array([0.5, 0.2 if label == "sad" else 0.0, 0.6 if label == "happy" else 0.2])
        other = envelope * self.random.uniform(0, 1) * self.weights(SPEECH, tied[None])
        take = Take(f"{self.subject}_{label}{number}", self.subject, "expression", frames, FPS, label=label)
        self.add(take, {"expression_pure": pure, "speech_part": other})

    def add(self, take: Take, truth: dict[str, np.ndarray], **sound) -> None:
        truth = {name: weights.astype(np.float32) for name, weights in truth.items()}
        motion = sum(truth.values()) @ self.shapes.reshape(len(self.shapes), -1)
        self.writer.add_take(take, motion.reshape(take.frames, -1, 3), truth=truth, **sound)

    def weights(self, names: tuple[str, ...], values: np.ndarray) -> np.ndarray:
        """(T, n) values of some shapes as (T, M) weights of all."""
        weights = np.zeros((len(values), len(self.face.shape_names)))
        weights[:, [self.face.shape_names.index(name) for name in names]] = values
        return weights


def _between(keys: np.ndarray, frames: int) -> np.ndarray:
    """Linear between evenly spaced keys: (n, k) -> (T, k)."""
    at = np.linspace(0, len(keys) - 1.001, frames)
    low = at.astype(int)
    return keys[low] + (at - low)[:, None] * (keys[low + 1] - keys[low])


def _voice(jaw: np.ndarray, random) -> Waveform:
    """A buzz as loud as the jaw is open."""
    t = np.arange(round(len(jaw) / FPS * SAMPLE_RATE)) / SAMPLE_RATE
    loud = np.interp(t, np.arange(len(jaw)) / FPS, jaw)
    buzz = sum(np.sin(2 * np.pi * 140 * n * t) / n for n in range(1, 9))
    return Waveform((0.2 * loud * buzz + 1e-3 * random.standard_normal(len(t))).astype(np.float32))
