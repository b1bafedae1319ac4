"""Meshes: files keep the order of vertices exactly, damaged files are told in one line, loops and normals."""

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from visemo.geometry.mesh import adjacency, boundary_loops, edges, read_mesh, read_ply, vertex_normals, write_mesh
from visemo.types import Mesh, VisemoError

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)
FLOATS = st.floats(-1e6, 1e6, width=32)


@st.composite
def meshes(draw):
    count = draw(st.integers(1, 12))
    vertices = draw(hnp.arrays(np.float32, (count, 3), elements=FLOATS))
    triangles = draw(hnp.arrays(np.int32, (draw(st.integers(0, 9)), 3), elements=st.integers(0, count - 1)))
    return Mesh(vertices, triangles)


def same(a: Mesh, b: Mesh) -> bool:
    return np.array_equal(a.vertices, b.vertices) and np.array_equal(a.triangles, b.triangles)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".OBJ"])
@settings(max_examples=40, deadline=None)
@given(mesh=meshes(), colored=st.booleans())
def test_what_is_written_is_read_bit_for_bit(tmp_path_factory, suffix, mesh, colored):
    path = tmp_path_factory.mktemp("mesh") / f"m{suffix}"
    write_mesh(path, mesh, np.full_like(mesh.vertices, 0.5) if colored else None)
    assert same(read_mesh(path), mesh)


def test_duplicate_and_unused_vertices_are_kept(tmp_path):
    mesh = Mesh(np.array([[0, 0, 0]] * 3 + [[1, 0, 0], [0, 1, 0]], np.float32), np.array([[2, 3, 4]], np.int32))
    for suffix in (".obj", ".ply"):
        write_mesh(tmp_path / f"m{suffix}", mesh)
        assert same(read_mesh(tmp_path / f"m{suffix}"), mesh)


def read_text(tmp_path, text: str, suffix=".obj") -> Mesh:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(text.encode())
    return read_mesh(path)


SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0.5 2 0\n"


@pytest.mark.parametrize(
    "faces",
    [
        "f 1 2 3 4 5",
        "f 1/1 2/2 3/3 4/4 5/5",
        "f 1//9 2//9 3//9 4//9 5//9",
        "f 1/1/1 2/1/1 3/1/1 4/1/1 5/1/1",
        "f -5 -4 -3 -2 -1",
        "f 1 2 3 \\\n 4 5",
        "  f\t1 2 3 4 5 # a polygon",
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_obj_spellings_of_one_polygon(tmp_path, faces, newline):
    text = f"# made by hand\nmtllib x.mtl\no face\n{SQUARE}vn 0 0 1\nvt 0 0\ng a\nusemtl b\ns off\n{faces}\n"
    mesh = read_text(tmp_path, text.replace("\n", newline))
    assert mesh.vertices.shape == (5, 3)
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4]]


def test_obj_negative_indices_count_from_where_they_stand(tmp_path):
    mesh = read_text(tmp_path, "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 5 5 5\nf -4 -3 -1\n")
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 1, 3]]


def test_obj_vertex_colors_are_passed_over(tmp_path):
    assert read_text(tmp_path, "v 1 2 3 0.5 0.5 0.5\n").vertices.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    "text",
    ["", "hello world\n", "v 1 2\n", "v a b c\n", "v nan 0 0\n", "v 0 0 1e60\n"]
    + [f"{SQUARE}f {face}\n" for face in ("1 2 x", "0 1 2", "1 2 6", "-6 1 2")],
)
def test_damaged_obj_is_one_line_with_the_file_name(tmp_path, text):
    with pytest.raises(VisemoError, match=r"m\.obj: ") as error:
        read_text(tmp_path, text)
    assert "\n" not in str(error.value)


def ply(kind: str, body: bytes, faces=1, *, list_types="uchar int", number="float", name="vertex_indices") -> bytes:
    lines = ["ply", f"format {kind} 1.0", "comment by hand", "element camera 1", "property double fov"]
    lines += ["element vertex 4", f"property {number} x", "property uchar tag", f"property {number} y"]
    lines += [f"property {number} z", f"element face {faces}", "property uchar material"]
    lines += [f"property list {list_types} {name}", "end_header"]
    return "\n".join(lines).encode() + b"\n" + body


def binary_body(order: str, number: str, index: str, count: str, polygons) -> bytes:
    body = struct.pack(order + "d", 35.0)
    for x, y, z in [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0.25)]:
        body += struct.pack(f"{order}{number}B{number}{number}", x, 7, y, z)
    for polygon in polygons:
        body += struct.pack(f"{order}B{count}{len(polygon)}{index}", 3, len(polygon), *polygon)
    return body


KINDS = {"<": "binary_little_endian", ">": "binary_big_endian"}
NUMBERS = {"float": "f", "double": "d"}
LISTS = {"uchar int": ("B", "i"), "int uint": ("i", "I"), "uint8 int32": ("B", "i"), "short ushort": ("h", "H")}


@pytest.mark.parametrize("order", KINDS)
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("lists", LISTS)
@pytest.mark.parametrize("polygons", [[(0, 1, 2), (0, 2, 3)], [(0, 1, 2, 3)], [(0, 1, 2), (0, 1, 2, 3)]])
def test_binary_ply_of_any_type_and_order(tmp_path, order, number, lists, polygons):
    count, index = LISTS[lists]
    data = ply(
        KINDS[order],
        binary_body(order, NUMBERS[number], index, count, polygons),
        len(polygons),
        list_types=lists,
        number=number,
    )
    (tmp_path / "m.ply").write_bytes(data)
    mesh = read_mesh(tmp_path / "m.ply")
    assert mesh.vertices[3].tolist() == [0, 1, 0.25]
    fans = [[p[0], b, c] for p in polygons for b, c in pairwise(p[1:])]
    assert mesh.triangles.tolist() == fans
    for cut in (1, 5, 30):
        (tmp_path / "m.ply").write_bytes(data[:-cut])
        with pytest.raises(VisemoError, match="breaks off"):
            read_mesh(tmp_path / "m.ply")


ASCII = b"35.0\n0 7 0 0\n1 7 0 0\n1 7 1 0\n0 7 1 0.25\n3 4 0 1 2 3\n"


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("name", ["vertex_indices", "vertex_index"])
def test_ascii_ply(tmp_path, newline, name):
    (tmp_path / "m.ply").write_bytes(ply("ascii", ASCII, name=name).replace(b"\n", newline))
    mesh = read_mesh(tmp_path / "m.ply")
    assert mesh.vertices[3].tolist() == [0, 1, 0.25]
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_ply_elements_by_name():
    elements = read_ply(ply("ascii", ASCII))
    assert elements["camera"]["fov"].tolist() == [35.0]
    assert elements["vertex"]["tag"].dtype == np.uint8
    assert [polygon.tolist() for polygon in elements["face"]["vertex_indices"]] == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a ply\nend_header\n",
        b"ply\nformat ascii 1.0\nelement vertex 3\n",
        b"ply\nelement vertex 0\nend_header\n",
        b"ply\nformat utf8 1.0\nend_header\n",
        b"ply\nformat ascii 1.0\nproperty float x\nend_header\n",
        b"ply\nformat ascii 1.0\nelement vertex many\nend_header\n",
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty quaternion x\nend_header\n0\n",
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n0\n",
        b"ply\nformat ascii 1.0\nelement vertex -1\nproperty float x\nend_header\n",
        b"ply\nformat binary_little_endian 1.0\nelement vertex -1\nproperty float x\nend_header\n",
        ply("ascii", b"35.0\n0 7 0"),
        ply("ascii", ASCII.replace(b"0.25", b"high")),
        ply("ascii", ASCII.replace(b"4 0 1 2 3", b"4 0 1 2 9")),
        ply("ascii", ASCII.replace(b"4 0 1 2 3", b"-4 0 1 2 3")),
    ],
)
def test_damaged_ply_is_one_line_with_the_file_name(tmp_path, data):
    (tmp_path / "m.ply").write_bytes(data)
    with pytest.raises(VisemoError, match=r"m\.ply: ") as error:
        read_mesh(tmp_path / "m.ply")
    assert "\n" not in str(error.value)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=80))
def test_noise_never_escapes_as_another_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("noise")
    for name, head in (("m.obj", b""), ("m.ply", ply("binary_little_endian", b"")), ("n.ply", ply("ascii", b""))):
        (folder / name).write_bytes(head + data)
        try:
            read_mesh(folder / name)
        except VisemoError as error:
            assert name in str(error)


def test_unusable_paths_and_colors(tmp_path):
    mesh = Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32))
    with pytest.raises(VisemoError, match=r"got suffix '.stl', expected .obj or .ply"):
        read_mesh(tmp_path / "m.stl")
    with pytest.raises(VisemoError, match="no such file"):
        read_mesh(tmp_path / "m.obj")
    with pytest.raises(VisemoError, match="got suffix"):
        write_mesh(tmp_path / "m.stl", mesh)
    with pytest.raises(VisemoError, match=r"got shape \(2, 3\), expected \(3, 3\)"):
        write_mesh(tmp_path / "m.ply", mesh, np.zeros((2, 3), np.float32))
    with pytest.raises(VisemoError, match="got no folder"):
        write_mesh(tmp_path / "no" / "m.ply", mesh)
    assert list(tmp_path.iterdir()) == []


def test_colors_are_stored_srgb_encoded(tmp_path):
    mesh = Mesh(np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int32))
    write_mesh(tmp_path / "m.ply", mesh, np.array([[0, 0.2158605, 1], [0.001, 2, -1], [0, 0, 0]], np.float32))
    vertex = read_ply((tmp_path / "m.ply").read_bytes())["vertex"]
    stored = np.stack([np.asarray(vertex[c]) for c in ("red", "green", "blue")], axis=1)
    assert stored.tolist() == [[0, 128, 255], [3, 255, 0], [0, 0, 0]]


def test_real_meshes_keep_their_order(shared_data):
    files = sorted((shared_data / "multiface_templates").glob("**/*.obj")) + sorted(shared_data.glob("**/*.ply"))
    assert files
    for file in files[:3]:
        lines = file.read_bytes().splitlines()
        mesh = read_mesh(file)
        if file.suffix == ".obj":
            rows = [line.split()[1:4] for line in lines if line.startswith(b"v ")]
            assert np.array_equal(mesh.vertices, np.array(rows, np.float64).astype(np.float32))


def test_edges_and_adjacency_of_a_tetrahedron():
    assert edges(TETRAHEDRON).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert np.array_equal(adjacency(TETRAHEDRON, 5).toarray()[:4, :4], 1 - np.eye(4))
    assert adjacency(TETRAHEDRON, 5).toarray()[4].sum() == 0


def grid(rows: int, columns: int) -> np.ndarray:
    at = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]).astype("i4")


def test_boundary_loops():
    assert boundary_loops(TETRAHEDRON) == []
    assert [loop.tolist() for loop in boundary_loops(np.array([[7, 3, 5]], np.int32))] == [[3, 5, 7]]
    triangles = grid(5, 6)
    inside = np.isin(triangles, [14, 15]).any(axis=1)  # open a hole around two inner vertices
    outer, hole = boundary_loops(triangles[~inside])
    assert outer.tolist() == [0, 1, 2, 3, 4, 5, 11, 17, 23, 29, 28, 27, 26, 25, 24, 18, 12, 6]
    assert set(hole.tolist()) == {7, 8, 9, 16, 22, 21, 20, 13}
    assert hole[0] == 7 and hole[1] == 13, "holes run the other way round"


def test_boundaries_that_touch_are_two_loops():
    touching = np.array([[0, 1, 2], [2, 3, 4]], np.int32)
    assert [loop.tolist() for loop in boundary_loops(touching)] == [[0, 1, 2], [2, 3, 4]]


def test_boundary_of_mixed_orientation_is_refused():
    with pytest.raises(VisemoError, match="oriented alike"):
        boundary_loops(np.array([[0, 1, 2], [1, 2, 3]], np.int32))


def test_vertex_normals_match_the_slow_twin_and_a_sphere():
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(30, 3)).astype(np.float32)
    triangles = rng.permuted(np.tile(np.arange(30), (40, 1)), axis=1).reshape(-1, 3).astype(np.int32)
    twin = np.zeros((30, 3))
    for a, b, c in triangles:
        for v in (a, b, c):
            twin[v] += np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
    twin /= np.linalg.norm(twin, axis=1, keepdims=True)
    assert np.abs(vertex_normals(vertices, triangles) - twin).max() < 1e-5
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [5, 5, 5]], np.float32)
    normals = vertex_normals(corners, TETRAHEDRON)
    assert np.allclose(normals[0], -np.ones(3) / np.sqrt(3), atol=1e-6), "outwards"
    assert normals[4].tolist() == [0, 0, 1], "a loose vertex looks out of the face"
    assert normals.dtype == np.float32
