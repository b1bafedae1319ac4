"""Vertices in arrays: FaceFormer's and CodeTalker's flat .npy, VOCASET's own, EmoVOCA's generated set, and UniTalker's
.npz, whose entries are pickled dictionaries of tensors."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from visemo.assets import array_pickle, read_array_pickle
from visemo.data.checks import unit_of
from visemo.data.peers.clip import Clip, Found
from visemo.face.flame_topology import VERTICES
from visemo.media import load_audio
from visemo.types import FloatArray, VisemoError

BIWI = 23370  # vertices
# UniTalker's data sets by vertices: the rest of its annotations are parameters, or meshes at 30 frames a second
RATES = {BIWI: 25.0}
_RECORDED = re.compile(r"(FaceTalk_\d+_\d+_TA)_sentence\d+")


def read_flat(path: Path, array: np.ndarray) -> Clip:
    """A (T, 3 V) array: what FaceFormer and CodeTalker write, 30 frames a second, 25 on BIWI; or, by its name, a
    recording of VOCASET as both keep it, 60, with the template and the sound that lie in the folders beside it."""
    vertices = array.reshape(len(array), -1, 3)
    recorded = _RECORDED.fullmatch(path.stem)
    if not recorded:
        fps = RATES.get(vertices.shape[1], 30.0)
        return _clip(path.stem, "FaceFormer or CodeTalker", vertices, fps)
    templates, sound = path.parent.parent / "templates.pkl", path.parent.parent / "wav" / f"{path.stem}.wav"
    template = read_array_pickle(templates).get(recorded[1]) if templates.is_file() else None
    return _clip(
        path.stem,
        "VOCASET",
        vertices,
        60.0,
        template=template,
        sound=load_audio(sound) if sound.is_file() else None,
    )


def read_field(path: Path, array: np.ndarray) -> Clip:
    """A (T, V, 3) array: EmoVOCA's generated set where it is FLAME, 60 frames a second; otherwise nobody's, 30."""
    if array.shape[1] == VERTICES:
        return _clip(path.stem, "EmoVOCA set", array, 60.0)
    return _clip(path.stem, "array of vertices", array, RATES.get(array.shape[1], 30.0))


def find_unitalker(path: Path) -> list[Found]:
    """The clips of UniTalker's .npz: sound file -> data set -> vertices (T, V, 3). Where it was run for several data
    sets there is a clip for each.

    Raises VisemoError for entries that hold anything but that.
    """
    found = []
    for entry, table in _dictionaries(path).items():
        stem = Path(entry).with_suffix("").as_posix().replace("/", "_")
        for dataset, field in table.items():
            name = stem if len(table) == 1 else f"{stem}_{dataset}"
            array = np.asarray(field)
            if array.dtype.kind != "f" or array.ndim not in (2, 3) or array[0].size % 3:
                raise VisemoError(
                    f"{path}: got {array.dtype} {array.shape} for {entry}, {dataset}, expected vertices (T, V, 3)"
                )
            vertices = array.reshape(len(array), -1, 3)
            fps = RATES.get(vertices.shape[1], 30.0)
            found.append(Found(name, lambda n=name, v=vertices, f=fps: _clip(n, "UniTalker", v, f)))
    return found


def pickled_item(path: Path) -> Any:
    """The object that `np.save` pickled into a .npy, arrays only. Raises VisemoError for damage and for code."""
    with path.open("rb") as file:
        _skip_header(file)
        return array_pickle(file, str(path)).item()


def _dictionaries(path: Path) -> dict[str, Mapping[str, Any]]:
    import io

    tables = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            stream = io.BytesIO(archive.read(entry))
            _skip_header(stream)
            table = array_pickle(stream, f"{path}/{entry}").item()
            if not isinstance(table, dict) or not table:
                raise VisemoError(f"{path}: got {type(table).__name__} for {entry}, expected a dictionary by data set")
            tables[entry.removesuffix(".npy")] = table
    return tables


def _skip_header(stream: Any) -> None:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    read(stream)


def _clip(name: str, format: str, vertices: np.ndarray, fps: float, template: Any = None, **known: Any) -> Clip:
    """In metres, whatever unit makes a head of the first frame."""
    unit, metres = unit_of(name, vertices[0])
    return Clip(
        name,
        format,
        _scaled(vertices, metres),
        fps,
        template=None if template is None else _scaled(np.asarray(template), metres),
        notes=() if unit == "m" else (f"converted from {unit}",),
        **known,
    )


def _scaled(array: np.ndarray, metres: float) -> FloatArray:
    return np.ascontiguousarray(array, np.float32) * np.float32(metres)
