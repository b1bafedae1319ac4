"""The glossary: the nouns that travel between the parts of visemo.

Frames and units, everywhere: metres, +y up, +z out of the face, +x the face's own left; seconds;
displacements and vertices float32; quaternions wxyz. Every container is frozen and checks its
arrays when made, so a function that receives one need not check again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visemo.units import FPS, SAMPLE_RATE

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]

Mode = Literal["fused", "speech", "expression", "naive"]
MODES: tuple[Mode, ...] = ("fused", "speech", "expression", "naive")


class VisemoError(ValueError):
    """A user's mistake, said in one line: what was got, what was expected, what to do."""


def check_array(name: str, array: np.ndarray, shape: tuple[int | None, ...], dtype: type) -> None:
    """Refuse an array whose dtype, shape (None = any length) or finiteness is wrong."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        got = getattr(array, "dtype", type(array).__name__)
        raise VisemoError(f"{name}: got {got}, expected an array of {np.dtype(dtype).name}")
    fits = array.ndim == len(shape) and all(n is None or n == m for n, m in zip(shape, array.shape))
    if not fits:
        want = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise VisemoError(f"{name}: got shape {array.shape}, expected {want}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise VisemoError(f"{name}: got NaN or infinite values, expected finite numbers")


def check_indices(name: str, array: np.ndarray, columns: int | None, limit: int) -> None:
    """Refuse indices of the wrong shape or outside [0, limit)."""
    check_array(name, array, (None,) if columns is None else (None, columns), np.int32)
    if array.size and (array.min() < 0 or array.max() >= limit):
        raise VisemoError(f"{name}: got indices {array.min()}..{array.max()}, expected 0..{limit - 1}")


@dataclass(frozen=True, eq=False)
class Waveform:
    """Mono sound: `samples` (S,) float32, nominally in [-1, 1]; `sample_rate` in Hz."""

    samples: FloatArray
    sample_rate: int = SAMPLE_RATE

    def __post_init__(self) -> None:
        check_array("waveform", self.samples, (None,), np.float32)
        if self.sample_rate <= 0:
            raise VisemoError(f"waveform: got a sample rate of {self.sample_rate}, expected a positive number")

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangle surface: `vertices` (V, 3) float32 m, `triangles` (F, 3) int32, counter-clockwise
    seen from outside. The order of vertices is part of its identity and is never changed."""

    vertices: FloatArray
    triangles: IntArray

    def __post_init__(self) -> None:
        check_array("mesh vertices", self.vertices, (None, 3), np.float32)
        check_indices("mesh triangles", self.triangles, 3, len(self.vertices))


@dataclass(frozen=True, eq=False)
class Motion:
    """Displacement field dV of one take: `displacements` (T, V, 3) float32 m from the subject's own
    neutral, at `fps` frames per second."""

    displacements: FloatArray
    fps: float = FPS

    def __post_init__(self) -> None:
        check_array("motion", self.displacements, (None, None, 3), np.float32)
        if not self.fps > 0:
            raise VisemoError(f"motion: got {self.fps} frames per second, expected a positive number")


@dataclass(frozen=True, eq=False)
class FlameParams:
    """FLAME motion: `expression` (T, E), `jaw_pose` (T, 3) axis-angle rad, optional `shape` (S,)."""

    expression: FloatArray
    jaw_pose: FloatArray
    fps: float = FPS
    shape: FloatArray | None = None

    def __post_init__(self) -> None:
        check_array("FLAME expression", self.expression, (None, None), np.float32)
        check_array("FLAME jaw pose", self.jaw_pose, (len(self.expression), 3), np.float32)
        if self.shape is not None:
            check_array("FLAME shape", self.shape, (None,), np.float32)


@dataclass(frozen=True, eq=False)
class Animation:
    """One animated take: weights over a linear basis, nothing else moves it.

    vertices[t] = template + sum_k weights[t, k] basis[k], in every mode (Eq. 13 for `fused`).
    T frames, V vertices, K = K_A + K_E blendshapes, the first K_A are speech.
    """

    speech_weights: FloatArray  # (T, K_A) w_A
    expression_weights: FloatArray  # (T, K_E) w_E
    speech_leak: FloatArray  # (T, K_E) eps_A: expression that the speech carried
    expression_leak: FloatArray  # (T, K_A) eps_E: speech that the expression carried
    basis: FloatArray  # (K, V, 3) m, [B_A | B_E]
    template: FloatArray  # (V, 3) m
    triangles: IntArray  # (F, 3)
    lip_pairs: IntArray  # (N, 2) upper, lower
    face: str  # the Face this belongs to, by name; its attached parts are looked up there
    fps: float = FPS
    audio: Waveform | None = None
    lively_weights: FloatArray | None = None  # (T, L)
    lively_names: tuple[str, ...] = ()
    head_pose: FloatArray | None = None  # (T, 7) x y z m, quaternion wxyz; never baked into vertices
    meta: dict[str, Any] = field(default_factory=dict)  # model and its hash, expression, mode, versions

    def __post_init__(self) -> None:
        check_array("speech_weights", self.speech_weights, (None, None), np.float32)
        frames, k_a = self.speech_weights.shape
        check_array("expression_weights", self.expression_weights, (frames, None), np.float32)
        k_e = self.expression_weights.shape[1]
        check_array("speech_leak", self.speech_leak, (frames, k_e), np.float32)
        check_array("expression_leak", self.expression_leak, (frames, k_a), np.float32)
        check_array("template", self.template, (None, 3), np.float32)
        check_array("basis", self.basis, (k_a + k_e, len(self.template), 3), np.float32)
        check_indices("triangles", self.triangles, 3, len(self.template))
        check_indices("lip_pairs", self.lip_pairs, 2, len(self.template))
        if self.lively_weights is not None:
            check_array("lively_weights", self.lively_weights, (frames, len(self.lively_names)), np.float32)
        if self.head_pose is not None:
            check_array("head_pose", self.head_pose, (frames, 7), np.float32)
        if not self.fps > 0:
            raise VisemoError(f"animation: got {self.fps} frames per second, expected a positive number")

    @property
    def frames(self) -> int:
        return len(self.speech_weights)

    @property
    def seconds(self) -> float:
        return self.frames / self.fps

    @property
    def weights(self) -> FloatArray:
        """(T, K) float32, speech first."""
        return np.concatenate([self.speech_weights, self.expression_weights], axis=1)

    def decode(self, start: int, stop: int) -> FloatArray:
        """Vertices of frames start..stop-1: (n, V, 3) float32 m."""
        w = np.concatenate([self.speech_weights[start:stop], self.expression_weights[start:stop]], axis=1)
        moved = (w @ self.basis.reshape(len(self.basis), -1)).reshape(len(w), -1, 3)
        moved += self.template
        return moved

    def blocks(self, size: int = 64) -> Iterator[FloatArray]:
        """Vertices in blocks of at most `size` frames, for writers that stream."""
        for start in range(0, self.frames, size):
            yield self.decode(start, min(start + size, self.frames))

    @property
    def vertices(self) -> FloatArray:
        """(T, V, 3) float32 m, all at once: 10 minutes of a 10k face are 2.3 GB; prefer `blocks`."""
        return np.concatenate(list(self.blocks()), axis=0)
