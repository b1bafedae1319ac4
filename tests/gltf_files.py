"""glTF files laid out by hand, as the specification has them: what readers are tested on."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Gltf:
    """A document that grows: `add` stores an array and returns its accessor."""

    def __init__(self) -> None:
        self.binary = b""
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0"}, "nodes": [], "meshes": [], "accessors": [], "bufferViews": [],
        }  # fmt: skip

    def view(self, array: np.ndarray, **more: Any) -> int:
        self.binary += bytes(-len(self.binary) % 4)
        data = np.ascontiguousarray(array).tobytes()
        entry = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data), **more}
        self.document["bufferViews"].append(entry)
        self.binary += data
        return len(self.document["bufferViews"]) - 1

    def add(self, array: np.ndarray, **more: Any) -> int:
        table = array.reshape(len(array), -1)
        entry = {
            "bufferView": self.view(array), "componentType": KINDS[array.dtype.str[1:]], "count": len(array),
            "type": TYPES[table.shape[1]], **more,
        }  # fmt: skip
        self.document["accessors"].append(entry)
        return len(self.document["accessors"]) - 1

    def primitive(self, vertices: np.ndarray, triangles: np.ndarray, deltas: np.ndarray, **more: Any) -> dict[str, Any]:
        return {
            "attributes": {"POSITION": self.add(np.float32(vertices))},
            "indices": self.add(np.uint16(triangles).reshape(-1)),
            "targets": [{"POSITION": self.add(np.float32(delta))} for delta in deltas],
            **more,
        }

    def mesh(self, primitives: list[dict[str, Any]], node: dict[str, Any] | None = None, **more: Any) -> int:
        """A mesh in a node of its own; returns the node."""
        self.document["meshes"].append({"primitives": primitives, **more})
        self.document["nodes"].append({"mesh": len(self.document["meshes"]) - 1, **(node or {})})
        return len(self.document["nodes"]) - 1

    def write(self, path: Path) -> Path:
        """As .gltf with its buffer beside it, or as .glb by any other name."""
        document = dict(self.document)
        document["buffers"] = [{"byteLength": len(self.binary)}]
        if path.suffix == ".gltf":
            path.with_suffix(".bin").write_bytes(self.binary)
            document["buffers"][0]["uri"] = path.with_suffix(".bin").name
            path.write_text(json.dumps(document))
        else:
            path.write_bytes(container(json.dumps(document).encode(), self.binary))
        return path


def container(text: bytes, binary: bytes) -> bytes:
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
