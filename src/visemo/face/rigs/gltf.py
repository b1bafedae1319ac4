"""Meshes with morph targets out of glTF 2.0 files: .glb, .vrm (which is one), .gltf with what lies beside it.

Only geometry is read: positions, triangles, targets and where nodes and bones put them at rest.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visemo.types import FloatArray, IntArray, VisemoError

Float64 = NDArray[np.float64]
MOST = 50_000_000  # numbers in one accessor: a file may claim any count for one that is all zeros
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
TRIANGLES, STRIP, FAN = 4, 5, 6
PACKED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")


@dataclass(frozen=True, eq=False)
class MorphMesh:
    """One node's mesh in the world at rest."""

    node: int
    mesh: int
    vertices: FloatArray  # (N, 3) m
    triangles: IntArray  # (F, 3)
    names: tuple[str, ...]  # of its targets
    deltas: FloatArray  # (R, N, 3) m


def read_gltf(path: Path) -> tuple[dict[str, Any], list[MorphMesh]]:
    """The JSON of a glTF file, and every mesh of it that has morph targets.

    Raises
    ------
    VisemoError
        In one line, for what is missing, damaged, no glTF 2.0, or compressed.
    """
    if not path.is_file():
        raise VisemoError(f"{path}: got no such file, expected a glTF file (.glb, .gltf, .vrm)")
    try:
        document, binary = _container(path)
        scene = _Scene(path, document, binary)
        return document, list(scene.meshes())
    except VisemoError as error:
        raise VisemoError(f"{path}: {error}") from error
    except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError,
            struct.error) as error:  # fmt: skip
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise VisemoError(f"{path}: got a damaged glTF file ({reason}), expected glTF 2.0; export it anew") from error


def _container(path: Path) -> tuple[dict[str, Any], bytes | None]:
    """The JSON and, of a .glb, the binary chunk."""
    data = path.read_bytes()
    binary = None
    if data[:4] == b"glTF":
        version, total = struct.unpack_from("<II", data, 4)
        if version != 2 or total > len(data):
            raise VisemoError(f"got glTF version {version} of {len(data)} bytes, expected version 2 of {total}")
        chunks, at = {}, 12
        while at + 8 <= total:
            length, kind = struct.unpack_from("<II", data, at)
            chunks.setdefault(kind, data[at + 8 : at + 8 + length])
            at += 8 + length
        text, binary = chunks.get(JSON_CHUNK, b""), chunks.get(BINARY_CHUNK)
    else:
        text = data
    document = json.loads(text.decode("utf-8-sig"))
    if not isinstance(document, dict) or not str(document["asset"]["version"]).startswith("2."):
        raise VisemoError("got no glTF 2.0, expected one; convert it first")
    if packed := [name for name in PACKED if name in document.get("extensionsRequired", ())]:
        raise VisemoError(f"got geometry packed by {packed[0]}, expected it plain; export it without compression")
    return document, binary


class _Scene:
    def __init__(self, path: Path, document: dict[str, Any], binary: bytes | None):
        self.path, self.document, self.binary = path, document, binary
        self.nodes = document.get("nodes", [])
        self.buffers: dict[int, bytes] = {}
        self.parents = {child: at for at, node in enumerate(self.nodes) for child in node.get("children", ())}

    def meshes(self) -> Iterator[MorphMesh]:
        for at, node in enumerate(self.nodes):
            if "mesh" not in node:
                continue
            mesh = self.document["meshes"][node["mesh"]]
            if any(primitive.get("targets") for primitive in mesh["primitives"]):
                yield self._mesh(at, node, mesh)

    def _mesh(self, at: int, node: dict[str, Any], mesh: dict[str, Any]) -> MorphMesh:
        points, corners, moves, count = [], [], [], 0
        wide = max(len(primitive.get("targets", ())) for primitive in mesh["primitives"])
        for primitive in mesh["primitives"]:
            if primitive.get("mode", TRIANGLES) not in (TRIANGLES, STRIP, FAN):
                continue
            rest = self.accessor(primitive["attributes"]["POSITION"])
            deltas = np.zeros((wide, *rest.shape))
            for row, target in enumerate(primitive.get("targets", ())):
                if "POSITION" in target:
                    deltas[row] = self.accessor(target["POSITION"])
            linear, shift = self._placed(at, node, primitive, len(rest))
            points.append(np.einsum("nij,nj->ni", linear, rest) + shift)
            moves.append(np.einsum("nij,rnj->rni", linear, deltas))
            corners.append(_triangles(self._indices(primitive, len(rest)), primitive.get("mode", TRIANGLES)) + count)
            count += len(rest)
        triangles = np.concatenate(corners).astype(np.int32)
        if triangles.size and not 0 <= triangles.min() <= triangles.max() < count:
            raise VisemoError(f"got triangles of vertices up to {triangles.max()}, expected them below {count}")
        return MorphMesh(
            at, node["mesh"], np.concatenate(points).astype(np.float32), triangles, _target_names(mesh, wide),
            np.concatenate(moves, axis=1).astype(np.float32),
        )  # fmt: skip

    def _indices(self, primitive: dict[str, Any], count: int) -> NDArray[np.int64]:
        if "indices" not in primitive:
            return np.arange(count)
        return self.accessor(primitive["indices"])[:, 0].astype(np.int64)

    # --- where things are at rest ---------------------------------------------------------------------

    def _placed(self, at: int, node: dict, primitive: dict, count: int) -> tuple[Float64, Float64]:
        """Linear part (N, 3, 3) and shift (N, 3) of each vertex: by the node, or by its bones where it has a skin."""
        attributes = primitive["attributes"]
        if "skin" not in node or "JOINTS_0" not in attributes:
            matrix = np.broadcast_to(self.world(at), (count, 4, 4))
            return matrix[:, :3, :3], matrix[:, :3, 3]
        skin = self.document["skins"][node["skin"]]
        bones = np.stack([self.world(joint) for joint in skin["joints"]])
        if "inverseBindMatrices" in skin:
            bones = bones @ self.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        joints = self.accessor(attributes["JOINTS_0"]).astype(np.int64)
        weights = self.accessor(attributes["WEIGHTS_0"])
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
        matrix = np.einsum("nk,nkij->nij", weights, bones[joints])
        return matrix[:, :3, :3], matrix[:, :3, 3]

    def world(self, at: int) -> Float64:
        """(4, 4) from a node's own frame to the world."""
        seen, matrix = set(), np.eye(4)
        while at not in seen:
            seen.add(at)
            matrix = _local(self.nodes[at]) @ matrix
            if at not in self.parents:
                return matrix
            at = self.parents[at]
        raise VisemoError(f"got node {at} among its own children, expected a tree")

    # --- numbers --------------------------------------------------------------------------------------

    def accessor(self, index: int) -> Float64:
        """The numbers of an accessor (count, width), normalised integers as -1..1, sparse ones filled in."""
        entry = self.document["accessors"][index]
        width, count, kind = WIDTHS[entry["type"]], int(entry["count"]), np.dtype(KINDS[entry["componentType"]])
        if not 0 <= count * width <= MOST:
            raise VisemoError(f"got {count} entries in one accessor, expected at most {MOST // width}")
        if "bufferView" in entry:
            values = self._numbers(entry["bufferView"], entry.get("byteOffset", 0), count, width, kind)
        else:
            values = np.zeros((count, width))
        if "sparse" in entry:
            sparse = entry["sparse"]
            rows, parts = sparse["indices"], sparse["values"]
            places = self._numbers(
                rows["bufferView"],
                rows.get("byteOffset", 0),
                sparse["count"],
                1,
                np.dtype(KINDS[rows["componentType"]]),
            )
            values = values.copy()
            values[places[:, 0].astype(np.int64)] = self._numbers(
                parts["bufferView"], parts.get("byteOffset", 0), sparse["count"], width, kind
            )
        if entry.get("normalized") and kind.kind in "iu":
            values = np.maximum(values / np.iinfo(kind).max, -1.0)
        if not np.isfinite(values).all():
            raise VisemoError("got NaN or infinite numbers, expected finite ones")
        return values

    def _numbers(self, view: int, start: int, count: int, width: int, kind: np.dtype) -> Float64:
        place = self.document["bufferViews"][view]
        step = place.get("byteStride", width * kind.itemsize)
        begin = place.get("byteOffset", 0) + start
        data = self._buffer(place["buffer"])
        if begin < 0 or step < width * kind.itemsize or begin + step * (count - 1) + width * kind.itemsize > len(data):
            raise VisemoError(f"got an accessor beyond its buffer of {len(data)} bytes, expected it inside")
        table = np.ndarray((count, width), kind, data, begin, (step, kind.itemsize))
        return table.astype(np.float64)

    def _buffer(self, index: int) -> bytes:
        if index not in self.buffers:
            uri = self.document["buffers"][index].get("uri")
            if uri is None:
                self.buffers[index] = self.binary or b""
            elif uri.startswith("data:"):
                self.buffers[index] = base64.b64decode(uri.partition(",")[2])
            else:
                if Path(uri).name != uri:
                    raise VisemoError(f"got a buffer in {uri!r}, expected a file beside it")
                self.buffers[index] = self.path.with_name(uri).read_bytes()
        return self.buffers[index]


def _target_names(mesh: dict[str, Any], count: int) -> tuple[str, ...]:
    """What a mesh calls its targets; exporters of VRM write the names beside its primitives."""
    places = [mesh, *mesh["primitives"]]
    found = [
        place.get("extras", {}).get("targetNames") for place in places if isinstance(place.get("extras", {}), dict)
    ]
    names = next((list(map(str, given)) for given in found if given), [])
    return tuple(names[row] if row < len(names) else f"target_{row:03d}" for row in range(count))


def _triangles(indices: NDArray[np.int64], mode: int) -> NDArray[np.int64]:
    """(F, 3) of a list, strip or fan of corners; a strip turns every second one over."""
    if mode == TRIANGLES:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if mode == FAN:
        return np.stack([np.full(max(len(indices) - 2, 0), indices[0]), indices[1:-1], indices[2:]], axis=1)
    strip = np.stack([indices[:-2], indices[1:-1], indices[2:]], axis=1)
    strip[1::2] = strip[1::2, [1, 0, 2]]
    return strip[(strip[:, 0] != strip[:, 1]) & (strip[:, 1] != strip[:, 2]) & (strip[:, 0] != strip[:, 2])]


def _local(node: dict[str, Any]) -> Float64:
    """(4, 4) of a node: its matrix (column by column), or translation, rotation xyzw and scale."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
