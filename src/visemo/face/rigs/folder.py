"""Shapes as mesh files beside their neutral: one OBJ or PLY per shape, named after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from visemo.face.rigs.named import Rig
from visemo.face.shape_files import mesh_files, shape_delta, shapes_folder
from visemo.face.user_mesh import known_landmarks
from visemo.geometry.mesh import read_mesh
from visemo.types import VisemoError

NEUTRALS = ("neutral", "basis", "base")  # what the file of the face at rest may be called


def read_folder_rig(path: Path) -> Rig:
    """The rig in a folder of meshes, `neutral.obj` and one mesh per shape; or of a mesh file with NAME_shapes beside.

    Shapes come in the order of their names; a landmarks file beside the neutral counts, as for any mesh.

    Raises
    ------
    VisemoError
        When there is no neutral or no shape, or one has another number of vertices.
    """
    neutral, files = _in_folder(path) if path.is_dir() else _beside(path)
    mesh = read_mesh(neutral)
    if not files:
        raise VisemoError(f"{path}: got no shapes, expected a mesh for each, such as jawOpen.obj")
    deltas = np.stack([shape_delta(file, mesh.vertices, neutral.name) for file in files]).astype(np.float32)
    name = path.name if path.is_dir() else path.stem
    return Rig(name, mesh, tuple(file.stem for file in files), deltas, known_landmarks(neutral, mesh))


def _in_folder(folder: Path) -> tuple[Path, list[Path]]:
    files = mesh_files(folder)
    found = [file for file in files if file.stem.lower() in NEUTRALS]
    if len(found) != 1:
        raise VisemoError(
            f"{folder}: got {len(found)} files named {', '.join(NEUTRALS)}, expected the face at rest as neutral.obj"
        )
    return found[0], [file for file in files if file != found[0]]


def _beside(path: Path) -> tuple[Path, list[Path]]:
    folder = shapes_folder(path)
    if not folder.is_dir():
        raise VisemoError(f"{path}: got no folder {folder.name} beside it, expected one with a mesh per shape")
    return path, mesh_files(folder)
