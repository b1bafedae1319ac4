"""One pair of recordings and the truth about the face that has both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visemo.data.frames import resample, single, worn_frames
from visemo.data.store import KINDS, Pair, Segment, Store
from visemo.training.corpus import Corpus, Recording
from visemo.types import FloatArray, VisemoError
from visemo.units import FPS

WORN = 2  # expressions that every talk of the validation part is paired with


@dataclass(frozen=True, eq=False)
class Scene:
    """Recordings and pure parts, (T, V, 3) m at `FPS`; expressions are stretched over the talk."""

    name: str
    label: str
    neutral: FloatArray  # (V, 3) m
    phones: tuple[Segment, ...]
    talk: FloatArray
    face: FloatArray
    speech: FloatArray
    expression: FloatArray

    @property
    def truth(self) -> FloatArray:
        """The pure parts together."""
        return self.speech + self.expression


def read_scene(store: Store, pair: Pair) -> Scene:
    """A pair of a planted store. Raises VisemoError for a store without truth."""
    talk, face = (Recording(store, store.sequence(id)) for id in pair)
    worn = worn_frames(talk.frames, face.frames)
    return Scene(
        f"{store.folder.name}-{talk.take.id}-{face.take.id}", face.take.label, store.neutral(talk.take.subject),
        talk.phones(), single(talk.motion()), single(face.motion())[worn],
        _truth(talk, "speech_pure"), _truth(face, "expression_pure")[worn],
    )  # fmt: skip


def named_pairs(corpus: Corpus) -> list[tuple[Store, Pair]]:
    """Those that the stores name and of which nothing was trained on. Raises VisemoError when there are none."""
    held = {(r.store.folder, r.take.id) for kind in KINDS for r in corpus.takes("test", kind)}
    named = [(store, pair) for store in corpus.stores for pair in store.pairs]
    found = [(store, pair) for store, pair in named if all((store.folder, id) in held for id in pair)]
    if not found:
        names = ", ".join(str(store.folder) for store in corpus.stores)
        raise VisemoError(f"{names}: got no pairs to compare on, expected a planted store")
    return found


def validation_pairs(corpus: Corpus, seed: int) -> list[tuple[Store, Pair]]:
    """Every talk of the validation part with `WORN` expressions of the same person, all of them in turn.

    Raises VisemoError for a corpus without validation takes of one kind, or of nobody who has both.
    """
    random = np.random.default_rng(seed)
    talks, faces = (corpus.takes("val", kind) for kind in ("speech", "expression"))
    found = []
    for speaker in dict.fromkeys(talk.speaker for talk in talks):
        own = [face for face in faces if face.speaker == speaker]
        order = random.permutation(len(own)).tolist()
        said = [talk for talk in talks if talk.speaker == speaker]
        for k, talk in enumerate(said if own else ()):
            for j in range(min(WORN, len(own))):
                worn = own[order[(WORN * k + j) % len(own)]]
                found.append((talk.store, Pair(talk.take.id, worn.take.id)))
    if not found:
        raise VisemoError(f"validation: got no speaker among {len(talks)} talks with expressions too, expected some")
    return found


def some(pairs: Sequence[tuple[Store, Pair]], limit: int) -> list[tuple[Store, Pair]]:
    """At most `limit` of them, from the first to the last; 0 for all."""
    if not limit or len(pairs) <= limit:
        return list(pairs)
    return [pairs[k] for k in np.linspace(0, len(pairs) - 1, limit).round().astype(int)]


def _truth(recording: Recording, name: str) -> FloatArray:
    return single(resample(recording.truth(name), recording.take.fps, FPS))
