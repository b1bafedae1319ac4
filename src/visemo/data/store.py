"""The prepared-data store: one layout for every source of motion.

    DIR/manifest.json                    written last: a folder without it is no store
    DIR/subjects/<subject>.npy           (V, 3) float32 m, that subject's neutral
    DIR/subjects/<subject>.shapes.npy    (M, V, 3) float32 m, only where the truth is given as weights
    DIR/takes/<id>.npy                   (T, V, 3) float16 or float32 m, displacement from the neutral; memory-mappable
    DIR/takes/<id>.wav                   16 kHz mono PCM16
    DIR/takes/<id>.phones.json           [[phone, start s, end s], ...]
    DIR/transfer.npz                     only where a registration carried the motion over: which points of the source
    DIR/truth/<id>.<name>.npy            (T, M) float32 weights of the subject's shapes, or (T, V, 3) m

Frame k of a take shows the time k / fps. Motion is kept at its native rate and resampled when loaded.
While a store is being written, `journal.jsonl` lists the takes that are finished, so that writing can go on later.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from visemo.data.frames import frames_after_resampling, frames_at, resample, worn_frames
from visemo.data.store_writer import StoreWriter
from visemo.data.takes import (
    KINDS,
    MANIFEST,
    SCHEMA,
    SPLIT_PARTS,
    TRANSFER,
    Fused,
    Pair,
    Precision,
    Segment,
    Take,
    take_of,
)
from visemo.face.face import Face
from visemo.types import FloatArray, VisemoError, Waveform
from visemo.units import SAMPLE_RATE

__all__ = [
    "KINDS", "MANIFEST", "SCHEMA", "SPLIT_PARTS", "TRANSFER", "Fused", "Pair", "Precision", "Segment", "Store",
    "StoreWriter", "Take", "open_store",
]  # fmt: skip


class _Header(NamedTuple):
    """Where the frames of a file begin, and what one of them is."""

    begin: int
    shape: tuple[int, ...]
    dtype: np.dtype


class Store:
    """An opened store. Arrays are read when asked for; motion stays on disk until indexed."""

    OPEN_MAPS = 256  # each memory map holds a file descriptor
    OPEN_BYTES = 1 << 30  # and its pages count as this process's memory for as long as it is open

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder = folder
        self.manifest = manifest
        self.sequences = tuple(take_of(row) for row in manifest["sequences"])
        self.subjects: tuple[str, ...] = tuple(manifest["subjects"])
        self.fps: float = manifest["fps"]
        self.pairs = tuple(Pair(*pair) for pair in manifest["pairs"])
        self._maps: OrderedDict[str, np.memmap] = OrderedDict()
        self._mapped = 0
        self._headers: dict[str, _Header] = {}

    @cached_property
    def _by_id(self) -> dict[str, Take]:
        return {take.id: take for take in self.sequences}

    def sequence(self, id: str) -> Take:
        """The manifest's row for one sequence. Raises VisemoError for an unknown id."""
        if id not in self._by_id:
            raise VisemoError(f"{self.folder}: got sequence {id!r}, expected one of its {len(self._by_id)} takes")
        return self._by_id[id]

    def motion(self, id: str, fps: float | None = None) -> np.ndarray:
        """Displacements (T, V, 3) m from the subject's neutral: the memory map itself at the native rate, a view of
        every n-th frame of it at an n-th of that rate, a float32 array when `fps` asks for any other."""
        take, native = self.sequence(id), self._map(id)
        skip = take.fps / fps if fps else 1.0
        if skip >= 1 and skip.is_integer():  # what resampling would give, without reading what it leaves out
            return native[:: int(skip)][: frames_after_resampling(len(native), skip, 1.0)]
        return resample(native, take.fps, fps or take.fps)

    def _map(self, id: str) -> np.memmap:
        if id not in self._maps:
            self._maps[id] = np.load(self.folder / "takes" / f"{id}.npy", mmap_mode="r")
            self._mapped += self._maps[id].nbytes
            while len(self._maps) > 1 and (len(self._maps) > self.OPEN_MAPS or self._mapped > self.OPEN_BYTES):
                self._mapped -= self._maps.popitem(last=False)[1].nbytes
        self._maps.move_to_end(id)
        return self._maps[id]

    def frames(self, id: str, chosen: np.ndarray, fps: float | None = None) -> np.ndarray:
        """What `motion(id, fps)[chosen]` is, (n, V, 3), for scattered frames `chosen` (n,): read one by one.

        A memory map would bring in megabytes around each of them. Raises VisemoError for a file that breaks off.
        """
        take = self.sequence(id)
        position = np.clip(np.asarray(chosen) * (take.fps / (fps or take.fps)), 0, take.frames - 1)
        low = position.astype(np.int64)
        if (low == position).all():
            return self._read(id, low)
        both = self._read(id, np.stack([low, np.minimum(low + 1, take.frames - 1)], axis=1).ravel())
        return frames_at(both, np.arange(len(low)) * 2 + (position - low))

    def _read(self, id: str, rows: np.ndarray) -> np.ndarray:
        """Native frames (n, V, 3) in the precision of the file."""
        path = self.folder / "takes" / f"{id}.npy"
        with path.open("rb", buffering=0) as file:
            if id not in self._headers:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                self._headers[id] = _Header(file.tell(), shape[1:], dtype)
            begin, shape, dtype = self._headers[id]
            frames = np.empty((len(rows), *shape), dtype)
            for frame, row in zip(frames, rows.tolist()):
                if os.preadv(file.fileno(), [frame.data], begin + row * frame.nbytes) != frame.nbytes:
                    raise VisemoError(f"{path}: got a file that breaks off in frame {row}; prepare the data again")
        return frames

    def truth(self, id: str, name: str) -> FloatArray:
        """Planted truth (T, V, 3) float32 m, `name` one of the take's own (speech_pure, expression_pure).

        Raises VisemoError when the take carries no such truth.
        """
        stored = self.truth_weights(id, name)
        if stored.ndim == 3:
            return stored
        shapes = self.shapes(self.sequence(id).subject)
        return (stored @ shapes.reshape(len(shapes), -1)).reshape(len(stored), -1, 3)

    def truth_weights(self, id: str, name: str) -> FloatArray:
        """The truth as it is stored: (T, M) float32 weights of the subject's shapes, or (T, V, 3) float32 m."""
        take = self.sequence(id)
        if name not in take.truth:
            known = ", ".join(take.truth) or "none (no planted store)"
            raise VisemoError(f"{self.folder}: got truth {name!r} of {id}, expected one of: {known}")
        return np.load(self.folder / "truth" / f"{id}.{name}.npy").astype(np.float32, copy=False)

    def fused(self, pair: Pair) -> Fused:
        """Truth of a pair: speech_pure of one take plus expression_pure of the other, over the speech's frames."""
        speech, expression = (self.sequence(id) for id in pair)
        worn = worn_frames(speech.frames, expression.frames)
        emotion = self.truth(expression.id, "expression_pure")[worn]
        return Fused(worn, self.truth(speech.id, "speech_pure") + emotion)

    def audio(self, id: str, start: float = 0.0, seconds: float | None = None) -> Waveform:
        """The take's sound at 16 kHz, or `seconds` of it from `start`. Raises VisemoError for a silent take."""
        import soundfile

        path = self.folder / "takes" / f"{self.sequence(id).id}.wav"
        if not path.exists():
            raise VisemoError(f"{self.folder}: got no sound with {id}, expected a speech take")
        count = -1 if seconds is None else round(seconds * SAMPLE_RATE)
        samples, rate = soundfile.read(path, start=round(start * SAMPLE_RATE), frames=count, dtype="float32")
        return Waveform(np.asarray(samples, np.float32), rate)

    def phones(self, id: str) -> tuple[Segment, ...]:
        """Phone segments of a speech take, in order; empty when the source has none."""
        path = self.folder / "takes" / f"{self.sequence(id).id}.phones.json"
        return tuple(Segment(*row) for row in json.loads(path.read_text())) if path.exists() else ()

    def neutral(self, subject: str) -> FloatArray:
        """(V, 3) float32 m: the subject's face at rest. Raises VisemoError with the list of subjects."""
        self._check_subject(subject)
        return np.load(self.folder / "subjects" / f"{subject}.npy")

    def shapes(self, subject: str) -> FloatArray:
        """(M, V, 3) float32 m: the subject's own planted shapes; VisemoError when the source has none."""
        self._check_subject(subject)
        path = self.folder / "subjects" / f"{subject}.shapes.npy"
        if not path.exists():
            raise VisemoError(f"{self.folder}: got no shapes of {subject}, expected a planted store")
        return np.load(path)

    def _check_subject(self, subject: str) -> None:
        if subject not in self.subjects:
            raise VisemoError(f"{self.folder}: got subject {subject!r}, expected one of {', '.join(self.subjects)}")

    def split(self, name: str) -> dict[str, tuple[str, ...]]:
        """Sequence ids of "train", "val" and "test". Raises VisemoError with the list of splits."""
        splits = self.manifest["splits"]
        if name not in splits:
            raise VisemoError(f"{self.folder}: got split {name!r}, expected one of {', '.join(splits) or 'none'}")
        return {part: tuple(splits[name][part]) for part in SPLIT_PARTS}

    def check_face(self, face: Face) -> None:
        """Refuse a face of another topology: its vertices would be moved by another face's motion."""
        own = self.manifest["face"]
        if face.topology_hash != own["topology"]:
            raise VisemoError(
                f"{self.folder}: got face {face.name} ({len(face.template)} vertices, topology {face.topology_hash}), "
                f"expected {own['name']} ({own['vertices']}, {own['topology']}); prepare the data anew"
            )


def open_store(folder: Path | str) -> Store:
    """Open a finished store for reading.

    Raises VisemoError for a missing folder, a half-written store, another schema, a damaged manifest
    or missing files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VisemoError(f"{folder}: got no such folder, expected a store; make one with `visemo prepare`")
    if not (folder / MANIFEST).exists():
        half = (folder / "takes").is_dir()
        got = "a half-written store" if half else "no manifest.json"
        todo = "prepare it again, with the same words to go on where it stopped" if half else "prepare it first"
        raise VisemoError(f"{folder}: got {got}, expected a finished store; {todo}")
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        schema = manifest["schema"]
        if schema != SCHEMA:
            raise VisemoError(f"{folder}: got schema {schema}, expected {SCHEMA}; prepare the data again")
        store = Store(folder, manifest)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise VisemoError(f"{folder}: got a damaged manifest.json ({error}); prepare the data again") from error
    needed = [folder / "takes" / f"{take.id}.npy" for take in store.sequences]
    needed += [folder / "subjects" / f"{subject}.npy" for subject in store.subjects]
    for path in needed:
        if not path.exists():
            raise VisemoError(f"{folder}: got no {path.relative_to(folder)}, expected it; prepare the data again")
    return store
