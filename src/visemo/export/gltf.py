"""Animated faces as binary glTF (GLB): blendshapes as named morph targets, weights as one animation.

Layout: one node "head" with one mesh. Its first primitive is the face, one more follows for each
attached part; all have the same morph targets, so one list of weights moves them together. Normals
get deltas too (the change of the smooth normals at weight 1), because viewers without them shade a
talking face as if it were at rest. Head motion is translation and rotation of the node. glTF has
no ratified place for sound: it is written beside, under the same name, and named in `asset.extras`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from visemo.animation.retarget.arkit import arkit_curves
from visemo.assets import atomic
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.attach import part_bases
from visemo.face.face import Face
from visemo.geometry.mesh import vertex_normals
from visemo.media import save_wav
from visemo.render.head import parts_at_rest
from visemo.render.video import face_of
from visemo.types import Animation, FloatArray, IntArray, VisemoError

Shapes = Literal["native", "arkit"]
SHAPES: tuple[Shapes, ...] = ("native", "arkit")

# of glTF 2.0
FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}

STILL = 1e-8  # m; a vertex that moves less than this at weight 1 is left out of its target
STILL_NORMAL = 4e-3  # change of a unit normal, a quarter of a degree


@dataclass(frozen=True, eq=False)
class Surface:
    """One primitive: rest geometry, its morph targets (K, P, 3) m, and how it looks."""

    name: str
    vertices: FloatArray
    triangles: IntArray
    colors: FloatArray
    targets: FloatArray
    roughness: float


@dataclass(frozen=True, eq=False)
class Track:
    """What moves: one name and one curve (T,) per morph target."""

    names: tuple[str, ...]
    weights: FloatArray  # (T, K)


def write_glb(
    clip: Animation, path: str | Path, *, shapes: Shapes = "native", normals: bool = True, face: Face | None = None
) -> tuple[Path, ...]:
    """Write a take as GLB, and its sound as a wav of the same name beside it.

    Parameters
    ----------
    shapes : `native` has targets speech_000.., expression_000.. and the shapes of the lively track by their
        ARKit names; base + weights x targets are the take's vertices. `arkit` has the face's 52 named
        shapes, driven by the fitted curves: any ARKit tool understands it, and it is as close as they come.
    normals : add normal deltas to the targets.
    face : overrides the lookup by the take's face name.

    Returns the files written.

    Raises
    ------
    VisemoError
        Unknown `shapes`, a face that is not the take's or lacks the shapes, a missing folder.
    """
    path = Path(path)
    if shapes not in SHAPES:
        raise VisemoError(f"shapes: got {shapes!r}, expected one of {', '.join(SHAPES)}")
    face = face_of(clip, face)
    surfaces, track = (native_surfaces if shapes == "native" else arkit_surfaces)(clip, face)
    sound = path.with_suffix(".wav")
    document = _document(clip, surfaces, track, normals, sound.name if clip.audio else None)
    with atomic(path) as temporary:
        temporary.write_bytes(document)
    if clip.audio is None:
        return (path,)
    save_wav(clip.audio, sound)
    return path, sound


def native_surfaces(clip: Animation, face: Face) -> tuple[list[Surface], Track]:
    """The take's own blendshapes, and behind them the shapes that its lively track uses.

    Raises VisemoError when the lively track names a shape that the face lacks.
    """
    lively = clip.lively_names if clip.lively_weights is not None else ()
    named = np.array([face.shape(name) for name in lively], np.float32).reshape(-1, *clip.template.shape)
    rows = [face.shape_names.index(name) for name in lively]
    bases = part_bases(face, clip.basis)
    parts = [np.concatenate([bases[part.name], part.shapes[rows]]) for part in face.parts]
    k_a, k_e = clip.speech_weights.shape[1], clip.expression_weights.shape[1]
    names = (*(f"speech_{k:03d}" for k in range(k_a)), *(f"expression_{k:03d}" for k in range(k_e)), *lively)
    weights = clip.weights if clip.lively_weights is None else np.hstack([clip.weights, clip.lively_weights])
    return _surfaces(clip, face, np.concatenate([clip.basis, named]), parts), Track(names, weights)


def arkit_surfaces(clip: Animation, face: Face) -> tuple[list[Surface], Track]:
    """The face's ARKit shapes, driven by the curves that come closest to the take.

    Raises VisemoError when the face has none of the 52.
    """
    curves, _ = arkit_curves(clip, face)
    known = tuple(name for name in ARKIT_NAMES if name in face.shape_names)
    rows = [face.shape_names.index(name) for name in known]
    shapes = np.stack([face.shape(name) for name in known])
    parts = [part.shapes[rows] for part in face.parts]
    return _surfaces(clip, face, shapes, parts), Track(known, curves[:, [ARKIT_NAMES.index(name) for name in known]])


def _surfaces(clip: Animation, face: Face, own: FloatArray, parts: Sequence[FloatArray]) -> list[Surface]:
    surfaces = [Surface("face", clip.template, clip.triangles, face.colors, own, 0.6)]
    for part, rest, targets in zip(face.parts, parts_at_rest(face, clip.template), parts):
        roughness = 0.6 - 0.5 * float(np.clip(part.gloss, 0, 1))
        surfaces.append(Surface(part.name, rest, part.triangles, part.colors, targets, roughness))
    return surfaces


@dataclass
class _Buffer:
    """The binary chunk as it grows, with the views and accessors that say what is where."""

    chunks: list[bytes] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0

    def view(self, array: np.ndarray, target: int | None = None) -> int:
        data = np.ascontiguousarray(array).tobytes()
        entry = {"buffer": 0, "byteOffset": self.size, "byteLength": len(data)}
        self.views.append(entry | ({} if target is None else {"target": target}))
        data += bytes(-len(data) % 4)  # every view begins on four bytes
        self.chunks.append(data)
        self.size += len(data)
        return len(self.views) - 1

    def accessor(self, array: np.ndarray, target: int | None = None, *, limits: bool = False) -> int:
        """Store an array (N,) or (N, C); `limits` writes its minimum and maximum, which positions and times need."""
        kind = {"f4": FLOAT, "u2": UNSIGNED_SHORT, "u4": UNSIGNED_INT}[array.dtype.str[1:]]
        return self._entry(array, kind, {"bufferView": self.view(array, target)}, limits)

    def sparse(self, array: FloatArray, moved: np.ndarray, *, limits: bool = False) -> int:
        """Store the rows `moved` (N,) bool of an array (N, 3) that is zero elsewhere, whichever way is smaller."""
        rows = np.flatnonzero(moved).astype(np.uint16 if len(array) < 1 << 16 else np.uint32)
        if len(rows) * (rows.itemsize + 12) >= array.nbytes:
            return self.accessor(array, ARRAY_BUFFER, limits=limits)
        pruned = np.where(moved[:, None], array, np.float32(0))
        if not len(rows):
            return self._entry(pruned, FLOAT, {}, limits)
        kind = UNSIGNED_SHORT if rows.itemsize == 2 else UNSIGNED_INT
        indices = {"bufferView": self.view(rows), "componentType": kind}
        values = {"bufferView": self.view(pruned[rows])}
        return self._entry(
            pruned, FLOAT, {"sparse": {"count": len(rows), "indices": indices, "values": values}}, limits
        )

    def _entry(self, array: np.ndarray, kind: int, where: dict[str, Any], limits: bool) -> int:
        table = array.reshape(len(array), -1)
        entry = {"componentType": kind, "count": len(array), "type": _TYPES[table.shape[1]], **where}
        if limits:
            entry |= {"min": table.min(axis=0).tolist(), "max": table.max(axis=0).tolist()}
        self.accessors.append(entry)
        return len(self.accessors) - 1


def _document(clip: Animation, surfaces: Sequence[Surface], track: Track, normals: bool, sound: str | None) -> bytes:
    buffer = _Buffer()
    primitives = [_primitive(buffer, surface, at, normals) for at, surface in enumerate(surfaces)]
    mesh = {
        "name": clip.face,
        "primitives": primitives,
        "weights": [0.0] * len(track.names),
        "extras": {"targetNames": list(track.names)},
    }
    asset: dict[str, Any] = {"version": "2.0", "generator": f"visemo {version('visemo')}"}
    if sound is not None:
        asset["extras"] = {"sound": sound}
    content = {
        "asset": asset,
        "scene": 0,
        "scenes": [{"name": "scene", "nodes": [0]}],
        "nodes": [{"name": "head", "mesh": 0}],
        "meshes": [mesh],
        "materials": [_material(surface) for surface in surfaces],
        "animations": [_animation(buffer, clip, track)],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": buffer.size}],
    }
    text = json.dumps(content, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary = b"".join(buffer.chunks)
    total = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, total),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(binary), b"BIN\0"),
            binary,
        ]
    )


def _primitive(buffer: _Buffer, surface: Surface, material: int, normals: bool) -> dict[str, Any]:
    small = len(surface.vertices) < 1 << 16
    rest = vertex_normals(surface.vertices, surface.triangles)
    return {
        "attributes": {
            "POSITION": buffer.accessor(surface.vertices, ARRAY_BUFFER, limits=True),
            "NORMAL": buffer.accessor(rest, ARRAY_BUFFER),
            "COLOR_0": buffer.accessor(np.clip(surface.colors, 0, 1), ARRAY_BUFFER),
        },
        "indices": buffer.accessor(
            surface.triangles.reshape(-1).astype(np.uint16 if small else np.uint32), ELEMENT_ARRAY_BUFFER
        ),
        "material": material,
        "targets": [_target(buffer, surface, delta, rest if normals else None) for delta in surface.targets],
    }


def _target(buffer: _Buffer, surface: Surface, delta: FloatArray, rest: FloatArray | None) -> dict[str, int]:
    moved = np.abs(delta).max(axis=1) > STILL
    target = {"POSITION": buffer.sparse(delta, moved, limits=True)}
    if rest is not None:
        turned = vertex_normals(surface.vertices + delta, surface.triangles) - rest
        target["NORMAL"] = buffer.sparse(turned, np.abs(turned).max(axis=1) > STILL_NORMAL)
    return target


def _material(surface: Surface) -> dict[str, Any]:
    return {
        "name": surface.name,
        "doubleSided": True,  # lids and lips are seen from behind where they open
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": round(surface.roughness, 3)},
    }


def _animation(buffer: _Buffer, clip: Animation, track: Track) -> dict[str, Any]:
    times = buffer.accessor((np.arange(clip.frames) / clip.fps).astype(np.float32), limits=True)
    curves: list[tuple[str, np.ndarray]] = [("weights", track.weights.reshape(-1))]
    if clip.head_pose is not None:
        curves += [("translation", clip.head_pose[:, :3]), ("rotation", _continuous(clip.head_pose[:, 3:]))]
    samplers = [
        {"input": times, "output": buffer.accessor(values.astype(np.float32)), "interpolation": "LINEAR"}
        for _, values in curves
    ]
    channels = [{"sampler": at, "target": {"node": 0, "path": path}} for at, (path, _) in enumerate(curves)]
    return {"name": "take", "samplers": samplers, "channels": channels}


def _continuous(quaternions: FloatArray) -> FloatArray:
    """wxyz to glTF's xyzw, unit, each with the sign that is nearer to the one before."""
    unit = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    flips = np.sign(np.einsum("tk,tk->t", unit[1:], unit[:-1]))
    signs = np.cumprod(np.concatenate([[1.0], np.where(flips == 0, 1, flips)]))
    return (unit * signs[:, None])[:, [1, 2, 3, 0]].astype(np.float32)
