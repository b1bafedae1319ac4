"""From the model's own weights to the 52 ARKit curves, so that any ARKit rig can be driven.

One linear map, least squares on the face's named shapes, gives the start; every frame is then solved
with the bounds that rigs have (0..1), and what the rig cannot show is said in mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visemo.face.arkit import ARKIT_NAMES
from visemo.face.attach import shape_map
from visemo.face.face import Face
from visemo.types import Animation, FloatArray, VisemoError
from visemo.units import MM_PER_M

RIDGE = 1e-4  # of the mean shape energy: two shapes that look alike share the work
ITERATIONS = 200  # of accelerated projected gradient


@dataclass(frozen=True, eq=False)
class ArkitMap:
    """Weights (T, K) of one model to ARKit curves (T, 52) on one face."""

    matrix: FloatArray  # (52, K) the linear map; rows of ARKIT_NAMES, zero where the face lacks a shape
    residual_mm: FloatArray  # (K,) rms over vertices that the 52 shapes cannot show of each blendshape
    shape_energy: np.ndarray  # (52, 52) m^2, Gram matrix of the face's shapes
    cross_energy: np.ndarray  # (52, K) m^2, shapes against blendshapes
    basis_energy: np.ndarray  # (K, K) m^2
    vertices: int

    @classmethod
    def of(cls, face: Face, basis: FloatArray) -> ArkitMap:
        """The map of a model's blendshapes (K, V, 3) m on `face`.

        Raises
        ------
        VisemoError
            When the face has none of the 52 shapes.
        """
        known = [name for name in ARKIT_NAMES if name in face.shape_names]
        if face.shapes is None or not known:
            raise VisemoError(f"ARKit curves: got face {face.name} without the named shapes, expected a rigged face")
        weights, residual = shape_map(face, basis)
        shapes = np.zeros((len(ARKIT_NAMES), basis[0].size))
        matrix = np.zeros((len(ARKIT_NAMES), len(basis)), np.float32)
        for name in known:
            row, source = ARKIT_NAMES.index(name), face.shape_names.index(name)
            shapes[row], matrix[row] = face.shapes[source].ravel(), weights[source]
        flat = basis.reshape(len(basis), -1).astype(np.float64)
        return cls(matrix, residual, shapes @ shapes.T, shapes @ flat.T, flat @ flat.T, len(face.template))

    def curves(self, weights: FloatArray) -> tuple[FloatArray, float]:
        """ARKit curves (T, 52) in 0..1 of weights (T, K), and the rms distance in mm that is left."""
        target = weights.astype(np.float64) @ self.cross_energy.T
        energy = self.shape_energy + RIDGE * np.trace(self.shape_energy) / len(ARKIT_NAMES) * np.eye(len(ARKIT_NAMES))
        found = _bounded_least_squares(energy, target, np.clip(weights @ self.matrix.T, 0, 1))
        found[:, np.diag(self.shape_energy) == 0] = 0
        square = (
            np.einsum("tk,kl,tl->t", weights, self.basis_energy, weights)
            - 2 * np.einsum("tm,tm->t", found, target)
            + np.einsum("tm,mn,tn->t", found, self.shape_energy, found)
        )
        residual = np.sqrt(np.maximum(square, 0).mean() / self.vertices) * MM_PER_M
        return found.astype(np.float32), float(residual)


def _bounded_least_squares(energy: np.ndarray, target: np.ndarray, start: np.ndarray) -> np.ndarray:
    """argmin over 0 <= x <= 1 of x E x / 2 - b x for rows b of `target` (Nesterov's accelerated gradient)."""
    step = 1 / np.linalg.eigvalsh(energy)[-1]
    x = ahead = start.astype(np.float64)
    pace = 1.0
    for _ in range(ITERATIONS):
        moved = np.clip(ahead - step * (ahead @ energy - target), 0, 1)
        following = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = moved + (pace - 1) / following * (moved - x)
        x, pace = moved, following
    return x


def arkit_curves(clip: Animation, face: Face) -> tuple[FloatArray, float]:
    """The take as ARKit curves (T, 52) in 0..1, its lively track included, and the residual in mm.

    Raises
    ------
    VisemoError
        When the face has none of the 52 shapes, or another number of vertices than the take.
    """
    if clip.basis.shape[1] != len(face.template):
        raise VisemoError(
            f"ARKit curves: got face {face.name} of {len(face.template)} vertices, expected {clip.basis.shape[1]}"
        )
    curves, residual = ArkitMap.of(face, clip.basis).curves(clip.weights)
    if clip.lively_weights is not None:
        for column, name in enumerate(clip.lively_names):
            own = ARKIT_NAMES.index(name)
            curves[:, own] = np.minimum(curves[:, own] + clip.lively_weights[:, column], 1)
    return curves, residual
