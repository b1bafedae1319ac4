"""Where two lips meet on a mesh that nobody has told anything about: skin that faces skin across a slit.

Automatic landmarks lie within a few millimetres, which is more than there is between the lips. Two vertices are on
either side of the slit when they face each other at a short distance through the air and a long one along the skin.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from visemo.geometry.mesh import edges, vertex_normals
from visemo.types import Mesh

CORNERS, UPPER, LOWER = (60, 64), (61, 62, 63), (67, 66, 65)
SHARES = (0.25, 0.5, 0.75)  # of the way from the right corner to the left at which landmarks stand
TALL, WIDE = 0.3, 0.75  # mouth widths around its landmarks in which the slit is looked for
GAP = 0.14  # mouth widths that lips may stand apart
FACING = 0.3  # cosine by which a lip faces up or down, and the other lip
DETOUR = 2.5  # times longer along the skin than through the air
OUTSIDE = 0.3  # how much lying behind counts against a pair, where a gap as wide counts 1
FEWEST = 6  # pairs that make a slit


def lips_that_meet(mesh: Mesh, skin: NDArray[np.int64], spots: Mapping[int, NDArray[np.float64]]) -> dict[int, int]:
    """Vertices of the inner lips' landmarks but their corners, or none where no slit is found near the given ones.

    Parameters
    ----------
    mesh : a face, upright and frontal, any unit.
    skin : the vertices that are looked at.
    spots : positions of the landmarks 48 to 67 to start from.
    """
    points, normals = mesh.vertices.astype(np.float64), vertex_normals(mesh.vertices, mesh.triangles)
    wide = float(np.linalg.norm(spots[54] - spots[48]))
    middle = np.mean([spots[number] for number in range(48, 68)], axis=0)
    off = np.abs(points[skin] - middle) / wide
    near = skin[(off[:, 0] < WIDE) & (off[:, 1] < TALL) & (off[:, 2] < WIDE)]
    upper, lower = near[normals[near, 1] < -FACING], near[normals[near, 1] > FACING]
    if not len(upper) or not len(lower):
        return {}
    gap, other = KDTree(points[lower]).query(points[upper], distance_upper_bound=GAP * wide)
    met = np.flatnonzero(np.isfinite(gap))
    upper, gap, lower = upper[met], np.asarray(gap)[met], lower[np.asarray(other)[met]]
    between = (points[lower] - points[upper]) / np.maximum(gap, 1e-9 * wide)[:, None]
    touch = gap < 1e-2 * wide
    face = (((between * normals[upper]).sum(1) > FACING) & ((between * normals[lower]).sum(1) < -FACING)) | touch
    upper, lower, gap = upper[face], lower[face], gap[face]
    far = _along_the_skin(mesh, upper, lower, DETOUR * GAP * wide) > np.maximum(DETOUR * gap, 0.1 * wide)
    upper, lower, gap = upper[far], lower[far], gap[far]
    if len(upper) < FEWEST:
        return {}
    ends = [spots[number][0] for number in CORNERS]  # the slit goes on behind the corners: these say where they are
    return _placed((points[upper] + points[lower]) / 2, np.stack([upper, lower], axis=1), gap / wide, wide, ends)


def _along_the_skin(mesh: Mesh, upper: NDArray, lower: NDArray, limit: float) -> NDArray[np.float64]:
    """(n,) distances between pairs along the edges, infinite beyond `limit`."""
    points = mesh.vertices.astype(np.float64)
    i, j = edges(mesh.triangles).T
    length = np.maximum(np.linalg.norm(points[i] - points[j], axis=1), 1e-12)
    half = sp.csr_matrix((length, (i, j)), shape=(len(points),) * 2)
    graph = sp.csr_matrix(half + half.T)
    close = np.flatnonzero(KDTree(points[upper]).query(points)[0] < limit) if len(upper) else np.zeros(0, int)
    place = np.full(len(points), -1)
    place[close] = np.arange(len(close))
    starts, which = np.unique(upper, return_inverse=True)
    reach = dijkstra(graph[close][:, close], directed=False, indices=place[starts], limit=limit)
    return reach[which, place[lower]]


def _placed(
    centre: NDArray[np.float64], pairs: NDArray, gap: NDArray, wide: float, ends: list[float]
) -> dict[int, int]:
    """Landmarks along the slit: of the pairs (n, 2) about `centre` (n, 3) those at shares of its width where the lips
    are close and far in front; `gap` in mouth widths."""
    low, high = np.clip(ends, *np.quantile(centre[:, 0], (0.01, 0.99)))
    found = {}
    for number_up, number_down, share in zip(UPPER, LOWER, SHARES):
        off = np.abs(centre[:, 0] - (low + share * (high - low)))
        here = np.flatnonzero(off < max(0.06 * (high - low), float(np.sort(off)[min(3, len(off) - 1)])))
        behind = (centre[here, 2].max() - centre[here, 2]) / wide
        best = here[np.argmin(gap[here] + OUTSIDE * behind + 0.2 * off[here] / wide)]
        found[number_up], found[number_down] = map(int, pairs[best])
    return found
