"""Avatars in glTF files as rigs: morph targets by their own names, or the expressions that a VRM file makes of them.

VRM 0.x keeps `blendShapeGroups` in its extension `VRM`: binds to a mesh's targets, weights in percent; the model faces
-z. VRM 1.0 keeps `expressions` in `VRMC_vrm`: binds to a node's targets, weights 0..1; the model faces +z.

Source: https://github.com/vrm-c/vrm-specification (0.0 and VRMC_vrm-1.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from visemo.face.rigs.gltf import MorphMesh, read_gltf
from visemo.face.rigs.named import Rig
from visemo.types import FloatArray, IntArray, Mesh, VisemoError

WELD = 1e-6  # m: vertices that are as close, at rest and in every shape, are one


class Bind(NamedTuple):
    """A target of one mesh, and how much of it."""

    at: int  # which of the meshes
    target: int
    weight: float  # 0..1


@dataclass(frozen=True)
class Expression:
    name: str
    binds: tuple[Bind, ...]
    binary: bool = False  # shown wholly or not at all


def read_avatar_rig(path: Path) -> Rig:
    """The rig in a .glb, .gltf or .vrm file.

    A VRM file's names are those of its expressions. Left out, and noted: expressions that move no vertex, and binary
    ones, which no curve can show. Any other file's names are those of its morph targets; a name on several meshes moves
    them together.

    Raises
    ------
    VisemoError
        For a file that `read_gltf` refuses, that has no morph targets or expressions, or binds to what is not there.
    """
    document, meshes = read_gltf(path)
    if not meshes:
        raise VisemoError(f"{path}: got no morph targets, expected a mesh with some; export shape keys too")
    try:
        extensions = document.get("extensions", {})
        turned = "VRM" in extensions  # VRM 0.x looks along -z
        if turned:
            expressions = _groups(extensions["VRM"], meshes)
        elif "VRMC_vrm" in extensions:
            expressions = _expressions(extensions["VRMC_vrm"], meshes)
        else:
            expressions = _targets(meshes)
    except VisemoError as error:
        raise VisemoError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise VisemoError(f"{path}: got damaged expressions ({reason}), expected those of VRM; export anew") from error
    kept = [found for found in expressions if _moves(found, meshes)]
    if not kept:
        raise VisemoError(f"{path}: got no expression that moves a vertex gradually, expected some to drive")
    used = sorted({bind.at for found in kept for bind in found.binds})
    vertices, triangles, shapes = _joined(kept, [meshes[at] for at in used], used)
    if turned:
        flip = np.array([-1, 1, -1], np.float32)
        vertices, shapes = vertices * flip, shapes * flip
    rest = [found.name for found in expressions if found not in kept]
    notes = (f"left out, since they move nothing or are all or nothing: {', '.join(rest)}",) if rest else ()
    return Rig(path.stem, Mesh(vertices, triangles), tuple(found.name for found in kept), shapes, notes=notes)


def _targets(meshes: Sequence[MorphMesh]) -> list[Expression]:
    """One expression per target name."""
    binds: dict[str, list[Bind]] = {}
    for at, mesh in enumerate(meshes):
        for row, name in enumerate(mesh.names):
            binds.setdefault(name, []).append(Bind(at, row, 1.0))
    return [Expression(name, tuple(found)) for name, found in binds.items()]


def _groups(extension: dict[str, Any], meshes: Sequence[MorphMesh]) -> list[Expression]:
    """VRM 0.x; a group goes by its own name, or by its preset where it has none."""
    found = []
    for group in extension["blendShapeMaster"]["blendShapeGroups"]:
        binds = [
            Bind(at, bind["index"], bind["weight"] / 100)
            for bind in group.get("binds") or ()
            for at in _places(meshes, "mesh", bind["mesh"], bind["index"])
        ]
        name = str(group.get("name") or group.get("presetName") or "")
        found.append(Expression(name, tuple(binds), bool(group.get("isBinary", False))))
    return found


def _expressions(extension: dict[str, Any], meshes: Sequence[MorphMesh]) -> list[Expression]:
    """VRM 1.0: presets, then what the author added."""
    found = []
    for kind in ("preset", "custom"):
        for name, entry in (extension["expressions"].get(kind) or {}).items():
            binds = [
                Bind(at, bind["index"], float(bind["weight"]))
                for bind in entry.get("morphTargetBinds") or ()
                for at in _places(meshes, "node", bind["node"], bind["index"])
            ]
            found.append(Expression(str(name), tuple(binds), bool(entry.get("isBinary", False))))
    return found


def _places(meshes: Sequence[MorphMesh], what: str, number: int, target: int) -> list[int]:
    """Which of the meshes a bind means, by its mesh or node."""
    places = [at for at, mesh in enumerate(meshes) if getattr(mesh, what) == number]
    if not places or not 0 <= target < len(meshes[places[0]].names):
        raise VisemoError(f"got a bind to target {target} of {what} {number}, expected one that the file has")
    return places


def _moves(expression: Expression, meshes: Sequence[MorphMesh]) -> bool:
    if expression.binary:
        return False
    sizes = [abs(b.weight) * np.abs(meshes[b.at].deltas[b.target]).max(initial=0) for b in expression.binds]
    return max(sizes, default=0) > WELD


def _joined(
    expressions: Sequence[Expression], meshes: Sequence[MorphMesh], numbers: Sequence[int]
) -> tuple[FloatArray, IntArray, FloatArray]:
    """The meshes as one: vertices (N, 3), triangles, and deltas (R, N, 3) of the expressions.

    Vertices that textures or materials split are sewn up where they lie on each other and move alike: the lips of a
    shut mouth do not.
    """
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    triangles = np.concatenate([mesh.triangles + at for mesh, at in zip(meshes, offsets)])
    shapes = np.zeros((len(expressions), *vertices.shape), np.float32)
    for row, expression in enumerate(expressions):
        for bind in expression.binds:
            at = numbers.index(bind.at)
            shapes[row, offsets[at] : offsets[at + 1]] += np.float32(bind.weight) * meshes[at].deltas[bind.target]
    # two random mixtures of all motions stand for them: that two vertices agree in both by chance does not happen
    mixed = np.tensordot(np.random.default_rng(0).normal(size=(2, len(shapes))), shapes, 1)
    key = np.round(np.concatenate([vertices, *mixed], axis=1) / WELD).astype(np.int64)
    _, first, own = np.unique(key, axis=0, return_index=True, return_inverse=True)
    sewn = own.reshape(-1)[triangles].astype(np.int32)
    whole = (sewn[:, 0] != sewn[:, 1]) & (sewn[:, 1] != sewn[:, 2]) & (sewn[:, 2] != sewn[:, 0])
    return vertices[first], sewn[whole], np.ascontiguousarray(shapes[:, first])
