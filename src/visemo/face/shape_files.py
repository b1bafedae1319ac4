"""Shapes as mesh files in a folder, one OBJ or PLY per shape, in the vertex order of their neutral."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visemo.face.positions import read_positions
from visemo.types import VisemoError

MESH_SUFFIXES = (".obj", ".ply")


def shapes_folder(path: Path) -> Path:
    """Where the shapes of a mesh file are looked for."""
    return path.with_name(f"{path.stem}_shapes")


def mesh_files(folder: Path) -> list[Path]:
    """The meshes of a folder by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in MESH_SUFFIXES)


def shape_delta(file: Path, neutral: NDArray, name: str) -> NDArray[np.float64]:
    """What a shape's mesh file does to the neutral (N, 3) called `name`.

    Raises VisemoError for another number of vertices.
    """
    shape = read_positions(file)
    if shape.shape != neutral.shape:
        raise VisemoError(f"{file}: got {len(shape)} vertices, expected the {len(neutral)} of {name} in its order")
    return shape - neutral
