"""The geometry map: no flips, exact mirror symmetry, full cover, and both directions against slow twins."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch.nn.functional import grid_sample

from visemo.geometry.geomap import GeometryMap, flatten, rasterise, span_holes, symmetric_triangles
from visemo.geometry.mesh import boundary_loops
from visemo.types import VisemoError

ROWS, COLUMNS = 17, 17


@dataclass(frozen=True)
class Toy:
    """A domed square sheet with a slit of a mouth, its lips touching, and two eyes."""

    vertices: np.ndarray
    triangles: np.ndarray
    mirror: np.ndarray


def toy(symmetric=True, height=1.0, holes=True) -> Toy:
    at = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    y, x = np.meshgrid(np.linspace(height, -height, ROWS), np.linspace(-1, 1, COLUMNS), indexing="ij")
    if holes:
        y[11, 5:12] = y[10, 5:12]  # shut
    vertices = np.stack([x, y, -0.3 * (x**2 + y**2)], axis=-1).reshape(-1, 3).astype(np.float32)
    gone = {(10, c) for c in range(4, 12)} | {(4, c) for c in (3, 4, 5, 10, 11, 12)} if holes else set()
    triangles = []
    for r in range(ROWS - 1):
        for c in range(COLUMNS - 1):
            if (r, c) in gone:
                continue
            a, b, d, e = at[r, c], at[r + 1, c], at[r + 1, c + 1], at[r, c + 1]
            right = symmetric and c >= COLUMNS // 2
            triangles += [(a, b, e), (b, d, e)] if right else [(a, b, d), (a, d, e)]
    return Toy(vertices, np.array(triangles, np.int32), at[:, ::-1].reshape(-1).astype(np.int32))


def areas(uv: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (uv[triangles[:, i]] for i in range(3))
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


@pytest.fixture(scope="module")
def face() -> Toy:
    return toy()


@pytest.fixture(scope="module")
def uv(face) -> np.ndarray:
    return flatten(face.vertices, face.triangles, face.mirror)


# ---------------------------------------------------------------- flattening


def test_flat_face_is_a_symmetric_square_without_flips(face, uv):
    assert uv.dtype == np.float64
    assert (areas(uv, face.triangles) > 0).all()
    assert np.array_equal(uv[face.mirror], uv * (-1, 1) + (1, 0)), "exactly"
    assert uv.min() == 0 and uv.max() == 1
    outer = boundary_loops(face.triangles)[0]
    assert (np.isin(uv[outer, 0], (0, 1)) | np.isin(uv[outer, 1], (0, 1))).all()
    corners = {tuple(corner) for corner in uv[outer].tolist()}
    assert {(0, 0), (0, 1), (1, 0), (1, 1)} <= corners
    middle = uv.reshape(ROWS, COLUMNS, 2)[8]
    assert (np.diff(middle[:, 0]) > 0).all(), "u grows with +x, the face's own left"
    assert (np.diff(uv.reshape(ROWS, COLUMNS, 2)[:, 0, 1]) < 0).all(), "v grows upwards"


def test_shut_lips_are_opened_on_the_map(face, uv):
    rims = boundary_loops(face.triangles)[1:]
    assert [len(rim) for rim in rims] == [18, 8, 8]
    mouth = areas(uv, span_holes(uv, face.triangles)).sum()
    assert mouth > 0.01, "holes keep pixels of their own"


def test_importance_asks_for_pixels(face, uv):
    region = np.abs(face.vertices[:, 0]) + np.abs(face.vertices[:, 1] + 0.6) < 0.3
    wanted = np.where(region, 8, 1).astype(np.float32)
    more = flatten(face.vertices, face.triangles, face.mirror, wanted)
    inside = region[face.triangles].all(axis=1)
    assert areas(more, face.triangles[inside]).sum() > 2 * areas(uv, face.triangles[inside]).sum()
    assert (areas(more, face.triangles) > 0).all()
    assert np.array_equal(more[face.mirror], more * (-1, 1) + (1, 0))


def test_quads_split_one_way_are_made_symmetric(face):
    skew = toy(symmetric=False)
    even = symmetric_triangles(skew.vertices, skew.triangles, skew.mirror)
    assert {frozenset(t) for t in even.tolist()} == {frozenset(t) for t in skew.mirror[even].tolist()}
    assert len(even) == len(skew.triangles)
    flat = skew.vertices[:, :2].astype(np.float64)
    assert (areas(flat, even)[np.abs(areas(flat, even)) > 1e-9] > 0).all(), "orientation is kept"
    assert symmetric_triangles(face.vertices, face.triangles, face.mirror) is face.triangles
    uv = flatten(skew.vertices, skew.triangles, skew.mirror)
    assert (areas(uv, even) > 0).all()


def flatten_toy(face: Toy, **changes) -> np.ndarray:
    face = replace(face, **changes)
    return flatten(face.vertices, face.triangles, face.mirror)


def test_surfaces_that_cannot_be_flattened_are_refused(face):
    closed = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    with pytest.raises(VisemoError, match="got a closed surface"):
        flatten(corners, closed, np.arange(4, dtype=np.int32))
    loose = np.concatenate([face.vertices, [[0, 0, 9]]]).astype(np.float32)
    with pytest.raises(VisemoError, match="got 2 pieces"):
        flatten_toy(face, vertices=loose, mirror=np.append(face.mirror, len(face.mirror)).astype(np.int32))
    count = len(face.vertices)
    with pytest.raises(VisemoError, match="got 0 vertices on the midline"):
        window = np.array([[-1, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 1, 0], [0, 0.5, 0]], np.float32)
        panes = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], np.int32)
        flatten(window, panes, np.array([1, 0, 3, 2, 4], np.int32))
    with pytest.raises(VisemoError, match=rf"importance: got shape \({count - 1},\)"):
        flatten(face.vertices, face.triangles, face.mirror, np.ones(count - 1, np.float32))
    with pytest.raises(VisemoError, match="positive numbers"):
        flatten(face.vertices, face.triangles, face.mirror, np.zeros(count, np.float32))


def test_a_border_that_cannot_be_straight_is_refused():
    with pytest.raises(VisemoError, match=r"got \d+ flipped triangles"):
        flatten_toy(toy(height=3.0))  # its diagonals cut off two corners that come to lie within a side
    kite = np.array([[0, 1, 0], [1, 0, 0], [0, -1, 0], [-1, 0, 0]], np.float32)
    with pytest.raises(VisemoError, match="four sides of a square"):
        flatten(kite, np.array([[0, 2, 1], [0, 3, 2]], np.int32), np.array([0, 3, 2, 1], np.int32))


def test_unsymmetric_faces_are_refused(face):
    cell = 7 * COLUMNS + 3
    one_eye = np.isin(face.triangles, [cell, cell + 1, cell + COLUMNS, cell + COLUMNS + 1]).all(axis=1)
    with pytest.raises(VisemoError, match="expected two sides alike"):
        flatten_toy(face, triangles=face.triangles[~one_eye])
    with pytest.raises(VisemoError, match="across the midline"):
        strip = np.array([[-1, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
        symmetric_triangles(strip, np.array([[0, 1, 2], [0, 2, 3]], np.int32), np.array([1, 0, 3, 2], np.int32))


# ---------------------------------------------------------------- the map


def slow_map(uv: np.ndarray, triangles: np.ndarray, field: np.ndarray, size: int) -> np.ndarray:
    """Pixel by pixel, triangle by triangle."""
    image = np.full((size, size, field.shape[1]), np.nan)
    for row in range(size):
        for column in range(size):
            point = np.array([column, size - 1 - row]) / (size - 1)
            for a, b, c in triangles:
                frame = np.stack([uv[b] - uv[a], uv[c] - uv[a]], axis=1)
                s, t = np.linalg.solve(frame, point - uv[a])
                if min(s, t, 1 - s - t) >= -1e-9:
                    image[row, column] = (1 - s - t) * field[a] + s * field[b] + t * field[c]
                    break
    return image


def slow_sample(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear, vertex by vertex: image (H, W, C) -> (V, C)."""
    size = len(image)
    values = []
    for u, v in uv:
        x, y = u * (size - 1), (1 - v) * (size - 1)
        left, top = min(int(x), size - 2), min(int(y), size - 2)
        p, q = x - left, y - top
        upper = (1 - p) * image[top, left] + p * image[top, left + 1]
        lower = (1 - p) * image[top + 1, left] + p * image[top + 1, left + 1]
        values.append((1 - q) * upper + q * lower)
    return np.array(values)


def test_both_directions_equal_their_slow_twins(face, uv):
    geomap = GeometryMap(uv, face.triangles, 12)
    closed = np.concatenate([face.triangles, span_holes(uv, face.triangles)])
    field = np.random.default_rng(0).normal(size=(2, len(uv), 3))
    image = geomap.to_map(torch.from_numpy(field))
    assert image.shape == (2, 3, 12, 12) and image.is_contiguous()
    twins = np.stack([slow_map(uv, closed, f, 12) for f in field])
    assert np.abs(image.numpy() - twins.transpose(0, 3, 1, 2)).max() < 1e-6
    back = geomap.from_map(image)
    assert back.shape == (2, len(uv), 3)
    assert np.abs(back.numpy() - np.stack([slow_sample(t, uv) for t in twins])).max() < 1e-6


def test_from_map_is_torch_grid_sample_with_aligned_corners(face, uv):
    image = torch.randn(2, 5, 16, 16, dtype=torch.float64)
    places = torch.from_numpy(np.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], axis=1))
    grid = places.view(1, 1, -1, 2).expand(2, -1, -1, -1)
    wanted = grid_sample(image, grid, align_corners=True)[:, :, 0].transpose(1, 2)
    assert torch.allclose(GeometryMap(uv, face.triangles, 16).from_map(image), wanted, atol=1e-12)


@pytest.mark.parametrize("size", [2, 16, 33, 128])
def test_positions_come_back_exactly(face, uv, size):
    geomap = GeometryMap(uv, face.triangles, size)
    assert geomap.index.dtype == torch.int64 and geomap.weight.dtype == torch.float32
    assert geomap.index.shape == geomap.weight.shape == (size * size, 3)
    image = geomap.to_map(torch.from_numpy(uv)[None])[0]
    ticks = torch.linspace(0, 1, size, dtype=torch.float64)
    assert (image[0] - ticks).abs().max() < 1e-6, "columns are u, in the holes too"
    assert (image[1] - ticks.flip(0)[:, None]).abs().max() < 1e-6, "row 0 is the top"
    assert (geomap.from_map(image[None])[0] - torch.from_numpy(uv)).abs().max() < 1e-6
    assert not geomap.state_dict(), "a table of the face, not weights of a model"


def test_a_mirrored_field_is_the_flipped_image(face, uv):
    geomap = GeometryMap(uv, face.triangles, 64)
    field = torch.randn(3, len(uv), 4)
    flipped = geomap.to_map(field).flip(-1)
    assert (geomap.to_map(field[:, face.mirror]) - flipped).abs().max() < 1e-6


def test_gradients_of_both_directions(face, uv):
    geomap = GeometryMap(uv, face.triangles, 5)
    field = torch.randn(2, len(uv), 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(geomap.to_map, field, fast_mode=True)
    image = torch.randn(2, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(geomap.from_map, image)


def test_half_precision_in_and_out(face, uv):
    geomap = GeometryMap(uv, face.triangles, 16)
    field = torch.randn(1, len(uv), 3)
    exact = geomap.to_map(field)
    half = geomap.to_map(field.bfloat16())
    assert half.dtype == torch.bfloat16 and (half.float() - exact).abs().max() < 0.02
    assert geomap.from_map(half).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(geomap.to_map(field), exact)


def test_wrong_fields_and_sizes_are_refused(face, uv):
    with pytest.raises(VisemoError, match=r"got a field of 7 vertices, expected 289"):
        GeometryMap(uv, face.triangles, 8).to_map(torch.zeros(1, 7, 3))
    with pytest.raises(VisemoError, match="got size 1"):
        GeometryMap(uv, face.triangles, 1)
    with pytest.raises(VisemoError, match="pixels in no triangle"):
        rasterise(uv * 0.5, face.triangles, 8)


def test_holes_are_spanned_once_and_alike_on_both_sides(face, uv):
    span = span_holes(uv, face.triangles)
    assert (areas(uv, span) > 0).all()
    assert np.isclose(areas(uv, span).sum() + areas(uv, face.triangles).sum(), 1)
    assert {frozenset(t) for t in span.tolist()} == {frozenset(t) for t in face.mirror[span].tolist()}
    assert span_holes(uv, toy(holes=False).triangles).shape == (0, 3)


def test_a_hole_of_any_simple_shape_is_spanned():
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = np.where(np.arange(24) % 2, 0.1, 0.4)  # a star
    inner = 0.5 + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    outer = 0.5 + 0.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    i, j = np.arange(24), np.roll(np.arange(24), -1)
    ring = np.concatenate([np.stack([i, i + 24, j], 1), np.stack([j, i + 24, j + 24], 1)]).astype(np.int32)
    uv = np.concatenate([inner, outer])
    span = span_holes(uv, ring)
    star = 0.5 * np.abs((inner * np.roll(inner, -1, axis=0)[:, ::-1] * (1, -1)).sum())
    assert len(span) == 22 and (areas(uv, span) > 0).all()
    assert np.isclose(areas(uv, span).sum(), star)


# ---------------------------------------------------------------- a real face


def round_trip(geomap: GeometryMap, shape: np.ndarray) -> float:
    """Sum of errors over sum of displacements, vertex -> map -> vertex."""
    field = torch.from_numpy(np.ascontiguousarray(shape, np.float32))[None]
    error = (geomap.from_map(geomap.to_map(field)) - field).norm(dim=-1)
    return float(error.sum() / field.norm(dim=-1).sum())


def test_ict_face_keeps_smile_and_jaw(shared_data):
    data = np.load(shared_data / "ict" / "ict_facekit_head.npz")
    count, quads = 9409, 9230
    vertices = 0.01 * data["neutral"][:count]
    q = data["faces_quad"][:quads]
    triangles = np.concatenate([q[:, [0, 1, 2]], q[:, [0, 2, 3]]]).astype(np.int32)
    mirror = cKDTree(vertices).query(vertices * np.float32([-1, 1, 1]))[1].astype(np.int32)
    wanted = np.ones(count, np.float32)
    for key, weight in (("eyelid_L", 3), ("eyelid_R", 3), ("lip_vertices", 4)):
        wanted[data[key]] = wanted[mirror[data[key]]] = weight
    uv = flatten(vertices, triangles, mirror, wanted)
    even = symmetric_triangles(vertices, triangles, mirror)
    assert (areas(uv, even) > 0).all() and (areas(uv, triangles) > 0).all()
    assert np.abs(uv[mirror] - (uv * (-1, 1) + (1, 0))).max() < 1e-9
    shapes = dict(zip(data["expression_names"].tolist(), data["expression_deltas"][:, :count]))
    smile = shapes["mouthSmile_L"] + shapes["mouthSmile_R"]
    coarse, fine = GeometryMap(uv, even, 128), GeometryMap(uv, even, 256)
    assert round_trip(coarse, smile) <= 0.010  # observed 0.0072
    assert round_trip(fine, smile) <= 0.005  # observed 0.0035
    assert round_trip(coarse, shapes["jawOpen"]) <= 0.010  # observed 0.0069
    field = torch.randn(1, count, 3)
    assert (coarse.to_map(field[:, mirror]) - coarse.to_map(field).flip(-1)).abs().max() < 1e-6
