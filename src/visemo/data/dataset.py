"""What training reads: random frames and random windows of a store, resumable to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visemo.data.frames import frames_after_resampling, frames_at, resample, single, worn_frames
from visemo.data.store import SCHEMA, Fused, Pair, Segment, Store, StoreWriter, Take, open_store
from visemo.types import FloatArray, VisemoError
from visemo.units import FPS, SAMPLE_RATE

__all__ = [
    "SCHEMA", "ClipBatch", "ClipSampler", "FrameBatch", "FrameSampler", "Fused", "Pair", "Segment", "Store",
    "StoreWriter", "Take", "frames_at", "open_store", "resample", "worn_frames",
]  # fmt: skip

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """B single frames: `motion` (B, V, 3) float32 m, and where each comes from."""

    motion: FloatArray
    subject: Indices  # (B,) row of Store.subjects
    sequence: Indices  # (B,) row of FrameSampler.ids
    frame: Indices  # (B,) native frame


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """B windows of T frames: `samples` (B, S) float32 16 kHz; `motion` (B, T, V, 3) float32 m.

    Takes shorter than the window are followed by silence and rest; `valid` (B, T) is False there.
    """

    samples: FloatArray
    motion: FloatArray
    valid: NDArray[np.bool_]
    subject: Indices  # (B,) row of Store.subjects
    sequence: Indices  # (B,) row of ClipSampler.ids
    start: Indices  # (B,) first frame, at the sampler's rate


class _Sampler:
    """Draws from some takes of a store with its own generator, whose state can be kept and put back."""

    def __init__(self, store: Store, ids: tuple[str, ...], seed: int):
        if not ids:
            raise VisemoError(f"{store.folder}: got no takes to sample from, expected at least one")
        self.store = store
        self.ids = tuple(ids)
        self.takes = tuple(store.sequence(id) for id in self.ids)
        self._subject = np.array([store.subjects.index(take.subject) for take in self.takes], dtype=np.int64)
        self._random = np.random.default_rng(seed)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: what `load_state_dict` needs to draw the same batches from here on."""
        return {"generator": self._random.bit_generator.state, "takes": len(self.ids)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken. Raises VisemoError for a state of other data."""
        if state.get("takes") != len(self.ids):
            raise VisemoError(f"sampler: got a state over {state.get('takes')} takes, expected {len(self.ids)} takes")
        self._random.bit_generator.state = state["generator"]


class FrameSampler(_Sampler):
    """Single frames, drawn uniformly over all frames of the takes `ids` (native rate)."""

    def __init__(self, store: Store, ids: tuple[str, ...], seed: int = 0):
        super().__init__(store, ids, seed)
        self._ends = np.cumsum([take.frames for take in self.takes])

    def batch(self, size: int) -> FrameBatch:
        """Draw `size` frames."""
        flat = self._random.integers(self._ends[-1], size=size)
        sequence = np.searchsorted(self._ends, flat, side="right").astype(np.int64)
        frame = flat - np.concatenate([[0], self._ends])[sequence]
        motion = self.read(sequence, frame)
        return FrameBatch(motion, self._subject[sequence], sequence, frame)

    def read(self, sequence: Indices, frame: Indices) -> FloatArray:
        """(B, V, 3) float32 m: the frames `frame` of the takes `ids[sequence]`, straight from the files."""
        motion = np.empty((len(frame), self.store.manifest["face"]["vertices"], 3), np.float32)
        for take in np.unique(sequence):
            rows = np.flatnonzero(sequence == take)
            rows = rows[np.argsort(frame[rows])]  # in file order: reads go forward
            motion[rows] = single(self.store.frames(self.ids[take], frame[rows]))
        return motion


class ClipSampler(_Sampler):
    """Windows of `frames` frames at `fps` with their sound, drawn uniformly over all possible windows."""

    def __init__(self, store: Store, ids: tuple[str, ...], frames: int, fps: float = FPS, seed: int = 0):
        super().__init__(store, ids, seed)
        silent = [take.id for take in self.takes if take.kind != "speech"]
        if silent or frames < 1:
            got = f"the silent take {silent[0]}" if silent else f"windows of {frames} frames"
            raise VisemoError(f"clip sampler: got {got}, expected speech takes and windows of 1 frame or more")
        self.frames, self.fps = frames, fps
        lengths = [frames_after_resampling(take.frames, take.fps, fps) for take in self.takes]
        self._windows = np.array([max(1, n - frames + 1) for n in lengths])

    def batch(self, size: int) -> ClipBatch:
        """Draw `size` windows."""
        ends = np.cumsum(self._windows)
        flat = self._random.integers(ends[-1], size=size)
        sequence = np.searchsorted(ends, flat, side="right").astype(np.int64)
        start = flat - (ends - self._windows)[sequence]
        parts = [self.read(s, t) for s, t in zip(sequence, start)]
        samples, motion, valid = (np.stack(column) for column in zip(*parts))
        return ClipBatch(samples, motion, valid, self._subject[sequence], sequence, start)

    def read(self, sequence: int, start: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """One window: sound (S,), motion (T, V, 3) m, valid (T,)."""
        take = self.takes[sequence]
        motion = _window(self.store.motion(take.id), take.fps, self.fps, start, self.frames)
        seconds = self.frames / self.fps
        samples = self.store.audio(take.id, start / self.fps, seconds).samples
        padded = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
        padded[: len(samples)] = samples[: len(padded)]
        valid = np.arange(self.frames) < len(motion)
        missing = self.frames - len(motion)
        motion = np.concatenate([motion, np.zeros((missing, *motion.shape[1:]), np.float32)]) if missing else motion
        return padded, motion, valid


def _window(motion: np.ndarray, source: float, target: float, start: int, frames: int) -> FloatArray:
    """At most `frames` frames of the resampled motion from `start` on, reading only what they need."""
    stop = min(start + frames, frames_after_resampling(len(motion), source, target))
    if source == target:
        return single(motion[start:stop])
    position = np.arange(start, stop) * (source / target)
    first, last = int(position[0]), int(np.ceil(position[-1])) + 1
    return frames_at(motion[first:last], position - first)
