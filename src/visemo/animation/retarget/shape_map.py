"""From the weights of a model to those of any named shapes: one matrix, and a bounded solve where rigs have bounds.

The shapes may be ARKit's on the model's own face, or a rig's that were carried to it; what they cannot show is said
in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visemo.animation.retarget.habit import EXACT, Habit
from visemo.face.attach import combinations
from visemo.types import FloatArray, IntArray, VisemoError
from visemo.units import MM_PER_M

ITERATIONS = 200  # of accelerated projected gradient
LIP_PULL = 0.3  # how much dearer a gap between the lips that is not the take's is than as large a motion of the face


@dataclass(frozen=True, eq=False)
class ShapeMap:
    """Weights (T, K) of a model's blendshapes to curves (T, R) of named shapes on the same mesh."""

    names: tuple[str, ...]  # R
    matrix: FloatArray  # (R, K) the linear map, without bounds: curves ~ matrix @ weights
    limits: FloatArray  # (R, 2) lowest and highest value of each curve
    residual_mm: FloatArray  # (K,) rms over vertices that the shapes cannot show of each blendshape
    shape_energy: np.ndarray  # (R, R) m^2, Gram matrix of the shapes
    cross_energy: np.ndarray  # (R, K) m^2, shapes against blendshapes
    basis_energy: np.ndarray  # (K, K) m^2
    shape_gap: np.ndarray  # (R, R) m^2, the same three of what parts the lips
    cross_gap: np.ndarray  # (R, K)
    vertices: int
    driven: int  # how many of the blendshapes, from the first on, the curves follow

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        shapes: FloatArray,
        basis: FloatArray,
        lip_pairs: IntArray,
        *,
        limits: tuple[float, float] = (0.0, 1.0),
        driven: int | None = None,
    ) -> ShapeMap:
        """The map of blendshapes (K, V, 3) m to shapes (R, V, 3) m of these names.

        Parameters
        ----------
        lip_pairs : (N, 2) upper, lower: where the lips meet a mistake is seen before any other, so it weighs more.
        limits : of every curve.
        driven : how many of the blendshapes, from the first on, the curves are to follow; the others, such as the
            expressions where all shapes are visemes, are left out, and count as not shown.

        Raises
        ------
        VisemoError
            For arrays that do not go together, shapes of which none moves anything, and limits without room for 0.
        """
        if shapes.shape != (len(names), *basis.shape[1:]) or not np.abs(shapes).max(initial=0) > 0:
            raise VisemoError(
                f"shapes: got {shapes.shape} for {len(names)} names on {basis.shape[1]} vertices, expected one that "
                "moves them for each name"
            )
        low, high = limits
        if not low <= 0 < high:
            raise VisemoError(f"limits: got {low:g} to {high:g}, expected 0 to lie between them, as in 0 1")
        driven = len(basis) if driven is None else driven
        weights, residual = combinations(shapes, basis)
        weights[:, driven:] = 0
        residual[driven:] = MM_PER_M * np.sqrt((basis[driven:] ** 2).sum(axis=2).mean(axis=1))
        flat, moved = (field.reshape(len(field), -1).astype(np.float64) for field in (shapes, basis))
        upper, lower = lip_pairs.T
        parts, wanted = (
            (field[:, upper] - field[:, lower]).reshape(len(field), -1).astype(np.float64) for field in (shapes, basis)
        )
        pull = LIP_PULL * basis.shape[1] / max(len(lip_pairs), 1)
        return cls(
            tuple(names), weights, np.tile(np.array([low, high], np.float32), (len(names), 1)), residual,
            flat @ flat.T, flat @ moved.T, moved @ moved.T, pull * parts @ parts.T, pull * parts @ wanted.T,
            basis.shape[1], driven,
        )  # fmt: skip

    def curves(self, weights: FloatArray, habit: Habit = EXACT) -> tuple[FloatArray, float]:
        """Curves (T, R) within the limits of weights (T, K), and the rms distance in mm that is left.

        With the habit EXACT they are the closest on this very mesh, by whatever play of shapes against each other.
        With NATURAL they are nearly as close, few and natural, as curves have to be that another face is to be moved
        by.
        """
        moving = np.diag(self.shape_energy) > 0
        unit = np.trace(self.shape_energy) / max(moving.sum(), 1)
        given = weights.astype(np.float64)
        energy = self.shape_energy + self.shape_gap + unit * habit.penalty(self.names)
        target = given[:, : self.driven] @ (self.cross_energy + self.cross_gap)[:, : self.driven].T
        low, high = self.limits.T.astype(np.float64)
        thrift = unit * habit.sparse * (low >= 0)
        start = np.clip(given @ self.matrix.T, low, high)
        found = bounded_least_squares(energy, target - thrift, start, low, high)
        found[:, ~moving] = 0
        square = (
            np.einsum("tk,kl,tl->t", given, self.basis_energy, given)
            - 2 * np.einsum("tr,tr->t", found, given @ self.cross_energy.T)
            + np.einsum("tr,rs,ts->t", found, self.shape_energy, found)
        )
        residual = np.sqrt(np.maximum(square, 0).mean() / self.vertices) * MM_PER_M
        return found.astype(np.float32), float(residual)


def bounded_least_squares(
    energy: np.ndarray, target: np.ndarray, start: np.ndarray, low: np.ndarray | float, high: np.ndarray | float
) -> np.ndarray:
    """argmin over low <= x <= high of x E x / 2 - b x for rows b of `target` (Nesterov's accelerated gradient)."""
    scale = 1 / np.sqrt(np.diag(energy))  # so that small shapes are found as fast as large ones
    energy, target = energy * scale * scale[:, None], target * scale
    low, high = np.broadcast_to(low, scale.shape) / scale, np.broadcast_to(high, scale.shape) / scale
    step = 1 / np.linalg.eigvalsh(energy)[-1]
    x = ahead = start / scale
    pace = 1.0
    for _ in range(ITERATIONS):
        moved = np.clip(ahead - step * (ahead @ energy - target), low, high)
        following = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = moved + (pace - 1) / following * (moved - x)
        x, pace = moved, following
    return x * scale
