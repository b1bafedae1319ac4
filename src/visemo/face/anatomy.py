"""A Face from a mesh and its landmarks: what is lip, lid and brow is worked out from distances along the surface.

Everything is measured along the mesh's edges from the landmarks of the iBUG scheme (0-based: brows 17-26, nose 27-35,
eyes 36-47, outer lips 48-59, inner lips 60-67, chin 8) and in units of the face itself, so that it holds for any
head and any density of vertices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import KDTree

from visemo.face.eyes import eye_colors
from visemo.face.face import Cut, Face, Part
from visemo.face.mirroring import mirror_pairs
from visemo.geometry.mesh import adjacency, boundary_loops, edges
from visemo.types import FloatArray, IntArray, Mesh, VisemoError

NEEDED = tuple(range(17, 68))
CHIN = 8
SKIN = np.array([0.53, 0.325, 0.245])  # linear RGB
LIP_RED = np.array([0.43, 0.19, 0.17])
BROW_BROWN = np.array([0.16, 0.09, 0.06])
BROW_THICK, BROW_EDGE = 0.035, 0.03  # spans: half a brow's height at the nose, and over how much it fades
PAIRS = 35  # lip pairs, corners left out
FEWEST_PAIRS = 15
# distances in units of the span between the outer corners of the eyes, about 9 cm
MOUTH, LIDS, EYES, BROWS, NOSE, CHEEKS, FOREHEAD, JAW, BORDER = 0.13, 0.05, 0.13, 0.055, 0.3, 0.55, 0.65, 0.75, 0.09
UPPER_LINE, LOWER_LINE = (60, 61, 62, 63, 64), (60, 67, 66, 65, 64)
OUTER_LIP = (*range(48, 60), 48)
EYE_RINGS = ((*range(36, 42), 36), (*range(42, 48), 42))
BROW_LINES = (range(17, 22), range(22, 27))


def face_from_mesh(
    name: str,
    mesh: Mesh,
    *,
    licence: str = "",
    landmarks: Mapping[int, int] | None = None,
    regions: dict[str, IntArray] | None = None,
    lip_pairs: IntArray | None = None,
    mirror: IntArray | None = None,
    colors: FloatArray | None = None,
    shape_names: Sequence[str] = (),
    shapes: FloatArray | None = None,
    identity_names: Sequence[str] = (),
    identities: FloatArray | None = None,
    parts: Sequence[Part] = (),
    cut: Cut | None = None,
    symmetric: bool = True,
) -> Face:
    """A face of a mesh in metres, +y up, +z out of the face; what is None is derived from its geometry.

    Parameters
    ----------
    mesh : the neutral, its lips shut or nearly.
    landmarks : iBUG number -> vertex; all of 17 to 67 unless regions and lip pairs are given. 8, the chin, sharpens
        the jaw.
    regions : lips, upper_lip, lower_lip, mouth, eyes, lids, brows, forehead, nose, cheeks, jaw, upper_face, and border
        where the mesh has one.
    lip_pairs : (N, 2) upper, lower.
    mirror : (V,) involution.
    symmetric : refuse a mesh of which `mirror_pairs` cannot pair every vertex. Otherwise those vertices are paired
        with themselves: the face can be retargeted to and drawn, but not flattened to a geometry map, which says so.

    Raises
    ------
    VisemoError
        For landmarks that are missing, vertices without a mirror image, and what `Face` refuses.
    """
    landmarks = dict(landmarks or {})
    if regions is None or lip_pairs is None or colors is None:
        anatomy = Anatomy.of(mesh, landmarks)
        regions = anatomy.regions() if regions is None else regions
        colors = anatomy.colors(regions) if colors is None else colors
    else:
        anatomy = None
    if mirror is None:
        mirror = mirror_pairs(mesh.vertices, mesh.triangles, complete=symmetric)
    if lip_pairs is None:
        assert anatomy is not None
        lip_pairs = anatomy.lip_pairs(mirror)
    return Face(
        name, mesh.vertices, mesh.triangles, regions, lip_pairs, mirror, colors, tuple(shape_names), shapes,
        tuple(identity_names), identities, tuple(parts), landmarks, cut, licence,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A mesh, its landmarks, and distances along its edges."""

    points: NDArray[np.float64]  # (V, 3)
    triangles: IntArray
    landmarks: Mapping[int, int]
    graph: sp.csr_matrix  # (V, V) lengths of the edges
    span: float  # between the outer corners of the eyes: the unit of every threshold

    @classmethod
    def of(cls, mesh: Mesh, landmarks: Mapping[int, int]) -> Anatomy:
        """Raises VisemoError when landmarks are missing, or lie on pieces of the mesh that do not hang together."""
        missing = [number for number in NEEDED if number not in landmarks]
        if missing:
            raise VisemoError(
                f"landmarks: got {len(landmarks)}, expected iBUG numbers 17 to 67 (0-based); "
                f"{', '.join(map(str, missing[:8]))}{'...' if len(missing) > 8 else ''} are missing"
            )
        points = np.asarray(mesh.vertices, np.float64)
        i, j = edges(mesh.triangles).T
        length = np.maximum(np.linalg.norm(points[i] - points[j], axis=1), 1e-9)  # a zero is no edge to a sparse matrix
        half = sp.csr_matrix((length, (i, j)), shape=(len(points),) * 2)
        graph = sp.csr_matrix(half + half.T)
        _, piece = connected_components(graph, directed=False)
        off = [number for number in NEEDED if piece[landmarks[number]] != piece[landmarks[30]]]
        if off:
            raise VisemoError(
                f"landmarks: got {', '.join(map(str, off[:8]))} on another piece of the mesh than the nose, "
                "expected all on the skin"
            )
        span = float(np.linalg.norm(points[landmarks[36]] - points[landmarks[45]]))
        return cls(points, mesh.triangles, landmarks, graph, span)

    # --- along the surface ----------------------------------------------------------------------------

    def place(self, *numbers: int) -> NDArray[np.float64]:
        """Mean position (3,) of some landmarks."""
        return self.points[[self.landmarks[number] for number in numbers]].mean(axis=0)

    def away(self, vertices: Sequence[int] | NDArray) -> NDArray[np.float64]:
        """(V,) distance to the nearest of some vertices along the edges, in spans; infinite on other pieces."""
        start = np.unique(np.asarray(vertices, np.int64))
        return dijkstra(self.graph, directed=False, indices=start, min_only=True) / self.span

    def path(self, numbers: Sequence[int]) -> list[int]:
        """The vertices of the shortest way through some landmarks, one after the other."""
        return self.way([self.landmarks[number] for number in numbers])

    def way(self, stops: Sequence[int], graph: sp.csr_matrix | None = None) -> list[int]:
        """The vertices of the shortest way through some vertices."""
        way = [int(stops[0])]
        graph = self.graph if graph is None else graph
        for start, stop in pairwise(stops):
            straight = float(np.linalg.norm(self.points[start] - self.points[stop]))
            for limit in (2.5 * straight, np.inf):  # near first: the whole mesh takes long
                _, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True, limit=limit)
                if before[stop] >= 0 or start == stop:
                    break
            leg, at = [], int(stop)
            while at != start:
                leg.append(at)
                at = int(before[at])
            way += leg[::-1]
        return way

    # --- regions --------------------------------------------------------------------------------------

    def regions(self) -> dict[str, IntArray]:
        """The regions that every face names; `border` only where the mesh has an outer boundary."""
        upper_lip, lower_lip = self._lips()
        lips = upper_lip | lower_lip
        eye = self.away([vertex for ring in EYE_RINGS for vertex in self.path(ring)])
        brow = self.away([vertex for line in BROW_LINES for vertex in self.path(line)])
        x, y, _ = ((self.points - self.place(27, 30, 33)) / self.span).T
        seen = self.away([self.landmarks[number] for number in NEEDED]) < 1.0
        mouth = self.away(np.flatnonzero(lips)) < MOUTH
        eyes, brows = eye < EYES, brow < BROWS
        wing = 0.5 * np.linalg.norm(self.place(35) - self.place(31)) / self.span
        up = {number: (self.place(number)[1] - self.place(27, 30, 33)[1]) / self.span for number in (27, 30, 33, 57)}
        nose = self.away(self.path(range(27, 34))) < NOSE
        nose &= (np.abs(x) < 1.3 * wing) & (y < up[27] + 0.03) & (y > up[33] - 0.03) & ~eyes & ~mouth
        cheek = self.away([self.landmarks[number] for number in (31, 35, 41, 46, 48, 54)])
        cheeks = (cheek < CHEEKS) & (np.abs(x) > 0.21) & (y < up[30] + 0.16) & (y > up[57] - 0.05)
        cheeks &= ~(eye < LIDS) & ~lips & ~nose
        forehead = (brow < FOREHEAD) & (brow > BROWS) & (y > self._above_brows(x)) & (np.abs(x) < 0.9)
        lower = [self.landmarks[57], *([self.landmarks[CHIN]] if CHIN in self.landmarks else [])]
        jaw = (self.away(lower) < JAW) & (y < up[57] + 0.03) & ~lips
        masks = {
            "lips": lips, "upper_lip": upper_lip, "lower_lip": lower_lip, "mouth": mouth, "eyes": eyes,
            "lids": eye < LIDS, "brows": brows, "forehead": forehead, "nose": nose, "cheeks": cheeks, "jaw": jaw,
            "upper_face": (y > up[30]) & seen, "border": self._border(),
        }  # fmt: skip
        return {name: np.flatnonzero(mask).astype(np.int32) for name, mask in masks.items() if mask.any()}

    def _above_brows(self, x: NDArray) -> NDArray:
        """(V,) height of the brows at each vertex's side of the face."""
        line = [((self.place(n) - self.place(27, 30, 33)) / self.span)[:2] for n in range(17, 27)]
        side, height = np.array(sorted(map(tuple, line))).T
        return np.interp(x, side, height)

    def _border(self) -> NDArray[np.bool_]:
        loops = boundary_loops(self.triangles)
        if not loops:
            return np.zeros(len(self.points), bool)
        features = [vertex for ring in (OUTER_LIP, *EYE_RINGS) for vertex in self.path(ring)]
        near = self.away(features)
        outer = max(loops, key=lambda loop: float(np.where(np.isfinite(near[loop]), near[loop], -1).mean()))
        return self.away(outer) < BORDER

    def _lips(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Upper and lower lip (V,): what the outer contour encloses; corners belong to both."""
        contour, (above, below) = self.path(OUTER_LIP), self.inner_lines()
        inside = self._enclosed(contour, [*above, *below])
        to_upper, to_lower = self.away(above[1:-1]), self.away(below[1:-1])
        reach = self.away([*above, *below])
        inside &= reach < 1.1 * reach[contour].max()  # and not the whole bag behind them
        inside[contour] = True
        corners = np.zeros(len(self.points), bool)
        corners[[self.landmarks[number] for number in (48, 54, 60, 64)]] = True
        return inside & ((to_upper <= to_lower) | corners), inside & ((to_lower <= to_upper) | corners)

    def _enclosed(self, contour: list[int], seeds: list[int]) -> NDArray[np.bool_]:
        """Vertices that hang together with the seeds once the contour is taken out; the seeds at least."""
        keep = np.ones(len(self.points), bool)
        keep[contour] = False
        kept = sp.diags(keep.astype(float)) @ self.graph @ sp.diags(keep.astype(float))
        _, piece = connected_components(sp.csr_matrix(kept), directed=False)
        inside = np.isin(piece, piece[[seed for seed in seeds if keep[seed]]]) & keep
        inside[seeds] = True
        return inside

    # --- lips -----------------------------------------------------------------------------------------

    def inner_lines(self) -> tuple[list[int], list[int]]:
        """Where the lips meet: upper and lower line of vertices from the right corner to the left.

        From the ways through the landmarks each line moves to where it comes closest to the other.
        """
        upper, lower = self.path(UPPER_LINE), self.path(LOWER_LINE)
        sides = self.away(upper[1:-1]), self.away(lower[1:-1])
        for _ in range(2):
            upper = self._closer(upper, lower, sides[0] < sides[1])
            lower = self._closer(lower, upper, sides[1] < sides[0])
        return upper, lower

    def _closer(self, line: list[int], other: list[int], own: NDArray[np.bool_]) -> list[int]:
        """The way between the ends of a line that is short and close to the other line, on its own side of the mouth;
        the line itself where its landmarks are closer already."""
        gap = KDTree(self.points[other]).query(self.points)[0] / self.span
        near = own & (gap < 0.1)
        near[line] = True
        pairs = sp.coo_matrix(self.graph)
        both = near[pairs.row] & near[pairs.col]
        row, column = pairs.row[both], pairs.col[both]
        dear = 1 + (0.5 * (gap[row] + gap[column]) / 0.01) ** 2
        graph = sp.csr_matrix((pairs.data[both] * dear, (row, column)), shape=self.graph.shape)
        found = self.way([line[0], line[-1]], graph)
        return found if len(found) > 2 and gap[found].mean() < gap[line].mean() else line

    def lip_pairs(self, mirror: IntArray) -> IntArray:
        """(N, 2) upper and lower vertices that touch when the mouth is shut, evenly spaced from corner to corner.

        On a coarse mesh a pair may come up more than once: it stands for its share of the rim.
        """
        upper, lower = (np.array(line) for line in self.inner_lines())
        count = int(np.clip(min(len(upper), len(lower)) - 2, FEWEST_PAIRS, PAIRS)) // 2 * 2 + 1
        shares = np.arange(1, count // 2 + 2) / (count + 1)  # of the right half, the middle included
        pairs = np.array([self._pair(upper, lower, share) for share in shares], np.int32)
        left = [self._pair(upper, lower, 1 - share) for share in shares[-2::-1]]
        reflected = mirror[pairs[-2::-1]]
        known = (reflected != pairs[-2::-1]).all(axis=1, keepdims=True)
        return np.concatenate([pairs, np.where(known, reflected, left)]).astype(np.int32)

    def _pair(self, upper: NDArray, lower: NDArray, share: float) -> tuple[int, int]:
        """The pair at a share of the rim: the upper vertex there, and of the lower ones about there the closest."""
        first, second = self._along(upper), self._along(lower)
        top = int(upper[1 + np.abs(first[1:-1] - share).argmin()])
        apart = np.linalg.norm(self.points[lower] - self.points[top], axis=1) / self.span
        cost = apart + 0.5 * np.abs(second - share)
        return top, int(lower[1 + cost[1:-1].argmin()])

    def _along(self, line: NDArray) -> NDArray[np.float64]:
        """(n,) how far each vertex of a line is along it, 0..1."""
        arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(self.points[line], axis=0), axis=1))])
        return arc / max(arc[-1], 1e-12)

    def colors(self, regions: Mapping[str, IntArray]) -> FloatArray:
        """Linear RGB (V, 3): skin, redder lips, darker brows, and eyeballs where they are pieces of their own."""
        colors = np.tile(SKIN, (len(self.points), 1))
        for tint, share in ((BROW_BROWN, self._hair()), (LIP_RED, self._softened(regions.get("lips", ())))):
            colors += share[:, None] * (tint - colors)
        for rows in self._eyeballs():
            colors[rows] = eye_colors(self.points[rows] - self.points[rows].mean(axis=0))
        return colors.astype(np.float32)

    def _hair(self) -> NDArray[np.float64]:
        """(V,) 0..1: strokes along the landmarks of the brows, thinner and fainter towards the tail."""
        hair = np.zeros(len(self.points))
        for line in BROW_LINES:
            inward = line if line is BROW_LINES[1] else line[::-1]  # from the nose outwards
            knots = self.points[[self.landmarks[number] for number in inward]]
            for k, (start, stop) in enumerate(pairwise(knots)):
                along = ((self.points - start) @ (stop - start) / max(np.square(stop - start).sum(), 1e-12)).clip(0, 1)
                off = np.linalg.norm(self.points - start - along[:, None] * (stop - start), axis=1) / self.span
                at = (k + along) / (len(knots) - 1)  # 0 at the nose, 1 at the tail
                edge = np.clip((BROW_THICK * (1 - 0.65 * at) - off) / BROW_EDGE + 0.5, 0, 1)
                hair = np.maximum(hair, (0.75 - 0.25 * at) * edge * edge * (3 - 2 * edge))
        return hair

    def _softened(self, members: Sequence[int] | NDArray) -> NDArray[np.float64]:
        """(V,) 1 within some vertices and 0 without, the step spread over their neighbours."""
        share = np.zeros(len(self.points))
        share[np.asarray(members, np.int64)] = 1
        near = adjacency(self.triangles, len(self.points))
        degree = np.maximum(np.asarray(near.sum(axis=1)).ravel(), 1)
        for _ in range(2):
            share = 0.5 * share + 0.5 * (near @ share) / degree
        return share

    def _eyeballs(self) -> list[NDArray[np.int64]]:
        """The vertices of each piece of the mesh that lies behind lids and is round like an eye."""
        count, piece = connected_components(self.graph, directed=False)
        middles = [self.place(*ring[:-1]) for ring in EYE_RINGS]
        found = []
        for number in range(count):
            rows = np.flatnonzero(piece == number)
            off = min(np.linalg.norm(self.points[rows].mean(axis=0) - middle) for middle in middles) / self.span
            size = np.ptp(self.points[rows], axis=0) / self.span
            if len(rows) > 20 and off < 0.25 and size.max() < 0.5 and size.max() < 1.5 * size.min():
                found.append(rows)
        return found
