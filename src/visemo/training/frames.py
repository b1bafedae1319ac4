"""Single frames of a data set in memory, with all that a step of the fusion recipe wants to know of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from visemo.models import losses
from visemo.models.fusion import Fusion
from visemo.training.corpus import Recording
from visemo.training.split import Split
from visemo.types import VisemoError

CHUNK = 256  # frames handled at a time
MEMORY_SHARE = 0.7  # of the machine's memory that a pool may ask for while it is put together


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """B frames: what the encoder reads, and fields (B, n, 3) m at n chosen vertices."""

    inputs: Tensor  # (B, 3, H, W) m geometry maps, or (B, V, 3) m for an encoder without
    moved: Tensor  # displacements
    leak: Tensor  # the part of them that belongs to the other factor; zero without a split
    rest_curvature: Tensor  # `losses.curvature` of the sequence's neutral


@dataclass(frozen=True, eq=False)
class FramePool:
    """N frames of one kind of takes."""

    frames: Tensor  # (N, V, 3) float16 m
    inputs: Tensor  # (N, 3, H, W) float16 m, or `frames`
    rows: Tensor  # (N,) into rest_curvature
    rest_curvature: Tensor  # (R, V, 3) m
    leaks: Tensor  # (N, P) coordinates of the other factor's part, m, by the map of each frame's label
    shared: Tensor  # (N, P) the same by the one map for all labels
    directions: Tensor  # (P, V, 3), whose coordinates these are

    def batch(self, chosen: Tensor, vertices: Tensor, device: torch.device, factor: Tensor | None = None) -> FrameBatch:
        """Frames `chosen` (B,) at `vertices` (n,), each scaled by its factor (B,): displacements are linear."""
        scale = torch.ones(len(chosen)) if factor is None else factor
        directions = self.directions[:, vertices]
        leak = ((scale[:, None] * self.leaks[chosen]) @ directions.flatten(1)).view(len(chosen), -1, 3)
        moved = scale[:, None, None] * self.frames[chosen[:, None], vertices].float()
        seen = self.inputs[chosen].float()
        seen = seen * scale.view(-1, *[1] * (seen.ndim - 1))
        rest = self.rest_curvature[self.rows[chosen][:, None], vertices]
        return FrameBatch(*(tensor.to(device) for tensor in (seen, moved, leak, rest)))

    def whole(self, vertices: Tensor, device: torch.device) -> FrameBatch:
        """All frames at `vertices`."""
        return self.batch(torch.arange(len(self.frames)), vertices, device)

    def chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All frames, and their leaks by one linear map, (n, V, 3) float32 m."""
        for frames, leaks in zip(self.frames.split(CHUNK), self.shared.split(CHUNK)):
            yield frames.float(), (leaks @ self.directions.flatten(1)).view(frames.shape)


def draw_pool(
    recordings: Sequence[Recording], limit: int, seed: int, *, model: Fusion, laplacian: Tensor, split: Split | None
) -> FramePool:
    """A random sample of single frames, each take giving its share.

    Parameters
    ----------
    recordings : takes of one kind
    limit : frames in all; 0 takes every frame
    model : whose encoders will read them
    split : divides every frame; without one nothing leaks

    Raises
    ------
    VisemoError
        For more frames than this machine's memory holds.
    """
    held = sum(r.frames for r in recordings)
    _check_memory(min(held, limit or held), model)
    frames, rows, _ = sample_frames(recordings, limit, seed)
    faces = {r.speaker: r.store.neutral(r.take.subject) for r in recordings}
    owner = torch.tensor([list(faces).index(r.speaker) for r in recordings])
    neutrals = torch.from_numpy(np.stack(list(faces.values())))
    inputs = frames
    if model.config.geometry_map:
        inputs = torch.cat([model.geomap.to_map(chunk.float()).half() for chunk in frames.split(CHUNK)])
    leaks, directions = torch.zeros(len(frames), 0), torch.zeros(0, *frames.shape[1:])
    shared = leaks
    if split is not None:
        seen = torch.cat([split.motion.coordinates(chunk.float()) for chunk in frames.split(CHUNK)])
        talk = recordings[0].take.kind == "speech"
        shared = seen @ (split.slow if talk else split.speech_of(""))
        leaks = shared.clone()
        for row, recording in enumerate(recordings if not talk else ()):
            leaks[rows == row] = seen[rows == row] @ split.speech_of(recording.take.label)
        directions = split.motion.directions.view(-1, *frames.shape[1:])
    return FramePool(frames, inputs, owner[rows], losses.curvature(laplacian, neutrals), leaks, shared, directions)


def _check_memory(count: int, model: Fusion) -> None:
    """Raise VisemoError, naming what would fit, for frames that the system would end the process for."""
    config = model.config
    size = 2 * 3 * (config.vertices + (config.map_size**2 if config.geometry_map else 0))  # bytes of a frame, float16
    memory = physical_memory()
    fitting = int(MEMORY_SHARE * memory / (2 * size))  # pieces and the whole stand side by side for a while
    if memory and count > fitting:
        rounded = fitting // 2000 * 1000 or fitting
        raise VisemoError(
            f"training: got {count} frames of {size / 1e3:.0f} kB, expected at most {fitting} for the "
            f"{memory / 1e9:.0f} GB of this machine; give --pool {rounded}, which draws that many"
        )


def physical_memory() -> int:
    """Bytes of memory that the machine has, 0 where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def sample_frames(recordings: Sequence[Recording], limit: int, seed: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """About `limit` random frames, each recording giving its share; 0 takes all.

    Returns
    -------
    frames (N, V, 3) float16 m, the row of its recording for each (N,), and its number in there (N,)
    """
    random = np.random.default_rng(seed)
    share = min(1.0, limit / sum(r.frames for r in recordings)) if limit else 1.0
    frames, rows, numbers = [], [], []
    for row, recording in enumerate(recordings):
        count = max(1, round(share * recording.frames))
        chosen = np.sort(random.choice(recording.frames, count, replace=False))
        frames.append(torch.from_numpy(recording.pick(chosen)).half())
        rows.append(torch.full((count,), row))
        numbers.append(chosen)
    return torch.cat(frames), torch.cat(rows), np.concatenate(numbers)
