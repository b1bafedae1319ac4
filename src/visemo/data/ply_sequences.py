"""Sequences of PLY files, in folders or zipped, found by name: NAME_7.ply, NAME.000007.ply or NAME/7.ply.

Frames are sorted by their number, whatever it is padded with. Archives are read in place, as if they were the folder
of that name.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from visemo.geometry.mesh import read_mesh, read_ply
from visemo.types import FloatArray, Mesh, VisemoError

Key = tuple[str, ...]

_NUMBERED = re.compile(r"^(?:(.*)[_.])?(\d+)$")
_VERTEX = re.compile(
    rb"ply\r?\nformat binary_little_endian 1\.0\r?\n(?:(?:comment|obj_info)[^\n]*\n)*"
    rb"element vertex (\d+)\r?\n((?:property (?:float|double|uchar|float32|float64|uint8) \w+\r?\n)+)"
)
_TYPES = {b"float": "<f4", b"float32": "<f4", b"double": "<f8", b"float64": "<f8", b"uchar": "u1", b"uint8": "u1"}


@dataclass(frozen=True)
class PlySequence:
    """The frames of one sequence: `members` are file names below `place`, which is a folder or an archive."""

    key: Key
    place: Path
    numbers: tuple[int, ...]
    members: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.members)

    def files(self, start: int, stop: int) -> Iterator[tuple[str, bytes]]:
        """Name and content of frames start..stop-1."""
        if self.place.is_dir():
            for member in self.members[start:stop]:
                yield f"{self.place / member}", (self.place / member).read_bytes()
        else:
            with _archive(self.place) as archive:
                for member in self.members[start:stop]:
                    yield f"{self.place}/{member}", archive.read(member)

    def first_mesh(self) -> Mesh:
        """The first frame with its triangles."""
        return next(parse_ply(what, data) for what, data in self.files(0, 1))


@dataclass(frozen=True)
class Found:
    """What lies below a folder: sequences, single meshes by the same kind of key, and folders without anything."""

    sequences: tuple[PlySequence, ...]
    meshes: dict[Key, tuple[Path, str]]
    empty: tuple[Path, ...]

    def mesh(self, key: Key) -> Mesh | None:
        """A single mesh, or None where there is no such file."""
        if key not in self.meshes:
            return None
        place, member = self.meshes[key]
        if place.is_dir():
            return read_mesh(place / member)
        with _archive(place) as archive:
            return parse_ply(f"{place}/{member}", archive.read(member))


def find_plys(root: Path) -> Found:
    """Every sequence of PLY files below a folder, by its path without file endings, repeated names and numbers.

    Files in `root` itself are single meshes. Raises VisemoError for two sequences of one name, two frames of one
    number, and archives that cannot be read.
    """
    frames: dict[Key, dict[int, tuple[Path, str]]] = {}
    meshes: dict[Key, tuple[Path, str]] = {}
    empty = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        place = Path(folder)
        if not files and not folders and place != root:
            empty.append(place)
        for name in sorted(files):
            for at, member, path in _members(place, name):
                key, number = _named(place.relative_to(root).parts, path)
                if number is None or len(key) < 2:
                    meshes[(*key[:-1], PurePosixPath(path).stem)] = (at, member)
                    continue
                own = frames.setdefault(key, {})
                if number in own:
                    other = own[number]
                    what = f"frame {number} of" if other[0] == at else "sequences named"
                    raise VisemoError(
                        f"{root}: got two {what} {'/'.join(key)} ({other[0].name}/{other[1]} and {at.name}/{member}), "
                        "expected one; remove one"
                    )
                own[number] = (at, member)
    return Found(tuple(_sequence(root, key, frames[key]) for key in sorted(frames)), meshes, tuple(empty))


def _members(place: Path, name: str) -> Iterator[tuple[Path, str, str]]:
    """(place, member, path below the folder) of a PLY file, or of every PLY in an archive."""
    if name.startswith("._"):
        return
    if name.lower().endswith(".ply"):
        yield place, name, name
    elif name.lower().endswith(".zip"):
        with _archive(place / name) as archive:
            for member in archive.namelist():
                plain = PurePosixPath(member)
                if plain.suffix.lower() == ".ply" and not plain.name.startswith("._"):
                    inside = member.removeprefix(f"{name[:-4]}/")  # most archives hold the folder itself
                    yield place / name, member, f"{name[:-4]}/{inside}"


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise VisemoError(f"{path}: got a damaged archive ({error}), expected a zip; download it again") from error


def _named(folder: Key, path: str) -> tuple[Key, int | None]:
    """The key of a sequence and the number of a frame in it."""
    plain = PurePosixPath(path)
    parts = [*folder, *plain.parts[:-1]]
    matched = _NUMBERED.match(plain.stem)
    stem, number = (matched[1] or "", int(matched[2])) if matched else (plain.stem, None)
    if stem and parts[-1:] != [stem]:  # frames mostly go by the name of their folder
        parts.append(stem)
    return tuple(parts) or (plain.stem,), number


def _sequence(root: Path, key: Key, frames: dict[int, tuple[Path, str]]) -> PlySequence:
    places = {place for place, _ in frames.values()}
    if len(places) > 1:
        names = " and ".join(sorted(place.name for place in places))
        raise VisemoError(f"{root}: got two sequences named {'/'.join(key)} ({names}), expected one; remove one")
    numbers = sorted(frames)
    return PlySequence(key, places.pop(), tuple(numbers), tuple(frames[number][1] for number in numbers))


def parse_ply(what: str, data: bytes) -> Mesh:
    """A mesh from the bytes of a PLY file. Raises VisemoError, naming `what`, for a damaged one."""
    try:
        elements = read_ply(data)
        vertices = np.stack([np.asarray(elements["vertex"][axis]) for axis in "xyz"], axis=1).astype(np.float32)
        faces = elements.get("face", {})
        polygons = faces.get("vertex_indices", faces.get("vertex_index", []))
        return Mesh(vertices, np.array([p for p in polygons], np.int32).reshape(-1, 3))
    except (VisemoError, KeyError, ValueError) as error:
        raise VisemoError(f"{what}: got a damaged PLY ({error}), expected vertices and triangles") from error


@dataclass
class PlyReader:
    """Reads the vertices of many PLY files of one topology, its triangles once per distinct way of writing them."""

    triangles: np.ndarray
    _seen: set[int] = field(default_factory=set)

    def read(self, sequence: PlySequence, start: int, stop: int) -> FloatArray:
        """(n, N, 3) float32 as they stand in the files.

        Raises VisemoError for damage, another number of vertices in one frame than in another, or other triangles.
        """
        frames = [self._vertices(what, data) for what, data in sequence.files(start, stop)]
        counts = {len(frame) for frame in frames}
        if len(counts) > 1:
            raise VisemoError(f"{'/'.join(sequence.key)}: got frames of {sorted(counts)} vertices, expected one number")
        return np.stack(frames)

    def _vertices(self, what: str, data: bytes) -> FloatArray:
        head = _VERTEX.match(data)
        begin = data.find(b"end_header") + len(b"end_header")
        begin += 2 if data[begin : begin + 1] == b"\r" else 1
        if head is None:
            return self._whole(what, data).vertices
        fields = [line.split() for line in head[2].splitlines()]
        kind = np.dtype([(name.decode(), _TYPES[kind]) for _, kind, name in fields])
        rest = begin + int(head[1]) * kind.itemsize
        if rest > len(data) or not {"x", "y", "z"} <= set(kind.names or ()):
            raise VisemoError(f"{what}: got a PLY that breaks off or has no x, y, z, expected whole vertices")
        mark = zlib.crc32(memoryview(data)[rest:])
        if mark not in self._seen:
            self._whole(what, data)
            self._seen.add(mark)
        table = np.frombuffer(data, kind, int(head[1]), begin)
        return np.stack([table[axis] for axis in "xyz"], axis=1).astype(np.float32)

    def _whole(self, what: str, data: bytes) -> Mesh:
        mesh = parse_ply(what, data)
        if len(mesh.triangles) and not np.array_equal(mesh.triangles, self.triangles):
            raise VisemoError(
                f"{what}: got {len(mesh.vertices)} vertices and triangles of another topology, expected those of the "
                "other meshes"
            )
        return mesh
