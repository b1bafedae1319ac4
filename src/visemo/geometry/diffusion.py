"""Smooth fields on a surface: the smoothest displacement that agrees with what is known at some vertices."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from visemo.types import IntArray

Float64 = NDArray[np.float64]

STEEP, FLAT = 10.0, 0.05  # bounds of a cotangent: slivers would outweigh, and obtuse corners repel


class Diffusion:
    """Solves (M + reach^4 L M^-1 L) d = M offset, the diffusion of offsets over a surface, for some reach.

    L is the graph Laplacian of the mesh with bounded cotangent weights, M the vertices' areas, so that `reach` is a
    length, whatever the size of the triangles: detail of d smaller than that is held back by its bending.

    Parameters
    ----------
    vertices, triangles : (V, 3), (F, 3); any unit, which is that of the reach too.
    """

    def __init__(self, vertices: np.ndarray, triangles: IntArray):
        self.count = len(vertices)
        self.laplacian, self.areas = _cotangents(np.asarray(vertices, np.float64), triangles)
        self.bending = (self.laplacian @ sp.diags(1.0 / self.areas) @ self.laplacian).tocsr()

    def factorised(self, reach: float) -> Factor:
        """The system for one reach, ready to solve."""
        return Factor((sp.diags(self.areas) + reach**4 * self.bending).tocsc(), self.areas)

    def interpolated(self, rows: IntArray, values: np.ndarray, reach: float, doubt: float = 0.0) -> Float64:
        """The smoothest field (V, C) with `values` (N, C) at the vertices `rows`.

        With doubt, the error of the values over their spread, they are followed as far as they deserve
        (Gaussian process regression).
        """
        factor = self.factorised(reach)
        pins = factor.pins(rows)
        return pins.pull(np.zeros((self.count, values.shape[1])), values, doubt)

    def filled(self, field: Float64, rows: IntArray) -> Float64:
        """A field (V, C) whose values at `rows` are replaced by those that bend it least."""
        known = np.setdiff1d(np.arange(self.count), rows)
        part = self.bending[rows]
        result = field.copy()
        ridge = sp.diags(1e-9 * self.bending.diagonal()[rows])  # a piece apart has nothing to go by
        result[rows] = _factor((part[:, rows] + ridge).tocsc()).solve(-(part[:, known] @ field[known]))
        return result


class Factor:
    """A factorised `Diffusion` of one reach."""

    def __init__(self, matrix: sp.csc_matrix, areas: Float64):
        self.areas, self.lu = areas, _factor(matrix)

    def solve(self, offsets: Float64) -> Float64:
        """Diffuse offsets (V, C) over the surface: (V, C)."""
        return self.lu.solve(offsets * self.areas[:, None])

    def pins(self, rows: IntArray) -> Pins:
        """What it takes to give diffused fields values at the vertices `rows`."""
        impulse = np.zeros((len(self.areas), len(rows)))
        impulse[rows, np.arange(len(rows))] = 1.0
        return Pins(rows, self.lu.solve(impulse))


class Pins:
    """Vertices at which a diffused field can be pulled to given values, with all around them."""

    def __init__(self, rows: IntArray, kernel: Float64):
        self.rows, self.kernel = rows, kernel  # (N,), (V, N)

    def pull(
        self, field: Float64, values: Float64, doubt: float = 0.0, active: NDArray[np.bool_] | None = None
    ) -> Float64:
        """`field` (V, C), changed as smoothly as possible so that it is `values` (N, C) at the active pins."""
        active = np.ones(len(self.rows), bool) if active is None else active
        if not active.any():
            return field
        rows, kernel = self.rows[active], self.kernel[:, active]
        gram = kernel[rows]
        noise = np.trace(gram) / len(rows) * max(doubt**2, 1e-10)
        return field + kernel @ np.linalg.solve(gram + noise * np.eye(len(rows)), values[active] - field[rows])


def _factor(matrix: sp.csc_matrix):
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def _cotangents(vertices: Float64, triangles: IntArray) -> tuple[sp.csr_matrix, Float64]:
    """Laplacian (V, V), positive semi-definite, and a third of the adjacent area of every vertex (V,)."""
    count, weights = len(vertices), sp.csr_matrix((len(vertices), len(vertices)))
    areas = np.zeros(count)
    for corner in range(3):
        a, b, c = np.roll(triangles, -corner, axis=1).T
        to_b, to_c = vertices[b] - vertices[a], vertices[c] - vertices[a]
        twice_area = np.linalg.norm(np.cross(to_b, to_c), axis=1)
        cotangent = np.einsum("fi,fi->f", to_b, to_c) / np.maximum(twice_area, 1e-300)
        half = 0.5 * np.clip(cotangent, FLAT, STEEP)
        weights = weights + sp.csr_matrix((half, (b, c)), shape=(count, count))
        areas += np.bincount(a, twice_area / 6.0, count)
    weights = weights + weights.T
    areas = np.maximum(areas, 1e-6 * max(areas.mean(), 1e-300))  # a vertex in no triangle, or in flat ones only
    return (sp.diags(np.asarray(weights.sum(axis=1)).ravel()) - weights).tocsr(), areas
