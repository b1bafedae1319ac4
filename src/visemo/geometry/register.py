"""Dense registration: the vertices of a template laid on the surface of a scan.

1. A similarity brings the scan into the template's frame by landmarks; what is left of them becomes a smooth warp.
2. Round by round every vertex looks for the closest point of the scan that faces alike, and all are moved by the
   smoothest displacement that takes them there; stage by stage it may be less smooth. Along the surface a vertex
   follows its counterpart as long as normals tell where that is, then only its neighbours.
3. Vertices without a counterpart (beyond the scan's open edge, facing another way, too far) are carried along; so
   are, at first, those in hollows, such as nostrils, which no two topologies make alike.
4. Triangles that ended upside down are laid out anew by their neighbours.

Source: the loop of offsets and diffusion is that of Fan et al., "Towards Fine-Grained Optimal 3D Face Dense
Registration", IJCV 2023; closest points among those that face alike: Feldmar and Ayache 1996; smoothness as a prior
on displacements: Amberg et al. 2007. Diffusing the bending, not the gradient, is visemo's choice: with planted
truth it leaves half the error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import KDTree

from visemo.geometry.closest import Hits, Surface
from visemo.geometry.diffusion import Diffusion, Factor, Pins
from visemo.geometry.mesh import adjacency, boundary_loops, edges, vertex_normals
from visemo.geometry.pieces import skin
from visemo.types import FloatArray, IntArray, Mesh, VisemoError
from visemo.units import MM_PER_M

Float64 = NDArray[np.float64]

ROOM, CLEAR = 0.008, 0.7  # m, share
FEWEST = 4  # landmarks for a similarity, not all in a plane with their mirror images
SETTLE = 4  # times that the scan is followed again after triangles were laid out anew
UNFOLD = 8  # attempts at triangles upside down, each a ring wider
INNER = 3  # passes in which vertices that are free to slide, or have no counterpart, join the others


@dataclass(frozen=True)
class Stage:
    """Some rounds of one smoothness. Lengths in metres at the template's size."""

    reach: float  # detail of the displacement smaller than this is held back
    rounds: int
    turn: float  # how far a vertex would go for a point that faces alike, rather than across
    slide: float  # share of the way along the surface that it goes with its counterpart, 0..1
    far: float  # a counterpart beyond this is none
    facing: float = 0.3  # cosine between normals below which it is none
    hollows: bool = True  # whether vertices in hollows look for counterparts too, or are carried along


@dataclass(frozen=True)
class RegisterConfig:
    """How a template is laid on a scan. Lengths in metres at the template's size."""

    stages: tuple[Stage, ...] = (
        Stage(0.060, 8, 0.060, 1.0, 0.020, hollows=False),
        Stage(0.030, 8, 0.060, 1.0, 0.020, hollows=False),
        Stage(0.015, 8, 0.040, 1.0, 0.012, hollows=False),
        Stage(0.008, 6, 0.020, 0.7, 0.008, -0.3, hollows=False),
        Stage(0.004, 5, 0.010, 0.3, 0.008, -0.5),  # nostrils and corners of the mouth may be folded otherwise
        Stage(0.002, 4, 0.005, 0.0, 0.008, -1.0),
        Stage(0.002, 4, 0.003, 0.0, 0.008, -1.0),
    )
    warp: float = 0.1  # reach of the landmarks' warp
    landmark_error: float = 0.0  # 0: landmarks are exact; else how far they may be off
    hold: int = 4  # stages during which landmarks do not leave where they are known to be
    border: float = 0.010  # the face region keeps this far from the template's outer border


@dataclass(frozen=True, eq=False)
class Similarity:
    """x -> scale * rotation @ x + translation."""

    scale: float
    rotation: Float64  # (3, 3)
    translation: Float64  # (3,)

    def apply(self, points: np.ndarray) -> Float64:
        return self.scale * np.asarray(points, np.float64) @ self.rotation.T + self.translation

    def turn(self, field: np.ndarray) -> Float64:
        """Displacements (..., 3) as they are seen on the other side: turned and scaled."""
        return self.scale * np.asarray(field, np.float64) @ self.rotation.T

    def turn_back(self, field: np.ndarray) -> Float64:
        """The inverse of `turn`."""
        return np.asarray(field, np.float64) @ self.rotation / self.scale

    def back(self, points: np.ndarray) -> Float64:
        return (np.asarray(points, np.float64) - self.translation) @ self.rotation / self.scale


@dataclass(frozen=True, eq=False)
class Registration:
    """A template laid on a scan."""

    vertices: FloatArray  # (V, 3) the template's vertices, in the scan's frame and unit
    pose: Similarity  # template -> scan, as the landmarks had it
    distance_mean: float  # mm at the template's size, from the face region to the scan
    distance_max: float
    flips: int  # triangles that lie upside down among their neighbours, anywhere
    seconds: float
    inside: IntArray  # the face region
    distances: FloatArray  # (V,) mm at the template's size, of all vertices


def register(
    template: np.ndarray,
    triangles: IntArray,
    mesh: Mesh,
    pairs: tuple[IntArray, np.ndarray],
    config: RegisterConfig | None = None,
    *,
    inside: IntArray | None = None,
) -> Registration:
    """Lay a template on a scan.

    Parameters
    ----------
    template, triangles : (V, 3) m and (F, 3) int32, counter-clockwise seen from outside.
    mesh : the scan, any unit and pose.
    pairs : landmarks: vertices of the template (L,) and where they are on the scan (L, 3); at least 4.
    config : see RegisterConfig.
    inside : vertices where distances are told; absent: those `face_region` finds.

    Returns
    -------
    Registration, whose vertices are in the scan's frame and unit.

    Raises
    ------
    VisemoError
        When there are too few landmarks, they do not fit each other in shape, or the scan has no triangles.
    """
    config, begin = config or RegisterConfig(), perf_counter()
    rows, points = _checked(pairs, len(template))
    rest = np.asarray(template, np.float64)
    pose = similarity(rest[rows], points)
    scan = Surface(skin(Mesh(pose.back(mesh.vertices).astype(np.float32), mesh.triangles)))
    sheet = _Sheet(rest, triangles, scan, (rows, pose.back(points)))
    sheet.warp(config)
    for number, stage in enumerate(config.stages):
        sheet.follow(stage, config.landmark_error if number < config.hold else None)
    sheet.settle(config.stages[-1:])
    inside = face_region(rest, triangles, scan, sheet.laid, config.border) if inside is None else inside
    distances = MM_PER_M * scan.closest(sheet.laid).distance
    return Registration(
        vertices=pose.apply(sheet.laid).astype(np.float32),
        pose=pose,
        distance_mean=float(distances[inside].mean()) if len(inside) else float("nan"),
        distance_max=float(distances[inside].max()) if len(inside) else float("nan"),
        flips=int(flipped(rest, sheet.laid, triangles).sum()),
        seconds=perf_counter() - begin,
        inside=inside,
        distances=distances.astype(np.float32),
    )


def similarity(source: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> Similarity:
    """The similarity that brings `source` (N, 3) closest to `target` (N, 3) in weighted least squares.

    Raises VisemoError when either set of points does not spread out in at least two directions.

    Source: Umeyama 1991.
    """
    w = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    center, aim = w @ source, w @ target
    x, y = source - center, target - aim
    u, strength, vt = np.linalg.svd((y * w[:, None]).T @ x)
    if not strength[1] > 1e-9 * strength[0] > 0:
        raise VisemoError("landmarks: got points on a line, expected some that spread over the face; give others")
    upright = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(upright) @ vt
    scale = float((strength * upright).sum() / (w @ (x**2).sum(axis=1)))
    return Similarity(scale, rotation, aim - scale * rotation @ center)


def face_region(template: np.ndarray, triangles: IntArray, scan: Surface, laid: np.ndarray, border: float) -> IntArray:
    """The vertices where a template and a scan both have a face, said by geometry alone.

    Those further than `border` from the template's outer border (its longest open loop), on no open edge of the
    template (mouth and eyes), and whose closest point on the scan is not on an open edge of it.
    """
    loops = boundary_loops(triangles)
    keep = ~scan.at_boundary(scan.closest(laid))
    if loops:
        outer = max(loops, key=lambda loop: np.linalg.norm(np.diff(template[loop], axis=0), axis=1).sum())
        keep &= KDTree(template[outer]).query(template)[0] > border
        keep[np.concatenate(loops)] = False
    return np.flatnonzero(keep).astype(np.int32)


def hollow(template: np.ndarray, triangles: IntArray) -> NDArray[np.bool_]:
    """Which vertices (V,) lie in hollows, such as nostrils, the inside of lips and the fold behind an ear.

    Those before which, ROOM away along the normal, another part of the surface is nearer than CLEAR of that.
    """
    points = np.asarray(template, np.float32)
    surface = Surface(Mesh(points, triangles))
    return surface.closest(points + ROOM * surface.normals).distance < CLEAR * ROOM


def flipped(template: np.ndarray, laid: np.ndarray, triangles: IntArray) -> NDArray[np.bool_]:
    """Which triangles (F,) lie upside down: their normal opposes the template's, turned as their surroundings were.

    The turn of a vertex is the rotation that fits its ring best, that of a triangle the sum over its corners.
    """
    turns = _turns(np.asarray(template, np.float64), np.asarray(laid, np.float64), triangles)
    before, after = _normals(template, triangles), _normals(laid, triangles)
    return np.einsum("fkij,fj,fi->f", turns[triangles], before, after) < 0


def _checked(pairs: tuple[IntArray, np.ndarray], count: int) -> tuple[IntArray, Float64]:
    rows, points = np.asarray(pairs[0], np.int32), np.asarray(pairs[1], np.float64)
    if rows.ndim != 1 or points.shape != (len(rows), 3):
        raise VisemoError(f"landmarks: got shapes {rows.shape} and {points.shape}, expected (L,) and (L, 3)")
    if len(rows) < FEWEST:
        raise VisemoError(f"landmarks: got {len(rows)} of them, expected at least {FEWEST}; give more")
    if rows.min() < 0 or rows.max() >= count or not np.isfinite(points).all():
        raise VisemoError(
            f"landmarks: got vertices {rows.min()}..{rows.max()}, expected 0..{count - 1} at finite points"
        )
    return rows, points


class _Sheet:
    """The template while it is laid on a scan, all in the template's frame."""

    def __init__(self, rest: Float64, triangles: IntArray, scan: Surface, landmarks: tuple[IntArray, Float64]):
        self.rest, self.triangles, self.scan = rest, triangles, scan
        self.rows, self.points = landmarks
        self.diffusion = Diffusion(rest, triangles)
        self.hollow = hollow(rest, triangles)
        self.laid = rest
        self.hits: Hits | None = None  # of the round before

    def warp(self, config: RegisterConfig) -> None:
        """Bring the landmarks where they are meant to be, and all around smoothly along."""
        missing = self.points - self.rest[self.rows]
        doubt = config.landmark_error / max(np.sqrt((missing**2).mean()), 1e-9)
        self.laid = self.rest + self.diffusion.interpolated(self.rows, missing, config.warp, doubt)

    def follow(self, stage: Stage, error: float | None) -> None:
        """The rounds of one stage; landmarks stay within `error` of their places, if any is said."""
        factor = self.diffusion.factorised(stage.reach)
        pins = None if error is None else factor.pins(self.rows)
        for _ in range(stage.rounds):
            moved = self._toward_scan(factor, stage)
            if pins is not None and error is not None:
                moved = self._held(moved, pins, error)
            self.laid = self.laid + moved

    def settle(self, last: tuple[Stage, ...]) -> None:
        """Lay triangles that are upside down out anew, and follow the scan again as far as none turns over."""
        for stage in last * SETTLE:
            if not flipped(self.rest, self.laid, self.triangles).any():
                return
            self._unfold()
            self.follow(replace(stage, rounds=1), None)
        self._unfold()

    def _toward_scan(self, factor: Factor, stage: Stage) -> Float64:
        """Where all vertices go in one round (V, 3)."""
        ahead = vertex_normals(self.laid.astype(np.float32), self.triangles).astype(np.float64)
        self.hits = hits = self.scan.closest(self.laid, ahead, stage.turn, self.hits)
        normal = _unit(hits.of(self.scan.normals, self.scan.mesh.triangles))
        way = hits.of(self.scan.mesh.vertices, self.scan.mesh.triangles) - self.laid
        out = np.einsum("vi,vi->v", way, normal)[:, None] * normal
        alike = np.einsum("vi,vi->v", ahead, normal) > stage.facing
        met = (alike & (hits.distance < stage.far) & ~self.scan.at_boundary(hits))[:, None]
        if not stage.hollows:
            met &= ~self.hollow[:, None]
        moved = np.zeros_like(self.laid)
        for _ in range(INNER):  # the fixed point is the smoothest displacement with what is known, as it is known
            along = moved - np.einsum("vi,vi->v", moved, normal)[:, None] * normal
            known = out + stage.slide * (way - out) + (1.0 - stage.slide) * along
            moved = factor.solve(np.where(met, known, moved))
        return moved

    def _held(self, moved: Float64, pins: Pins, error: float) -> Float64:
        """A displacement (V, 3) after which no landmark lies further than `error` from where it is meant to be."""
        off = self.points - self.laid[self.rows] - moved[self.rows]
        length = np.linalg.norm(off, axis=1)
        back = off * np.maximum(1.0 - error / np.maximum(length, 1e-12), 0.0)[:, None]
        return pins.pull(moved, moved[self.rows] + back, active=length > error)

    def _unfold(self) -> None:
        """Triangles upside down, and each time more around them, take the form that what is around bends to."""
        beside = adjacency(self.triangles, len(self.rest)) + sp.eye(len(self.rest))
        for rings in range(1, UNFOLD + 1):
            bad = np.zeros(len(self.rest), bool)
            bad[self.triangles[flipped(self.rest, self.laid, self.triangles)]] = True
            if not bad.any():
                return
            for _ in range(rings):
                bad = beside @ bad > 0
            around = np.flatnonzero(bad).astype(np.int32)
            self.laid = self.rest + self.diffusion.filled(self.laid - self.rest, around)


def _turns(rest: Float64, laid: Float64, triangles: IntArray) -> Float64:
    """The rotation (V, 3, 3) that takes each vertex's ring in `rest` closest to that in `laid`."""
    i, j = edges(triangles).T
    product = np.einsum("ei,ej->eij", laid[j] - laid[i], rest[j] - rest[i]).reshape(len(i), 9)
    ends = np.concatenate([i, j])
    gather = sp.csr_matrix((np.ones(len(ends)), (ends, np.tile(np.arange(len(i)), 2))), shape=(len(rest), len(i)))
    u, _, vt = np.linalg.svd((gather @ product).reshape(-1, 3, 3))
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    return u @ vt


def _normals(vertices: np.ndarray, triangles: IntArray) -> Float64:
    """Normals (F, 3) as long as twice the area."""
    corners = np.asarray(vertices, np.float64)[triangles]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _unit(vectors: Float64) -> Float64:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
