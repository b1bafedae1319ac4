"""Expression components for a FLAME that has none, or others than its own: shapes in FLAME's topology."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from visemo.face.flame import FlameModel
from visemo.face.flame_topology import VERTICES
from visemo.geometry.mesh import read_mesh
from visemo.types import FloatArray, VisemoError, check_array

DELTAS, NAMES = "deltas", "names"  # how the names of the arrays end that hold shapes, (M, N, 3) m, and their names (M,)
JAW = "jaw"  # how the names of shapes begin that FLAME's own jaw makes
NEUTRAL = "neutral"
SUFFIXES = (".obj", ".ply")


def with_expressions(model: FlameModel, path: str | Path) -> FlameModel:
    """The model with shapes in place of its expression components: coefficient i is the weight of shape i.

    It has a hash of its own, and its `basis` says whose shapes these are, since they are not FLAME's. Shapes named
    jaw... are left out, where names are known: the jaw is FLAME's joint, on which the lower teeth of avatars hang.

    Parameters
    ----------
    path : an npz with one array `...deltas` (M, N, 3) m whose first 5023 rows are FLAME's vertices, and `...names` (M,)
        if any; or a folder of meshes (.obj, .ply) in FLAME's topology, m, a shape each: what it differs from the one
        called `neutral`, or from FLAME's template where there is none.

    Raises
    ------
    VisemoError
        In one line, for another file or content, and meshes in another topology.
    """
    path = Path(path)
    deltas = _of_folder(path, model) if path.is_dir() else _of_file(path)
    try:
        check_array("shapes", deltas, (None, VERTICES, 3), np.float32)
    except VisemoError as error:
        raise VisemoError(f"{path}: {error}") from error
    shapedirs = np.concatenate([model.identities(), np.moveaxis(deltas, 0, -1)], axis=-1)
    return replace(
        model, shapedirs=np.ascontiguousarray(shapedirs), n_expr=len(deltas), basis=f"{path.stem} shapes",
        source=f"{model.source} with shapes of {path}",
    )  # fmt: skip


def _of_file(path: Path) -> FloatArray:
    if not path.is_file():
        raise VisemoError(f"{path}: no such file or folder, expected shapes in FLAME's topology")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = [name for name in file.files if name.endswith(DELTAS)]
            arrays = [file[name] for name in found]
            names = [file[name].astype(str).tolist() for name in file.files if name.endswith(NAMES)]
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, NotImplementedError) as error:
        raise VisemoError(f"{path}: got no readable arrays ({error}), expected an npz of shapes") from error
    if len(arrays) != 1 or arrays[0].ndim != 3 or arrays[0].shape[1] < VERTICES:
        got = ", ".join(f"{name} {array.shape}" for name, array in zip(found, arrays)) or f"no array ...{DELTAS}"
        raise VisemoError(f"{path}: got {got}, expected one array ...{DELTAS} (M, {VERTICES} or more, 3) m")
    known = names[0] if names and len(names[0]) == len(arrays[0]) else [""] * len(arrays[0])
    kept = [row for row, name in enumerate(known) if not name.startswith(JAW)]
    return np.ascontiguousarray(arrays[0][kept, :VERTICES], np.float32)


def _of_folder(path: Path, model: FlameModel) -> FloatArray:
    meshes = {file.stem: file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES}
    rest = model.v_template if NEUTRAL not in meshes else _vertices(meshes.pop(NEUTRAL), model)
    if all(name.startswith(JAW) for name in meshes):
        raise VisemoError(f"{path}: got no mesh (.obj, .ply), expected one for each shape, in FLAME's topology")
    return np.stack([_vertices(file, model) - rest for name, file in meshes.items() if not name.startswith(JAW)])


def _vertices(file: Path, model: FlameModel) -> FloatArray:
    mesh = read_mesh(file)
    if not np.array_equal(mesh.triangles, model.triangles):
        raise VisemoError(
            f"{file}: got {len(mesh.vertices)} vertices and {len(mesh.triangles)} triangles, expected FLAME's "
            f"{VERTICES} and {len(model.triangles)} in its order; register the mesh first"
        )
    return mesh.vertices
