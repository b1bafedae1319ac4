"""Triangle meshes: OBJ and PLY files, connectivity, boundary loops, normals.

Reading never reorders, merges or drops a vertex: vertex i of a file is vertex i of the Mesh.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from visemo.assets import atomic
from visemo.types import FloatArray, IntArray, Mesh, VisemoError

# ---------------------------------------------------------------- files


def read_mesh(path: str | Path) -> Mesh:
    """Read an OBJ or PLY file (ascii or binary); polygons are split into fans at their first corner.

    Positions are taken as they stand: a file in millimetres gives a Mesh in millimetres, and the
    caller, who knows, converts. Raises VisemoError, naming the file, when it is missing, of
    another kind, damaged or empty.
    """
    path = Path(path)
    reader = {".obj": _read_obj, ".ply": _read_ply}.get(path.suffix.lower())
    if reader is None:
        raise VisemoError(f"{path}: got suffix {path.suffix!r}, expected .obj or .ply; convert the mesh first")
    if not path.is_file():
        raise VisemoError(f"{path}: no such file, expected a mesh")
    try:
        return reader(path.read_bytes())
    except VisemoError as error:
        raise VisemoError(f"{path}: {error}") from error


def write_mesh(path: str | Path, mesh: Mesh, colors: FloatArray | None = None) -> None:
    """Write an OBJ or a binary PLY, whole or not at all.

    Parameters
    ----------
    path : file ending in .obj or .ply, in an existing folder
    mesh : written in its own order and unit, every float32 exactly
    colors : (V, 3) linear RGB 0..1, stored sRGB-encoded as viewers expect

    Raises
    ------
    VisemoError
        on another suffix, a missing folder, or colours that do not match the vertices.
    """
    path = Path(path)
    writer = {".obj": _obj_bytes, ".ply": _ply_bytes}.get(path.suffix.lower())
    if writer is None:
        raise VisemoError(f"{path}: got suffix {path.suffix!r}, expected .obj or .ply")
    if colors is not None and colors.shape != mesh.vertices.shape:
        raise VisemoError(f"mesh colors: got shape {colors.shape}, expected {mesh.vertices.shape}")
    with atomic(path) as temporary:
        temporary.write_bytes(writer(mesh, None if colors is None else _srgb(colors)))


def _srgb(linear: FloatArray) -> FloatArray:
    clipped = np.clip(linear, 0.0, 1.0)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055).astype(np.float32)


def _fan(polygon: list[int]) -> Iterator[tuple[int, int, int]]:
    return ((polygon[0], b, c) for b, c in pairwise(polygon[1:]))


def _mesh(vertices: np.ndarray, triangles: np.ndarray) -> Mesh:
    if not len(vertices):
        raise VisemoError("got no vertices, expected a mesh")
    if triangles.size and (triangles.min() < 0 or triangles.max() >= len(vertices)):
        raise VisemoError(f"got face indices {triangles.min()}..{triangles.max()}, expected 0..{len(vertices) - 1}")
    with np.errstate(over="ignore"):  # Mesh refuses what does not fit
        vertices = np.ascontiguousarray(vertices, np.float32)
    return Mesh(vertices, np.ascontiguousarray(triangles, np.int32))


def _read_obj(data: bytes) -> Mesh:
    vertices: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    text = data.decode("utf-8", errors="replace").replace("\\\r\n", " ").replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words or words[0] not in ("v", "f"):
            continue
        try:
            if words[0] == "v":
                x, y, z = words[1:4]
                vertices.append([float(x), float(y), float(z)])
            else:
                triangles.extend(_fan([_obj_index(word, len(vertices)) for word in words[1:]]))
        except (ValueError, IndexError) as error:
            raise VisemoError(f"got {line.strip()[:40]!r} in line {number}, expected an OBJ vertex or face") from error
    return _mesh(np.array(vertices, np.float64).reshape(-1, 3), np.array(triangles, np.int64).reshape(-1, 3))


def _obj_index(word: str, count: int) -> int:
    """`7`, `7/1`, `7//2` or `-1/-1` to a vertex index; negative ones count back from the last vertex read."""
    index = int(word.partition("/")[0])
    if index == 0 or index < -count:
        raise ValueError(word)
    return index - 1 if index > 0 else count + index


def _obj_bytes(mesh: Mesh, colors: FloatArray | None) -> bytes:
    rows = mesh.vertices if colors is None else np.concatenate([mesh.vertices, colors], axis=1)
    file = io.BytesIO()
    np.savetxt(file, rows, fmt="v" + " %.9g" * rows.shape[1])  # nine digits hold a float32 exactly
    np.savetxt(file, mesh.triangles + 1, fmt="f %d %d %d")
    return file.getvalue()


# the two generations of type names that PLY files use
_PLY_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip


@dataclass
class _Element:
    """One `element` of a PLY header; a property is (name, type, type of the list's count or None)."""

    name: str
    count: int
    properties: list[tuple[str, str, str | None]]


Column = np.ndarray | list[np.ndarray]  # one number per row, or one list per row


def read_ply(data: bytes) -> dict[str, dict[str, Column]]:
    """Every element of a PLY file: element name -> property name -> (rows,) array or list of arrays.

    Raises VisemoError on a header or body that cannot be read whole.
    """
    order, elements, body = _ply_header(data)
    source = _AsciiBody(body) if order is None else _BinaryBody(body, order)
    try:
        return {element.name: source.read(element) for element in elements}
    except (ValueError, IndexError) as error:
        raise VisemoError("got a PLY body that breaks off or holds no numbers, expected whole elements") from error


def _read_ply(data: bytes) -> Mesh:
    elements = read_ply(data)
    try:
        vertices = np.stack([np.asarray(elements["vertex"][axis], np.float64) for axis in "xyz"], axis=1)
    except KeyError as error:
        raise VisemoError(f"got a PLY without {error}, expected vertices with x, y, z") from error
    faces = elements.get("face", {})
    polygons = faces.get("vertex_indices", faces.get("vertex_index", []))
    triangles = [corners for polygon in polygons for corners in _fan(np.asarray(polygon, np.int64).tolist())]
    return _mesh(vertices, np.array(triangles, np.int64).reshape(-1, 3))


def _ply_header(data: bytes) -> tuple[str | None, list[_Element], bytes]:
    """Byte order (None = ascii), elements, and what follows the header."""
    head, mark, rest = data.partition(b"end_header")
    if not head.startswith(b"ply") or not mark:
        raise VisemoError("got no PLY header, expected one from 'ply' to 'end_header'")
    body = rest[2:] if rest.startswith(b"\r\n") else rest[1:]
    orders = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}
    order, elements = "?", []
    for line in head.decode("latin1").splitlines()[1:]:
        words = line.split()
        try:
            match words:
                case ["format", kind, *_]:
                    order = orders[kind]
                case ["element", name, count]:
                    elements.append(_Element(name, int(count), []))
                case ["property", "list", count_type, kind, name]:
                    elements[-1].properties.append((name, _PLY_TYPES[kind], _PLY_TYPES[count_type]))
                case ["property", kind, name]:
                    elements[-1].properties.append((name, _PLY_TYPES[kind], None))
        except (KeyError, ValueError, IndexError) as error:
            raise VisemoError(f"got PLY header line {line!r}, expected a known format, element or property") from error
    if order == "?":
        raise VisemoError("got a PLY header without a format, expected ascii or binary")
    return order, elements, body


class _AsciiBody:
    def __init__(self, body: bytes) -> None:
        self.words = body.split()
        self.at = 0

    def read(self, element: _Element) -> dict[str, Column]:
        if all(counted is None for _, _, counted in element.properties):
            table = np.array(self._take(element.count * len(element.properties)), np.float64)
            table = table.reshape(element.count, len(element.properties))
            return {name: table[:, i].astype(kind) for i, (name, kind, _) in enumerate(element.properties)}
        columns: dict[str, list] = {name: [] for name, _, _ in element.properties}
        for _ in range(element.count):
            for name, kind, counted in element.properties:
                length = int(self._take(1)[0]) if counted else 1
                values = np.array(self._take(length), np.float64).astype(kind)
                columns[name].append(values if counted else values[0])
        return {name: columns[name] if counted else np.array(columns[name]) for name, _, counted in element.properties}

    def _take(self, count: int) -> list[bytes]:
        if count < 0 or self.at + count > len(self.words):
            raise ValueError(count)
        self.at += count
        return self.words[self.at - count : self.at]


class _BinaryBody:
    def __init__(self, body: bytes, order: str) -> None:
        self.body = body
        self.order = order
        self.at = 0

    def read(self, element: _Element) -> dict[str, Column]:
        if all(counted is None for _, _, counted in element.properties):
            table = self._take(np.dtype([(n, self.order + kind) for n, kind, _ in element.properties]), element.count)
            return {name: table[name] for name, _, _ in element.properties}
        lists = self._even_lists(element)
        return self._uneven_lists(element) if lists is None else lists

    def _even_lists(self, element: _Element) -> dict[str, Column] | None:
        """All rows at once, when every list is as long as the first row's; None otherwise."""
        if not element.count:
            return None
        start = self.at
        fields = []
        try:
            for name, kind, counted in element.properties:
                length = int(self._take(np.dtype(counted and self.order + counted), 1)[0]) if counted else 1
                fields += [(f"#{name}", self.order + counted)] if counted else []
                fields += [(name, self.order + kind, (length,) if counted else ())]
                self._take(np.dtype(self.order + kind), length)
            self.at = start
            table = self._take(np.dtype(fields), element.count)
        except ValueError:
            self.at = start
            return None
        if any((table[f"#{name}"] != table[name].shape[1]).any() for name, _, counted in element.properties if counted):
            self.at = start
            return None
        return {name: list(table[name]) if counted else table[name] for name, _, counted in element.properties}

    def _uneven_lists(self, element: _Element) -> dict[str, Column]:
        columns: dict[str, list] = {name: [] for name, _, _ in element.properties}
        for _ in range(element.count):
            for name, kind, counted in element.properties:
                length = int(self._take(np.dtype(self.order + counted), 1)[0]) if counted else 1
                values = self._take(np.dtype(self.order + kind), length)
                columns[name].append(values if counted else values[0])
        return {name: columns[name] if counted else np.array(columns[name]) for name, _, counted in element.properties}

    def _take(self, dtype: np.dtype, count: int) -> np.ndarray:
        if count < 0 or self.at + dtype.itemsize * count > len(self.body):
            raise ValueError(count)
        values = np.frombuffer(self.body, dtype, count, self.at)
        self.at += dtype.itemsize * count
        return values


def _ply_bytes(mesh: Mesh, colors: FloatArray | None) -> bytes:
    fields = [(axis, "<f4") for axis in "xyz"]
    if colors is not None:
        fields += [(channel, "u1") for channel in ("red", "green", "blue")]
    rows = np.zeros(len(mesh.vertices), fields)
    for i, axis in enumerate("xyz"):
        rows[axis] = mesh.vertices[:, i]
    if colors is not None:
        for i, channel in enumerate(("red", "green", "blue")):
            rows[channel] = np.round(255 * colors[:, i])
    faces = np.zeros(len(mesh.triangles), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"] = 3
    faces["corners"] = mesh.triangles
    names = {"<f4": "float", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property {names[kind]} {name}" for name, kind in fields]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(header).encode() + rows.tobytes() + faces.tobytes()


# ---------------------------------------------------------------- connectivity


def edges(triangles: IntArray) -> NDArray[np.int32]:
    """Every edge once: (E, 2) int32, smaller index first, sorted."""
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0).astype(np.int32)


def adjacency(triangles: IntArray, n: int) -> sp.csr_matrix:
    """Symmetric (n, n) matrix A of Eq. 12: 1 where two vertices share an edge; float64."""
    i, j = edges(triangles).T
    ones = np.ones(len(i))
    half = sp.csr_matrix((ones, (i, j)), shape=(n, n))
    return (half + half.T).tocsr()


def boundary_loops(triangles: IntArray) -> list[NDArray[np.int32]]:
    """The open edges as closed loops of vertices, most vertices first.

    A loop runs along its triangles' own direction (surface to the left) and starts at its smallest
    vertex. Raises VisemoError when the triangles are not oriented alike.
    """
    directed = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    key = directed @ (1 << 32, 1)
    if len(np.unique(key)) < len(key):
        raise VisemoError("triangles: got an edge that two run along alike, expected a surface oriented alike")
    open_edges = directed[~np.isin(key, directed @ (1, 1 << 32))]
    following: dict[int, list[int]] = {}
    for a, b in open_edges.tolist():
        following.setdefault(a, []).append(b)
    loops = []
    for start in sorted(following):
        while following[start]:
            loops += _walk(start, following)
    return sorted(loops, key=lambda loop: (-len(loop), loop[0]))


def _walk(start: int, following: dict[int, list[int]]) -> list[NDArray[np.int32]]:
    """Follow open edges from `start` until it is met again; a vertex where two loops touch closes one."""
    loops, path, position = [], [start], {start: 0}
    while path:
        vertex = following[path[-1]].pop()
        if vertex in position:
            loop = path[position[vertex] :]
            first = loop.index(min(loop))
            loops.append(np.array(loop[first:] + loop[:first], np.int32))
            for passed in path[position[vertex] :]:
                del position[passed]
            path = path[: len(path) - len(loop)]
            if not path:
                break
        position[vertex] = len(path)
        path.append(vertex)
    return loops


def vertex_normals(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """Unit normals (V, 3) float32, each the mean of the adjacent triangles' weighted by area.

    A vertex in no triangle, or in flat ones only, gets +z, out of the face.
    """
    corners = np.asarray(vertices, np.float64)[triangles]
    twice_area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = triangles.ravel()
    summed = np.stack(
        [np.bincount(flat, np.repeat(twice_area[:, axis], 3), len(vertices)) for axis in range(3)], axis=1
    )
    length = np.linalg.norm(summed, axis=1, keepdims=True)
    return np.where(length > 0, summed / np.where(length > 0, length, 1), (0.0, 0.0, 1.0)).astype(np.float32)
