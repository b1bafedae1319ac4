"""The square, mirror-symmetric geometry map (Eq. 1): a face surface as an image and back.

The frontal face is flattened once onto the unit square: u grows with the face's own left, v with
up, and the mirror image of (u, v) is (1 - u, v) exactly. Its holes (mouth, eyes) are closed by one
vertex each, the interior solves Floater's mean-value equations, and the weights are rebalanced until
every vertex has the share of the square that its surface area and its importance ask for. All
weights stay positive, so Tutte's theorem forbids flipped triangles.

Pixels sit on the grid i / (size - 1), so the border of the square is made of pixels; row 0 is the
top of the face (v = 1), column 0 its own right (u = 0). Both directions use this one convention
(`align_corners=True` in torch's words).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from torch import Tensor, nn

from visemo.geometry.laplacian import csr_tensor
from visemo.geometry.mesh import adjacency, boundary_loops, edges
from visemo.types import FloatArray, IntArray, VisemoError

Float64 = NDArray[np.float64]

REBALANCE_STEPS = 10  # more even areas cost shape: round trips are best near ten
REBALANCE_POWER = -0.5
AREA_POWER = 0.7  # between one share per area (1) and one per vertex (0): dense regions hold the detail
FADE_RINGS = 16  # rings over which the importance fades out: a jump would squeeze its neighbours
CORNERS = (1 / 8, 3 / 8)  # of the outer boundary's length, from its top middle; mirrored on the other side
HOLE_FILL = 0.75  # smallest hole: this many mean vertex areas per vertex of its rim, as shut lips have none

# ---------------------------------------------------------------- flattening


def flatten(
    vertices: FloatArray,  # (V, 3)
    triangles: IntArray,  # (F, 3)
    mirror: IntArray,  # (V,)
    importance: FloatArray | None = None,  # (V,) positive; 4 asks for four times the pixels per area
) -> Float64:
    """Flatten a face with holes to the unit square: uv (V, 2) float64, no triangle flipped.

    The flattening belongs to `symmetric_triangles(vertices, triangles, mirror)`.

    Raises VisemoError when the surface is not one disc with holes, when its outer boundary does not
    cross the midline at two vertices, or when a triangle comes out flipped.

    Source: Floater 2003 (mean-value weights); corners and rebalancing are this project's.
    """
    triangles = symmetric_triangles(vertices, triangles, mirror)
    loops = boundary_loops(triangles)
    if not loops:
        raise VisemoError("face mesh: got a closed surface, expected one with an outer boundary")
    outer = max(loops, key=lambda loop: _perimeter(vertices[loop]))
    holes = [loop for loop in loops if loop is not outer]
    if importance is None:
        importance = np.ones(len(vertices), np.float32)
    closed, hubs = _close(triangles, holes, len(vertices))
    partner = np.concatenate([mirror, hubs[_hole_partners(holes, mirror)]])
    wanted = _wanted_shares(vertices, triangles, holes, importance, partner)
    border = _square_border(vertices, mirror, outer)
    weights = _mean_value_weights(vertices, triangles, holes, partner)
    uv = _solve(weights, outer, border)
    for _ in range(REBALANCE_STEPS):
        share = _vertex_areas(_flat_areas(uv, closed), closed, len(uv))
        pull = (wanted / np.maximum(share, 1e-12)) ** REBALANCE_POWER
        weights = _row_normalised(sp.csr_matrix(weights @ sp.diags(pull)))
        uv = _solve(weights, outer, border)
    uv = _exactly_symmetric(uv[: len(vertices)], vertices, mirror)
    flipped = int((_flat_areas(uv, triangles) <= 0).sum())
    if flipped:
        raise VisemoError(f"geometry map: got {flipped} flipped triangles, expected none; remesh the face's border")
    return uv


def symmetric_triangles(vertices: FloatArray, triangles: IntArray, mirror: IntArray) -> IntArray:
    """The same surface with mirror-symmetric diagonals: (F, 3) int32, unchanged where it is already.

    Quads split into triangles the same way round on both sides are not symmetric; on the face's own
    right they take over the split of the left. Raises VisemoError when that cannot be done because
    unpaired triangles straddle the midline or one side has more of them.
    """
    ordered = {tuple(corners) for corners in np.sort(triangles, axis=1).tolist()}
    reflected = np.sort(mirror[triangles], axis=1)
    odd = np.array([tuple(corners) not in ordered for corners in reflected.tolist()], bool)
    if not odd.any():
        return triangles
    side = np.sign(vertices[:, 0] - vertices[mirror, 0])[triangles[odd]]
    if (side.min(axis=1) * side.max(axis=1) < 0).any():
        raise VisemoError("face mesh: got unpaired triangles across the midline, expected edges along it")
    left = triangles[odd][side.max(axis=1) > 0]
    if 2 * len(left) != odd.sum():
        raise VisemoError(
            f"face mesh: got {len(left)} unpaired triangles on the face's left, {odd.sum() - len(left)} on its right, "
            "expected two sides alike"
        )
    mirrored = mirror[left][:, ::-1]
    return np.concatenate([triangles[~odd], left, mirrored]).astype(np.int32)


def _close(triangles: IntArray, holes: list[NDArray[np.int32]], count: int) -> tuple[NDArray, NDArray]:
    """Triangles with a fan around one new vertex, a hub, in every hole; and the hubs' indices."""
    hubs = count + np.arange(len(holes))
    fans = [np.stack([np.full(len(rim), hub), np.roll(rim, -1), rim], axis=1) for hub, rim in zip(hubs, holes)]
    closed = np.concatenate([triangles, *fans]).astype(np.int64)
    _check_disc(closed, count + len(holes))
    return closed, hubs


def _hole_partners(holes: list[NDArray[np.int32]], mirror: IntArray) -> NDArray[np.int64]:
    """Which hole is which hole's mirror image."""
    owner = {int(v): i for i, rim in enumerate(holes) for v in rim}
    return np.array([owner[int(mirror[rim[0]])] for rim in holes], np.int64)


def _check_disc(triangles: NDArray, count: int) -> None:
    pairs = edges(triangles)
    graph = sp.csr_matrix((np.ones(len(pairs)), pairs.T), shape=(count, count))
    pieces = connected_components(graph, directed=False)[0]
    euler = count - len(pairs) + len(triangles)
    if pieces != 1 or euler != 1:
        raise VisemoError(
            f"face mesh: got {pieces} pieces with Euler number {euler} once holes are closed, "
            "expected one disc (1, 1); drop loose vertices and handles"
        )


def _square_border(vertices: FloatArray, mirror: IntArray, outer: NDArray[np.int32]) -> Float64:
    """Place the outer loop (L,) on the square by arc length: (L, 2), corners at CORNERS of its length."""
    middle = [i for i, v in enumerate(outer) if mirror[v] == v]
    if len(middle) != 2:
        raise VisemoError(f"outer boundary: got {len(middle)} vertices on the midline, expected its top and its bottom")
    top, bottom = sorted(middle, key=lambda i: -vertices[outer[i], 1])
    steps = np.arange((bottom - top) % len(outer) + 1)
    half = (top + steps) % len(outer)  # positions in the loop, top to bottom
    if vertices[outer[half], 0].sum() < 0:
        half = (top - np.arange((top - bottom) % len(outer) + 1)) % len(outer)
    points = vertices[outer[half]].astype(np.float64)
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    arc = 0.5 * arc / arc[-1]
    upper, lower = (int(np.abs(arc - corner).argmin()) for corner in CORNERS)
    knots = arc[[0, upper, lower, len(arc) - 1]]
    if not (np.diff(knots) > 0).all():
        raise VisemoError(f"outer boundary: got {len(outer)} vertices, expected enough for the four sides of a square")
    uv_half = np.stack([np.interp(arc, knots, (0.5, 1, 1, 0.5)), np.interp(arc, knots, (1, 1, 0, 0))], axis=1)
    where = {int(v): i for i, v in enumerate(outer)}
    border = np.zeros((len(outer), 2))
    border[[where[int(mirror[v])] for v in outer[half]]] = uv_half * (-1, 1) + (1, 0)
    border[half] = uv_half
    return border


def _wanted_shares(
    vertices: FloatArray, triangles: IntArray, holes: list[NDArray[np.int32]], importance: FloatArray, partner: NDArray
) -> Float64:
    """Part of the square that each vertex and hub should get, (V + holes,), summing to 1, symmetric."""
    count = len(vertices)
    if importance.shape != (count,) or not (importance > 0).all():
        raise VisemoError(f"importance: got shape {importance.shape}, expected {count} positive numbers")
    walk = _row_normalised(sp.csr_matrix(adjacency(triangles, count) + sp.eye(count)))
    faded = np.asarray(importance, np.float64)
    for _ in range(FADE_RINGS):
        faded = walk @ faded
    points = np.asarray(vertices, np.float64)
    area = _vertex_areas(_areas(points, triangles), triangles, count)
    mean_area = area.mean()
    area = np.maximum(area / mean_area, 1e-3)
    share = np.concatenate([area**AREA_POWER * faded, np.zeros(len(holes))])
    for hub, rim in enumerate(holes, count):  # a third of the fan is the hub's, the rest its rim's
        fan = max(_fan_area(points[rim]) / mean_area, HOLE_FILL * len(rim)) * importance[rim].mean()
        share[hub] = fan / 3
        share[rim] += 2 / 3 * fan / len(rim)
    share = share + share[partner]
    return share / share.sum()


def _mean_value_weights(
    vertices: FloatArray, triangles: IntArray, holes: list[NDArray[np.int32]], partner: NDArray
) -> sp.csr_matrix:
    """Row-normalised, mirror-symmetrised w_ij = (tan(a/2) + tan(b/2)) / |ij|, a and b the angles at i beside ij.

    A hole counts as if its rim were drawn out to a circle: the fan of shut lips would have no angles.
    """
    points = vertices.astype(np.float64)
    entries = []
    for corner in range(3):
        i, j, k = (triangles[:, (corner + turn) % 3] for turn in range(3))
        to_j, to_k = points[j] - points[i], points[k] - points[i]
        angle = np.arctan2(np.linalg.norm(np.cross(to_j, to_k), axis=1), (to_j * to_k).sum(axis=1))
        half = np.tan(0.5 * np.minimum(angle, 0.99 * np.pi))
        entries += [(i, j, half / _lengths(to_j)), (i, k, half / _lengths(to_k))]
    for hub, rim in enumerate(holes, len(points)):
        edge = _lengths(points[rim] - points[np.roll(rim, -1)])
        half = np.tan(0.25 * np.pi * (1 - 2 / len(rim)))  # a regular polygon's angle between side and spoke
        around = np.full(len(rim), hub)
        spokes = np.full(len(rim), 2 * half * 2 * np.pi / edge.sum())
        entries += [(around, rim, np.ones(len(rim))), (rim, around, spokes)]
        entries += [(rim, np.roll(rim, -1), half / edge), (np.roll(rim, -1), rim, half / edge)]
    rows, columns, values = (np.concatenate(part) for part in zip(*entries))
    weights = _row_normalised(sp.csr_matrix((values, (rows, columns)), shape=(len(partner), len(partner))))
    return sp.csr_matrix(0.5 * (weights + weights[partner][:, partner]))


def _lengths(edges: Float64) -> Float64:
    """Edge lengths (N,), none shorter than a tenth of the mean: weights divide by them."""
    length = np.linalg.norm(edges, axis=1)
    return np.maximum(length, 0.1 * length.mean())


def _row_normalised(weights: sp.csr_matrix) -> sp.csr_matrix:
    return sp.csr_matrix(sp.diags(1.0 / np.asarray(weights.sum(axis=1)).ravel()) @ weights)


def _solve(weights: sp.csr_matrix, fixed: NDArray[np.int32], border: Float64) -> Float64:
    """Every vertex at the weighted mean of its neighbours, `fixed` ones at `border`."""
    uv = np.zeros((len(weights.indptr) - 1, 2))
    free = np.setdiff1d(np.arange(len(uv)), fixed)
    rows = weights[free]
    system = sp.eye(len(free), format="csc") - rows[:, free].tocsc()
    uv[fixed] = border
    uv[free] = splu(system).solve(rows[:, fixed] @ border)
    return uv


def _exactly_symmetric(uv: Float64, vertices: FloatArray, mirror: IntArray) -> Float64:
    """Remove the solver's rounding: 1 - u is exact for u in [0.5, 1], so the right is computed from the left."""
    uv = 0.5 * (uv + (uv[mirror] * (-1, 1) + (1, 0)))
    left = np.flatnonzero(vertices[:, 0] > vertices[mirror, 0])
    uv[mirror[left]] = uv[left] * (-1, 1) + (1, 0)
    uv[mirror == np.arange(len(mirror)), 0] = 0.5
    return uv


def _perimeter(points: FloatArray) -> float:
    return float(np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).sum())


def _fan_area(rim: Float64) -> float:
    """Area (m^2) of the fan that closes a hole around the mean of its rim (L, 3)."""
    spokes = rim - rim.mean(axis=0)
    return float(0.5 * np.linalg.norm(np.cross(spokes, np.roll(spokes, 1, axis=0)), axis=1).sum())


def _areas(points: Float64, triangles: NDArray) -> Float64:
    a, b, c = (points[triangles[:, i]] for i in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


def _flat_areas(uv: Float64, triangles: NDArray) -> Float64:
    """Signed areas (F,) in the square, positive for counter-clockwise."""
    a, b, c = (uv[triangles[:, i]] for i in range(3))
    p, q = b - a, c - a
    return 0.5 * (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])


def _vertex_areas(areas: Float64, triangles: NDArray, count: int) -> Float64:
    return np.bincount(triangles.ravel(), np.repeat(areas / 3, 3), count).astype(np.float64)


# ---------------------------------------------------------------- the map


class GeometryMap(nn.Module):
    """Vertex fields to images and back (Eq. 1): each pixel is a barycentric mean of three vertices.

    Pixels inside a hole (mouth, eyes) lie in triangles spanned across it from rim to rim, so a field is
    continued linearly from one lip to the other and the image is continuous everywhere.

    Parameters
    ----------
    uv : (V, 2) in [0, 1], as `flatten` makes them
    triangles : (F, 3), none flipped in uv
    size : pixels per side

    Raises VisemoError when the triangles and the spanned holes do not cover the square.
    """

    index: Tensor  # (H * W, 3) int64
    weight: Tensor  # (H * W, 3) float32, rows sum to 1
    uv: Tensor  # (V, 2) float64

    def __init__(self, uv: Float64, triangles: IntArray, size: int = 128) -> None:
        super().__init__()
        if size < 2:
            raise VisemoError(f"geometry map: got size {size}, expected at least 2 pixels per side")
        uv = np.asarray(uv, np.float64)
        self.size = size
        self.vertices = len(uv)
        index, weight = rasterise(uv, np.concatenate([triangles, span_holes(uv, triangles)]), size)
        self.register_buffer("index", torch.from_numpy(index), persistent=False)
        self.register_buffer("weight", torch.from_numpy(weight.astype(np.float32)), persistent=False)
        self.register_buffer("uv", torch.from_numpy(uv.copy()), persistent=False)

    def to_map(self, field: Tensor) -> Tensor:
        """(B, V, C) -> (B, C, H, W), one sparse product, differentiable.

        Raises VisemoError on another number of vertices.
        """
        batch, count, channels = field.shape
        if count != self.vertices:
            raise VisemoError(f"geometry map: got a field of {count} vertices, expected {self.vertices}")
        with torch.autocast(field.device.type, enabled=False):
            flat = field.to(self._precision(field)).transpose(0, 1).reshape(count, batch * channels)
            rows = torch.arange(0, self.index.numel() + 1, 3, device=field.device)
            weight = self.weight.to(flat.dtype).view(-1)
            pixels = csr_tensor(rows, self.index.view(-1), weight, (self.size**2, count)) @ flat
        image = pixels.view(self.size, self.size, batch, channels).permute(2, 3, 0, 1)
        return image.to(field.dtype).contiguous()

    def from_map(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, V, C), bilinear at the vertices' own places, differentiable."""
        with torch.autocast(image.device.type, enabled=False):
            precise = image.to(self._precision(image))
            grid = (self.uv * 2 - 1).to(precise.dtype) * precise.new_tensor((1, -1))  # row 0 is v = 1
            grid = grid.view(1, -1, 1, 2).expand(len(image), -1, -1, -1)
            values = nn.functional.grid_sample(precise, grid, padding_mode="border", align_corners=True)
        return values.squeeze(3).transpose(1, 2).to(image.dtype)

    @staticmethod
    def _precision(tensor: Tensor) -> torch.dtype:
        """Half precision would blur positions by half a pixel: at least float32."""
        return torch.promote_types(tensor.dtype, torch.float32)


def rasterise(uv: Float64, triangles: NDArray, size: int) -> tuple[NDArray[np.int64], Float64]:
    """Tables of Eq. 1: vertex indices (size^2, 3) and barycentric weights (size^2, 3) of every pixel.

    A pixel on an edge belongs to the triangle that holds it most deeply. Raises VisemoError when a
    pixel is in none.
    """
    corners = (uv * (1, -1) + (0, 1)) * (size - 1)  # column, row
    corners = corners[triangles]  # (F, 3, 2)
    low = np.clip(np.ceil(corners.min(axis=1) - 1e-6), 0, size - 1).astype(np.int64)
    high = np.clip(np.floor(corners.max(axis=1) + 1e-6), 0, size - 1).astype(np.int64)
    span = np.maximum(high - low + 1, 0)
    candidates = span.prod(axis=1)
    owner = np.repeat(np.arange(len(triangles)), candidates)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(candidates) - candidates, candidates)
    column = low[owner, 0] + rank % span[owner, 0]
    row = low[owner, 1] + rank // span[owner, 0]
    weight = _barycentric(corners[owner], np.stack([column, row], axis=1).astype(np.float64))
    depth = weight.min(axis=1)
    pixel = row * size + column
    order = np.lexsort((-depth, pixel))
    winner = order[np.unique(pixel[order], return_index=True)[1]]
    winner = winner[depth[winner] > -1e-6]
    if len(winner) != size * size:
        raise VisemoError(f"geometry map: got {size * size - len(winner)} pixels in no triangle, expected full cover")
    index = triangles[owner[winner]].astype(np.int64)
    table = np.clip(weight[winner], 0.0, None)
    ascending = np.argsort(index, axis=1)  # as sparse rows have to be
    table = np.take_along_axis(table / table.sum(axis=1, keepdims=True), ascending, axis=1)
    return np.take_along_axis(index, ascending, axis=1), table


def _barycentric(corners: Float64, points: Float64) -> Float64:
    """Weights (N, 3) of points (N, 2) in triangles (N, 3, 2); a triangle without area holds nothing."""
    a, b, c = corners[:, 0] - points, corners[:, 1] - points, corners[:, 2] - points
    parts = np.stack([b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0],
                      c[:, 0] * a[:, 1] - c[:, 1] * a[:, 0],
                      a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]], axis=1)  # fmt: skip
    total = parts.sum(axis=1, keepdims=True)
    return np.divide(parts, total, out=np.full_like(parts, -np.inf), where=np.abs(total) > 1e-14)


def span_holes(uv: Float64, triangles: IntArray) -> NDArray[np.int32]:
    """Triangles (N, 3) across every hole, rim to rim, without new vertices.

    Ears are cut from the rim, best shaped first, so the span grows inwards from the corners of a mouth and
    ties its upper to its lower lip; mirror-symmetric holes are spanned mirror-symmetrically.
    """
    loops = boundary_loops(triangles)
    outer = max(loops, key=lambda loop: np.ptp(uv[loop], axis=0).sum()) if loops else None
    rims = [half for loop in loops if loop is not outer for half in _halves(uv, loop[::-1].tolist())]
    spans = [_cut_ears(uv, rim) for rim in rims]
    return np.concatenate([np.zeros((0, 3), np.int32), *spans])


def _halves(uv: Float64, rim: list[int]) -> list[list[int]]:
    """A rim that crosses the midline at two vertices as its two halves, which are then cut alike."""
    middle = [i for i, v in enumerate(rim) if abs(uv[v, 0] - 0.5) < 1e-12]
    if len(middle) != 2:
        return [rim]
    a, b = middle
    return [half for half in (rim[a : b + 1], rim[b:] + rim[: a + 1]) if len(half) > 2]


def _cut_ears(uv: Float64, rim: list[int]) -> NDArray[np.int32]:
    """Triangulate a simple polygon given counter-clockwise."""
    cut = []
    ears = [_ear_quality(uv, rim, i) for i in range(len(rim))]
    while len(rim) > 3:
        at = int(np.argmax(np.round(ears, 9)))  # rounded: mirror images tie
        cut.append((rim[at - 1], rim[at], rim[(at + 1) % len(rim)]))
        del rim[at], ears[at]
        for i in ((at - 1) % len(rim), at % len(rim)):
            ears[i] = _ear_quality(uv, rim, i)
    return np.array([*cut, tuple(rim)], np.int32)


def _ear_quality(uv: Float64, rim: list[int], at: int) -> float:
    """Smallest sine of an angle of the ear at one vertex; negative where it cannot be cut."""
    around = [(at - 1) % len(rim), at, (at + 1) % len(rim)]
    ear = uv[[rim[i] for i in around]]
    sides = np.roll(ear, -1, axis=0) - ear
    doubled = sides[0, 0] * sides[1, 1] - sides[0, 1] * sides[1, 0]
    others = uv[[v for i, v in enumerate(rim) if i not in around]]
    if doubled <= 0 or (_barycentric(np.broadcast_to(ear, (len(others), 3, 2)), others).min(axis=1) >= 0).any():
        return -1.0
    lengths = np.maximum(np.linalg.norm(sides, axis=1), 1e-30)
    return float(doubled / (lengths * np.roll(lengths, 1)).max())
