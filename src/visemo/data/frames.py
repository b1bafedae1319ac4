"""Frames of motion: their precision on disk, and their times. Frame k of a take shows the time k / fps."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from visemo.types import FloatArray


def half(array: np.ndarray) -> NDArray[np.float16]:
    """As float16. numpy is slow at the subnormal numbers that most displacements in metres become; torch is not."""
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).half().numpy()


def single(array: np.ndarray) -> FloatArray:
    """As float32, from the float16 of a store."""
    if array.dtype != np.float16:
        return array.astype(np.float32, copy=False)
    return torch.from_numpy(np.array(array)).float().numpy()  # a copy: torch wants memory that it may write


def frames_at(motion: np.ndarray, position: np.ndarray) -> FloatArray:
    """Motion (T, ...) at fractional frames `position` (n,), linear between frames, held beyond the ends; float32."""
    position = np.clip(position, 0, len(motion) - 1)
    low = position.astype(np.int64)
    high = np.minimum(low + 1, len(motion) - 1)
    blend = (position - low).astype(np.float32).reshape(-1, *[1] * (motion.ndim - 1))
    mixed = single(motion[low]) * (1 - blend) + single(motion[high]) * blend
    return mixed.astype(np.float32, copy=False)


def frames_after_resampling(frames: int, source_fps: float, target_fps: float) -> int:
    """How many frames a take of `frames` frames has at another rate."""
    return max(1, round(frames * target_fps / source_fps))


def resample(motion: np.ndarray, source_fps: float, target_fps: float) -> np.ndarray:
    """Motion (T, ...) at another frame rate, linear in time; frame k stays at k / fps.

    The result has round(T * target / source) frames, float32; unchanged input when the rates agree.
    """
    if source_fps == target_fps:
        return motion
    frames = frames_after_resampling(len(motion), source_fps, target_fps)
    return frames_at(motion, np.arange(frames) * (source_fps / target_fps))


def worn_frames(speech_frames: int, expression_frames: int) -> NDArray[np.int64]:
    """Which frame (0..expression_frames-1) of an expression take is worn at each frame of a speech take:
    the take is stretched over the whole speech, to the nearest frame."""
    return np.rint(np.linspace(0, expression_frames - 1, speech_frames)).astype(np.int64)
