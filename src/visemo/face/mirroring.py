"""Which vertex is which vertex's mirror image, on meshes that are symmetric only by and large.

Where a vertex lies close to the reflection of another, the two are a pair; the pairs are then checked against the
mesh's edges, and the others are found by walking along these, so that a face whose two sides differ by millimetres
is paired as well as long as its triangles, or most of its edges, are alike on both sides.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import KDTree

from visemo.geometry.mesh import adjacency, edges, vertex_normals
from visemo.types import FloatArray, IntArray, VisemoError

# edge lengths between a vertex and its partner's reflection that make a pair without asking further; after each round
# the reflection is bent to fit a face whose sides differ, so that the next may ask for more
CLOSE = (2.0, 1.5, 1.0, 0.7, 0.5, 0.5, 0.5)
REACH = 4.0  # edge lengths within which the mesh's edges may make a pair
TURNED = 1.0  # edge lengths that opposite normals count for: lips that touch are two skins
AGREE = 0.5  # of a vertex's paired neighbours that have to be the partner's neighbours too
ROUNDS = 60  # of walking one edge on


def mirror_pairs(vertices: FloatArray, triangles: IntArray, *, complete: bool = True) -> IntArray:
    """The mirror image (V,) of every vertex in x = 0: an involution, the midline onto itself.

    Parameters
    ----------
    vertices, triangles : (V, 3) in any unit, +x to the face's own left; (F, 3)
    complete : refuse a mesh in which a vertex has no partner; otherwise such a vertex is paired with itself, which
        keeps the face usable wherever symmetry is not asked for.

    Raises VisemoError with the number of vertices that lack a partner.
    """
    points = np.asarray(vertices, np.float64)
    graph, local = adjacency(triangles, len(points)), _local_length(points, triangles)
    turned = TURNED * local.mean() * vertex_normals(vertices, triangles)
    reflected = points * (-1, 1, 1)
    partner = np.full(len(points), -1)
    for close in CLOSE:
        partner = _close_pairs(points, reflected, turned, close * local)
        partner = _in_agreement(partner, graph)
        reflected = _bent(points, partner)
    for _ in range(3):
        partner = _in_agreement(_walk(points, reflected, graph, partner, local.mean()), graph)
    partner = _leftover(points, reflected, partner, local)
    alone = partner < 0
    if complete and alone.any():
        raise VisemoError(
            f"mesh: got {int(alone.sum())} of {len(points)} vertices without a mirror image in x = 0, expected a "
            "symmetric face; turn and centre it, or register a symmetric face to it"
        )
    partner[alone] = np.flatnonzero(alone)
    return partner.astype(np.int32)


def edge_length(vertices: NDArray, triangles: IntArray) -> float:
    """Mean length of the edges, in the vertices' unit."""
    i, j = edges(triangles).T
    return float(np.linalg.norm(np.asarray(vertices)[i] - np.asarray(vertices)[j], axis=1).mean())


def _local_length(points: NDArray, triangles: IntArray) -> NDArray:
    """(V,) mean length of the edges at each vertex; of all edges where there are none."""
    i, j = edges(triangles).T
    length = np.linalg.norm(points[i] - points[j], axis=1)
    count = np.bincount(np.r_[i, j], minlength=len(points))
    total = np.bincount(np.r_[i, j], np.r_[length, length], len(points))
    return np.where(count > 0, total / np.maximum(count, 1), length.mean())


def _close_pairs(points: NDArray, reflected: NDArray, turned: NDArray, reach: NDArray) -> NDArray[np.int64]:
    """(V,) partner by place and direction alone, -1 where there is none: pairs that are each other's nearest."""
    distance, partner = KDTree(np.concatenate([points, turned], axis=1)).query(
        np.concatenate([reflected, turned * (-1, 1, 1)], axis=1)
    )
    distance, partner = np.asarray(distance), np.asarray(partner)
    mutual = partner[partner] == np.arange(len(points))
    return np.where(mutual & (distance <= reach), partner, -1)


def _bent(points: NDArray, partner: NDArray[np.int64]) -> NDArray:
    """Reflections (V, 3), bent smoothly so that those of the known pairs come to lie on their partners."""
    known = np.flatnonzero(partner >= 0)
    if len(known) < 100:
        return points * (-1, 1, 1)
    middle, size = points.mean(axis=0), np.abs(points - points.mean(axis=0)).max()
    x, y, z = ((points - middle) / size).T
    terms = np.stack([x**i * y**j * z**k for i in range(4) for j in range(4 - i) for k in range(4 - i - j)], axis=1)
    off = points[partner[known]] - points[known] * (-1, 1, 1)
    ridge = 1e-4 * len(known) * np.eye(terms.shape[1])
    bend = np.linalg.solve(terms[known].T @ terms[known] + ridge, terms[known].T @ off)
    return points * (-1, 1, 1) + terms @ bend


def _in_agreement(partner: NDArray[np.int64], graph: sp.csr_matrix) -> NDArray[np.int64]:
    """Only pairs whose neighbours are paired with each other's neighbours, and that are pairs from both sides."""
    known = np.flatnonzero(partner >= 0)
    image = sp.csr_matrix((np.ones(len(known)), (known, partner[known])), shape=graph.shape)
    paired = np.asarray(graph @ (partner >= 0)).ravel()
    over, back = sp.csr_matrix(graph @ image), sp.csr_matrix(image @ graph)
    kept = np.asarray(over.multiply(back).sum(axis=1)).ravel()
    partner = np.where(kept >= AGREE * np.maximum(paired, 1), partner, -1)
    both = (partner >= 0) & (partner[partner] == np.arange(len(partner)))
    return np.where(both, partner, -1)


def _walk(
    points: NDArray, reflected: NDArray, graph: sp.csr_matrix, partner: NDArray[np.int64], edge: float
) -> NDArray[np.int64]:
    """Pair what is left: a vertex and the one that most of its paired neighbours' partners are neighbours of."""
    for _ in range(ROUNDS):
        known, left = np.flatnonzero(partner >= 0), np.flatnonzero(partner < 0)
        if not len(left) or not len(known):
            break
        image = sp.csr_matrix((np.ones(len(known)), (known, partner[known])), shape=graph.shape)
        votes = sp.coo_matrix((graph[left] @ image @ graph)[:, left])
        off = np.linalg.norm(reflected[left[votes.row]] - points[left[votes.col]], axis=1) / edge
        near = off < REACH
        row, column, score = votes.row[near], votes.col[near], votes.data[near] - 0.2 * off[near]
        if not len(row):
            break
        best = _best(row, column, score, len(left))
        mutual = (best >= 0) & (best[best] == np.arange(len(left)))
        if not mutual.any():
            break
        partner = partner.copy()
        partner[left[mutual]] = left[best[mutual]]
    return partner


def _leftover(points: NDArray, reflected: NDArray, partner: NDArray[np.int64], local: NDArray) -> NDArray[np.int64]:
    """Pair the few whose edges differ on both sides by place alone, and those on the midline with themselves."""
    partner = np.where((partner >= 0) & (partner[partner] == np.arange(len(partner))), partner, -1)
    on_it = (partner < 0) & (np.linalg.norm(reflected - points, axis=1) < 0.5 * local)
    partner[on_it] = np.flatnonzero(on_it)
    left = np.flatnonzero(partner < 0)
    if len(left) > 1:
        distance, nearest = map(np.asarray, KDTree(points[left]).query(reflected[left]))
        found = (nearest[nearest] == np.arange(len(left))) & (distance < REACH * local[left])
        found &= found[nearest]
        partner[left[found]] = left[nearest[found]]
    return partner


def _best(row: NDArray, column: NDArray, score: NDArray, count: int) -> NDArray[np.int64]:
    """The column of the highest score in every row, -1 for rows without one."""
    order = np.lexsort((score, row))
    best = np.full(count, -1, np.int64)
    best[row[order]] = column[order]  # the last one written stays
    return best
