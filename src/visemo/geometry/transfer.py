"""What lives on the vertices of one mesh, carried to points on it: one fixed sparse matrix for all frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from visemo.geometry.closest import Surface
from visemo.geometry.mesh import vertex_normals
from visemo.geometry.pieces import skin
from visemo.types import FloatArray, IntArray, Mesh, VisemoError

TURN = 0.05  # of the points' extent: how far a point would look for a triangle that faces as it does


@dataclass(frozen=True, eq=False)
class Transfer:
    """Row v of a carried field is the sum over k of weights[v, k] * field[corners[v, k]].

    Displacements stay as they are, in their own unit and frame: where the two meshes differ in those,
    `Similarity.turn` of their registration does the rest.
    """

    corners: IntArray  # (V, 3) vertices of the source mesh
    weights: FloatArray  # (V, 3) barycentric

    def __post_init__(self) -> None:
        if self.corners.shape != self.weights.shape or self.corners.ndim != 2:
            raise VisemoError(
                f"transfer: got corners {self.corners.shape} and weights {self.weights.shape}, expected (V, 3) twice"
            )

    @classmethod
    def of(cls, points: np.ndarray, mesh: Mesh, triangles: IntArray | None = None) -> Transfer:
        """From the closest points of a mesh.

        Parameters
        ----------
        points : (V, 3), in the mesh's frame and unit: a template laid on it. A point over a hole of the mesh, as
            inside the mouth, takes the nearest point of the rim.
        mesh : the source of what will be carried; its loose pieces, such as eyeballs, carry nothing.
        triangles : (F, 3) of the points: with them a point keeps to surfaces that face as it does, so that
            lips which touch do not take each other's motion.

        Raises VisemoError when the mesh has no triangles, or the points are not (V, 3).
        """
        surface = Surface(skin(mesh))
        if triangles is None:
            hits = surface.closest(points)
        else:
            normals = vertex_normals(np.asarray(points, np.float32), triangles)
            hits = surface.closest(points, normals, TURN * float(np.ptp(points, axis=0).max()))
        return cls(surface.mesh.triangles[hits.triangle].astype(np.int32), hits.weights.astype(np.float32))

    @classmethod
    def rows(cls, indices: IntArray) -> Transfer:
        """The exact selection of some vertices (V,)."""
        weights = np.zeros((len(indices), 3), np.float32)
        weights[:, 0] = 1.0
        return cls(np.repeat(np.asarray(indices, np.int32)[:, None], 3, axis=1), weights)

    def apply(self, field: np.ndarray) -> FloatArray:
        """Carry a field (..., N, 3) on the mesh's vertices to the points: (..., V, 3) float32.

        Raises VisemoError when the field has fewer vertices than the mesh had.
        """
        field = np.asarray(field, np.float32)
        if field.ndim < 2 or field.shape[-2] <= self._last:
            raise VisemoError(
                f"transfer: got a field of shape {field.shape}, expected (..., N, 3) with N above {self._last}, "
                "the vertices of the mesh that it was made from"
            )
        if self._exact:
            return field[..., self.corners[:, 0], :]
        frames = field.reshape(-1, *field.shape[-2:])
        matrix = self.matrix(field.shape[-2])
        carried = np.empty((len(frames), len(self.corners), field.shape[-1]), np.float32)
        for out, frame in zip(carried, frames):
            out[:] = matrix @ frame
        return carried.reshape(*field.shape[:-2], *carried.shape[1:])

    @cached_property
    def _exact(self) -> bool:
        return bool((self.weights[:, 0] == 1.0).all())

    @cached_property
    def _last(self) -> int:
        return int(self.corners.max(initial=-1))

    def matrix(self, count: int) -> sp.csr_matrix:
        """(V, count) what `apply` multiplies a field (count, 3) by."""
        starts = np.arange(0, self.corners.size + 1, self.corners.shape[1])
        return sp.csr_matrix((self.weights.ravel(), self.corners.ravel(), starts), shape=(len(self.corners), count))
