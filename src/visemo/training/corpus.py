"""The takes a run learns from: those of one or several stores, on one face, at the mesh frame rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visemo.data.dataset import Segment, Store, Take, open_store
from visemo.face.face import Face
from visemo.types import FloatArray, VisemoError, Waveform
from visemo.units import FPS

BLOCK = 256  # frames read at a time


@dataclass(frozen=True)
class Recording:
    """One take and the store it lies in."""

    store: Store
    take: Take

    @property
    def frames(self) -> int:
        """Length at `FPS`."""
        return max(1, round(self.take.frames * FPS / self.take.fps))

    @property
    def speaker(self) -> str:
        """Who it is, among all stores: each may have an S01."""
        return f"{self.store.folder}/{self.take.subject}"

    def motion(self) -> np.ndarray:
        """(T, V, 3) m at `FPS`: a float16 memory map, or float32 when the store has another rate."""
        return self.store.motion(self.take.id, FPS)

    def pick(self, chosen: np.ndarray) -> np.ndarray:
        """`motion()[chosen]` for scattered frames: nothing else is read."""
        return self.store.frames(self.take.id, chosen, FPS)

    def truth(self, name: str) -> FloatArray:
        """Planted truth (T, V, 3) float32 m at the take's own rate."""
        return self.store.truth(self.take.id, name)

    def audio(self) -> Waveform:
        return self.store.audio(self.take.id)

    def phones(self) -> tuple[Segment, ...]:
        return self.store.phones(self.take.id)

    def blocks(self, stride: int = 1, size: int = BLOCK) -> Iterator[Tensor]:
        """Every `stride`-th frame as (n, V, 3) float32 m, n <= size."""
        motion = self.motion()[::stride]
        for start in range(0, len(motion), size):
            yield torch.from_numpy(np.array(motion[start : start + size])).float()


class Corpus:
    """Takes of several stores under one division into train, val and test.

    Parameters
    ----------
    folders : stores, all prepared on `face`
    face : Face
    split : name of the division

    Raises
    ------
    VisemoError
        for no folder, a store that is none, one of another topology, or an unknown split
    """

    def __init__(self, folders: Sequence[Path | str], face: Face, split: str) -> None:
        if not folders:
            raise VisemoError("data: got no store, expected at least one; prepare one first")
        self.face = face
        self.stores = [open_store(folder) for folder in folders]
        self._parts: dict[str, list[Recording]] = {"train": [], "val": [], "test": []}
        for store in self.stores:
            store.check_face(face)
            for part, ids in store.split(split).items():
                self._parts[part] += [Recording(store, store.sequence(id)) for id in ids]

    def takes(self, part: str, kind: str) -> tuple[Recording, ...]:
        """Recordings of "train", "val" or "test" that are "speech" or "expression".

        Raises VisemoError when there is none.
        """
        found = tuple(r for r in self._parts[part] if r.take.kind == kind)
        if not found:
            names = ", ".join(str(store.folder) for store in self.stores)
            raise VisemoError(f"{names}: got no {kind} takes to {part} with, expected some; add a store that has them")
        return found

    def style_name(self, recording: Recording) -> str:
        """What a model calls the speaker's style: its subject, with the store's folder where several stores have one
        of that name."""
        subject = recording.take.subject
        shared = sum(subject in store.subjects for store in self.stores) > 1
        return f"{recording.store.folder.name}/{subject}" if shared else subject

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What a model has to say about its data."""
        keys = ("source", "licence", "generator")
        return [{"name": s.folder.name, **{key: s.manifest.get(key) for key in keys}} for s in self.stores]


def thin(recordings: Sequence[Recording], limit: int) -> int:
    """Stride that leaves about `limit` frames of all of them; 0 keeps every frame."""
    total = sum(r.frames for r in recordings)
    return max(1, round(total / limit)) if limit else 1
