"""The closest points of a triangle mesh, exactly, for many queries at once.

A tree of boxes over the triangles says where not to look; what is left is measured triangle by triangle.
"""

# ruff: noqa: PLR0917  (compiled kernels take plain arrays, one by one)

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from visemo.geometry.mesh import vertex_normals
from visemo.types import IntArray, Mesh, VisemoError

LEAF = 6  # triangles in a box that is not divided further
THREADS = 4  # queries are independent: the answer is the same for any number
SLIVER = 1e-12  # squared sine of a corner below which a triangle is a line
ON_EDGE = 1e-6  # a barycentric weight below this is zero


def _compiled(function: Callable) -> Any:
    """Compile to machine code that threads can share, kept on disk where a place for it can be written."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no cache folder can be written: compile anew in every process
        return njit(nogil=True)(function)


@dataclass(frozen=True, eq=False)
class Hits:
    """Where N queries met a mesh: `triangle` (N,) int32, barycentric `weights` (N, 3), `distance` (N,); float64."""

    triangle: IntArray
    weights: NDArray[np.float64]
    distance: NDArray[np.float64]

    def of(self, field: np.ndarray, triangles: IntArray) -> NDArray[np.float64]:
        """A field on the vertices (V, C), such as positions, at the points that were met: (N, C)."""
        return np.einsum("nk,nkc->nc", self.weights, np.asarray(field, np.float64)[triangles[self.triangle]])


class Surface:
    """A mesh prepared for queries; unit and frame are the mesh's own.

    Raises VisemoError for a mesh without triangles.
    """

    def __init__(self, mesh: Mesh):
        if not len(mesh.triangles):
            raise VisemoError("surface: got a mesh without triangles, expected some; give its faces too")
        self.mesh = mesh
        self.corners = np.asarray(mesh.vertices, np.float64)[mesh.triangles]  # (F, 3, 3)
        across = np.cross(self.corners[:, 1] - self.corners[:, 0], self.corners[:, 2] - self.corners[:, 0])
        length = np.linalg.norm(across, axis=1, keepdims=True)
        self.facing = across / np.where(length > 0, length, 1.0)  # (F, 3) unit normals, zero for slivers
        self.order, self.boxes, self.spans = _tree(self.corners)

    @cached_property
    def normals(self) -> NDArray[np.float64]:
        """Unit normals (V, 3) of the vertices."""
        return vertex_normals(self.mesh.vertices, self.mesh.triangles).astype(np.float64)

    @cached_property
    def _open(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which sides (F, 3), each opposite its corner, and which vertices (V,) lie on the open boundary."""
        sides = np.sort(self.mesh.triangles[:, [[1, 2], [2, 0], [0, 1]]].astype(np.int64), axis=2)
        key = sides @ (1 << 32, 1)
        _, where, count = np.unique(key, return_inverse=True, return_counts=True)
        single = (count == 1)[where].reshape(key.shape)
        vertices = np.zeros(len(self.mesh.vertices), bool)
        vertices[sides[single].ravel()] = True
        return single, vertices

    def closest(
        self,
        points: np.ndarray,
        normals: np.ndarray | None = None,
        turn: float = 0.0,
        guess: Hits | None = None,
    ) -> Hits:
        """The closest point of the mesh to each of `points` (N, 3).

        With `normals` (N, 3) unit and a length `turn`, the closest among surfaces that face alike: what is least is
        distance^2 + turn^2 (1 - cosine between the normals), exactly. `distance` is the plain distance still.
        A `guess`, the hits of points nearby, makes the search faster and changes nothing.

        Raises VisemoError for points that are not (N, 3), or normals of another shape.
        """
        points = np.ascontiguousarray(points, np.float64)
        if points.ndim != 2 or points.shape[1] != 3:
            raise VisemoError(f"closest points: got points of shape {points.shape}, expected (N, 3)")
        ahead = np.zeros_like(points) if normals is None else np.ascontiguousarray(normals, np.float64)
        if ahead.shape != points.shape:
            raise VisemoError(f"closest points: got normals of shape {ahead.shape}, expected {points.shape}")
        penalty = float(turn) ** 2 if normals is not None else 0.0
        start = np.zeros(len(points), np.int32) if guess is None else guess.triangle
        chunks = np.array_split(np.arange(len(points)), THREADS)
        with ThreadPoolExecutor(THREADS) as pool:
            parts = list(pool.map(lambda rows: self._search(points[rows], ahead[rows], start[rows], penalty), chunks))
        return Hits(*(np.concatenate(column) for column in zip(*parts)))

    def _search(self, points: np.ndarray, ahead: np.ndarray, start: IntArray, penalty: float) -> tuple[np.ndarray, ...]:
        return _search(points, ahead, start, penalty, self.corners, self.facing, self.order, self.boxes, self.spans)

    def at_boundary(self, hits: Hits) -> NDArray[np.bool_]:
        """Which hits (N,) lie on an open edge of the mesh."""
        sides, vertices = self._open
        zero = hits.weights < ON_EDGE
        on_side = (zero & sides[hits.triangle]).any(axis=1)
        corner = self.mesh.triangles[hits.triangle, hits.weights.argmax(axis=1)]
        return on_side | ((zero.sum(axis=1) == 2) & vertices[corner])


def _tree(corners: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]:
    """A balanced binary tree: triangles in its order (F,), boxes (B, 2, 3), and first and last triangle of each (B, 2).

    The children of box i are 2 i + 1 and 2 i + 2; the last level holds the leaves. Each level halves every box of the
    one before along its longest side.
    """
    count = len(corners)
    low, high, middle = corners.min(axis=1), corners.max(axis=1), corners.mean(axis=1)
    order = np.arange(count)
    starts = np.array([0, count])
    boxes, spans = [], []
    while True:
        firsts = starts[:-1]
        box = np.stack([np.minimum.reduceat(low[order], firsts), np.maximum.reduceat(high[order], firsts)], axis=1)
        boxes.append(box)
        spans.append(np.stack([firsts, starts[1:]], axis=1))
        if np.diff(starts).max() <= LEAF:
            break
        owner = np.repeat(np.arange(len(firsts)), np.diff(starts))
        axis = (box[:, 1] - box[:, 0]).argmax(axis=1)
        order = order[np.lexsort((middle[order, axis[owner]], owner))]
        starts = np.sort(np.concatenate([starts, (firsts + starts[1:]) // 2]))
    return order.astype(np.int32), np.concatenate(boxes), np.concatenate(spans).astype(np.int32)


@_compiled
def _point_sides(p, a, b, c, out):
    """The same for a triangle that is a line or a point: the best of its three sides."""
    best = np.inf
    for side in range(3):
        q, r = (a, b) if side == 0 else (b, c) if side == 1 else (c, a)
        length, along = 0.0, 0.0
        for k in range(3):
            length += (r[k] - q[k]) ** 2
            along += (r[k] - q[k]) * (p[k] - q[k])
        t = min(max(along / length, 0.0), 1.0) if length > 0.0 else 0.0
        squared = 0.0
        for k in range(3):
            squared += (q[k] + t * (r[k] - q[k]) - p[k]) ** 2
        if squared < best:
            best = squared
            out[side], out[(side + 1) % 3], out[(side + 2) % 3] = 1.0 - t, t, 0.0
    return best


@_compiled
def _point_triangle(p, a, b, c, out):
    """Barycentric weights of the point of a triangle closest to p into `out`; returns the squared distance.

    Source: Ericson, Real-Time Collision Detection, section 5.1.5.
    """
    ab0, ab1, ab2 = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    ac0, ac1, ac2 = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    ap0, ap1, ap2 = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    d1 = ab0 * ap0 + ab1 * ap1 + ab2 * ap2
    d2 = ac0 * ap0 + ac1 * ap1 + ac2 * ap2
    bb = ab0 * ab0 + ab1 * ab1 + ab2 * ab2
    bc = ab0 * ac0 + ab1 * ac1 + ab2 * ac2
    cc = ac0 * ac0 + ac1 * ac1 + ac2 * ac2
    if bb * cc - bc * bc <= SLIVER * bb * cc:  # no area to speak of
        return _point_sides(p, a, b, c, out)
    d3, d4 = d1 - bb, d2 - bc  # the same for a point seen from b
    d5, d6 = d1 - bc, d2 - cc  # and from c
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    v, w = 0.0, 0.0
    if d1 <= 0.0 and d2 <= 0.0:
        pass  # corner a
    elif d3 >= 0.0 and d4 <= d3:
        v = 1.0
    elif d6 >= 0.0 and d5 <= d6:
        w = 1.0
    elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        v = d1 / bb
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        w = d2 / cc
    elif va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        v = 1.0 - w
    else:
        total = va + vb + vc
        if total > 0.0:
            v, w = vb / total, vc / total
    out[0], out[1], out[2] = 1.0 - v - w, v, w
    x = ap0 - v * ab0 - w * ac0
    y = ap1 - v * ab1 - w * ac1
    z = ap2 - v * ab2 - w * ac2
    return x * x + y * y + z * z


@_compiled
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@_compiled
def _box_distance(p, box):
    """Squared distance of a point to a box."""
    total = 0.0
    for k in range(3):
        gap = max(box[0, k] - p[k], 0.0, p[k] - box[1, k])
        total += gap * gap
    return total


@_compiled
def _search(points, ahead, start, penalty, corners, facing, order, boxes, spans):
    count = len(points)
    leaves = len(spans) // 2
    triangle = np.zeros(count, np.int32)
    weights = np.zeros((count, 3))
    distance = np.zeros(count)
    for i in range(count):
        p, n = points[i], ahead[i]
        stack = np.empty(64, np.int32)
        bound = np.empty(64)
        trial = np.empty(3)
        t = start[i]
        squared = _point_triangle(p, corners[t, 0], corners[t, 1], corners[t, 2], weights[i])
        triangle[i], distance[i] = t, np.sqrt(squared)
        best = squared + penalty * (1.0 - _dot(n, facing[t]))
        depth = 1
        stack[0], bound[0] = 0, _box_distance(p, boxes[0])
        while depth > 0:
            depth -= 1
            if bound[depth] > best:
                continue
            node = stack[depth]
            if node >= leaves:
                for at in range(spans[node, 0], spans[node, 1]):
                    t = order[at]
                    squared = _point_triangle(p, corners[t, 0], corners[t, 1], corners[t, 2], trial)
                    cost = squared + penalty * (1.0 - _dot(n, facing[t]))
                    if cost < best or (cost == best and t < triangle[i]):
                        best = cost
                        triangle[i] = t
                        weights[i] = trial
                        distance[i] = np.sqrt(squared)
                continue
            near, far = 2 * node + 1, 2 * node + 2
            near_bound, far_bound = _box_distance(p, boxes[near]), _box_distance(p, boxes[far])
            if far_bound < near_bound:
                near, far = far, near
                near_bound, far_bound = far_bound, near_bound
            stack[depth], bound[depth] = far, far_bound
            stack[depth + 1], bound[depth + 1] = near, near_bound
            depth += 2
    return triangle, weights, distance
