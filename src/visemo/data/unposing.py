"""From scans where they stand to faces that only move their features: heads held still, lips of proxies closed."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu
from scipy.spatial import KDTree

from visemo.face.face import Face
from visemo.geometry.mesh import adjacency
from visemo.types import FloatArray, IntArray

ROUNDS = 8  # of reweighting
FLOOR = 5e-5  # m: residuals below are noise, not features that move
FEWEST = 12  # vertices that can hold a head still
BESIDE_EYES = 0.012  # m: farther out begin the temples
BRIDGE = 0.008  # m: half the width of the bridge of the nose
REACH = 0.035  # m around the lips, beyond which closing them moves nothing
LOWER = 2 / 3  # of a closing mouth's way goes the lower lip


def still_vertices(vertices: FloatArray, eyes: FloatArray, brows: FloatArray) -> IntArray:
    """Vertices of a head (N, 3) m, +y up, that no expression moves much: forehead and scalp, bridge of the nose,
    temples. `eyes` and `brows` (n, 3) are points around them; all vertices where too few are left."""
    x, y = np.abs(vertices[:, 0] - np.median(eyes[:, 0])), vertices[:, 1]
    eye_line, brow_top, brow_low = eyes[:, 1].mean(), brows[:, 1].max(), brows[:, 1].min()
    outer = np.abs(eyes[:, 0] - np.median(eyes[:, 0])).max()
    above = y > brow_top + 0.5 * (brow_top - eye_line)
    temples = (x > outer + BESIDE_EYES) & (y > eye_line)
    bridge = (x < BRIDGE) & (y > eye_line) & (y < brow_low) & (vertices[:, 2] > eyes[:, 2].min())
    found = np.flatnonzero(above | temples | bridge).astype(np.int32)
    return found if len(found) >= FEWEST else np.arange(len(vertices), dtype=np.int32)


def lay_on(frames: FloatArray, neutral: FloatArray, still: IntArray) -> FloatArray:
    """Frames (n, N, 3) m moved rigidly so that their `still` vertices lie on those of the neutral (N, 3).

    Vertices that will not fit, since they move with the expression after all, lose their say.
    """
    source, target = frames[:, still].astype(np.float64), neutral[still].astype(np.float64)
    weights = np.ones(source.shape[:2])
    for _ in range(ROUNDS):
        rotation, shift = _rigid(source, target, weights)
        apart = np.linalg.norm(source @ rotation.transpose(0, 2, 1) + shift - target, axis=2)
        scale = np.maximum(np.median(apart, axis=1, keepdims=True), FLOOR)
        weights = 1 / (1 + (apart / scale) ** 2) ** 2  # Geman and McClure
    rotation, shift = _rigid(source, target, weights)
    return (frames @ rotation.transpose(0, 2, 1).astype(np.float32) + shift.astype(np.float32)).astype(np.float32)


def _rigid(source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`rigid_align` of many point sets (n, S, 3) to one (S, 3) at once: rotations (n, 3, 3) and shifts (n, 1, 3)."""
    w = (weights / weights.sum(axis=1, keepdims=True))[:, :, None]
    center, aim = (w * source).sum(axis=1, keepdims=True), (w * target).sum(axis=1, keepdims=True)
    u, _, vt = np.linalg.svd((source - center).transpose(0, 2, 1) @ ((target - aim) * w))
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]  # never a reflection
    rotation = (u @ vt).transpose(0, 2, 1)
    return rotation, aim - center @ rotation.transpose(0, 2, 1)


def median_head(meshes: FloatArray) -> FloatArray:
    """(N, 3) m: the per-vertex median of heads (n, N, 3), each laid rigidly on the first."""
    everywhere = np.arange(meshes.shape[1], dtype=np.int32)
    return np.median(lay_on(meshes, meshes[0], everywhere), axis=0).astype(np.float32)


def close_lips(face: Face, vertices: FloatArray) -> FloatArray:
    """Vertices (V, 3) m of a face with its lips brought together as they are in the template.

    The pairs of `face.lip_pairs` get the distance they have in the template; the skin around follows, less and less
    up to `REACH`, as a membrane would.
    """
    upper, lower = face.lip_pairs.T
    wanted = face.template[lower] - face.template[upper]
    way = (wanted - (vertices[lower] - vertices[upper])).astype(np.float64)
    ends = np.concatenate([upper, lower])
    moves = np.concatenate([-(1 - LOWER) * way, LOWER * way])
    rim = np.unique(ends)
    count = np.bincount(ends, minlength=len(vertices))[rim]
    on_rim = np.stack([np.bincount(ends, moves[:, k], len(vertices))[rim] for k in range(3)], axis=1) / count[:, None]
    far, _ = KDTree(face.template[rim]).query(face.template)
    inner = np.setdiff1d(np.flatnonzero(far < REACH), rim)
    neighbours = adjacency(face.triangles, len(vertices))
    laplacian = (sp.diags(np.asarray(neighbours.sum(axis=1)).ravel().clip(1)) - neighbours).tocsr()
    moved = np.zeros((len(vertices), 3))
    moved[rim] = on_rim
    if len(inner):
        solve = splu(laplacian[inner][:, inner].tocsc() + 1e-9 * sp.eye(len(inner)).tocsc())
        moved[inner] = solve.solve(-(laplacian[inner][:, rim] @ on_rim))
    return (vertices + moved).astype(np.float32)
