"""Vertices in arrays: FaceFormer's and CodeTalker's flat .npy, VOCASET's own, EmoVOCA's generated set, and UniTalker's
.npz, whose entries are pickled dictionaries of tensors."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from visemo.assets import array_pickle, read_array_pickle
from visemo.data.checks import HEAD, size_of, unit_of
from visemo.data.peers.clip import Clip, Found
from visemo.face.flame_topology import VERTICES
from visemo.media import load_audio
from visemo.types import FloatArray, VisemoError

BIWI = 23370  # vertices
BIWI_UNIT = 0.2  # m: its files are in a unit of their own, which UniTalker multiplies by this
# UniTalker's data sets by vertices: the rest of its annotations are parameters, or meshes at 30 frames a second
RATES = {BIWI: 25.0}
_RECORDED = re.compile(r"(FaceTalk_\d+_\d+_TA)_sentence\d+")


def read_flat(path: Path, array: np.ndarray) -> Clip:
    """A (T, 3 V) array: what FaceFormer and CodeTalker write, 30 frames a second, 25 on BIWI; or, by its name, a
    recording of VOCASET as both keep it, 60, with the template and the sound that lie in the folders beside it.

    Raises VisemoError for `templates.pkl` that are no templates.
    """
    vertices = array.reshape(len(array), -1, 3)
    recorded = _RECORDED.fullmatch(path.stem)
    templates, sound = path.parent.parent / "templates.pkl", path.parent.parent / "wav" / f"{path.stem}.wav"
    # what they predict from a recording's sound goes by the same name
    if not recorded or not (path.parent.name == "vertices_npy" or templates.is_file()):
        fps = RATES.get(vertices.shape[1], 30.0)
        return _clip(path.stem, "FaceFormer or CodeTalker", vertices, fps)
    template = _template(templates, recorded[1]) if templates.is_file() else None
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
            if array.dtype.kind != "f" or array.ndim not in (2, 3) or not array.size or array[0].size % 3:
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
        return _item(file, str(path))


def holds_objects(path: Path) -> bool:
    """Whether the first array of an .npz is pickled."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
            return _header(file)[2].hasobject
    except (OSError, ValueError, IndexError, zipfile.BadZipFile):
        return False


def _dictionaries(path: Path) -> dict[str, Mapping[str, Any]]:
    tables = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            try:
                stream = io.BytesIO(archive.read(entry))
            except (OSError, zlib.error, zipfile.BadZipFile) as error:
                raise VisemoError(f"{path}: got a damaged {entry} ({error}), expected a whole .npz") from error
            table = _item(stream, f"{path}/{entry}")
            if not isinstance(table, dict) or not table:
                raise VisemoError(f"{path}: got {type(table).__name__} for {entry}, expected a dictionary by data set")
            tables[entry.removesuffix(".npy")] = table
    return tables


def _item(stream: BinaryIO, what: str) -> Any:
    """What a .npy that holds one pickled object holds."""
    try:
        _header(stream)
    except ValueError as error:
        raise VisemoError(f"{what}: got a damaged array ({error}), expected a whole .npy") from error
    array = array_pickle(stream, what)
    if getattr(array, "shape", None) != ():
        raise VisemoError(f"{what}: got a pickled {type(array).__name__}, expected one dictionary of arrays")
    return array.item()


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and dtype of the .npy that begins where the stream stands."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def _template(path: Path, subject: str) -> np.ndarray | None:
    """(V, 3) of a subject out of VOCASET's `templates.pkl`; None where it is not among them."""
    table = read_array_pickle(path)
    template = table.get(subject) if isinstance(table, dict) else table
    if not isinstance(template, np.ndarray | None):
        raise VisemoError(f"{path}: got {type(template).__name__}, expected VOCASET's templates by subject")
    return template


def _clip(
    name: str, format: str, vertices: np.ndarray, fps: float, template: np.ndarray | None = None, **known: Any
) -> Clip:
    """In metres, whatever unit makes a head of the first frame."""
    if vertices.shape[1] == BIWI and HEAD[1] < size_of(vertices[0]) <= HEAD[1] / BIWI_UNIT:
        unit, metres = "BIWI's unit", BIWI_UNIT
    else:
        unit, metres = unit_of(name, vertices[0])
    return Clip(
        name,
        format,
        _scaled(vertices, metres),
        fps,
        template=None if template is None else _scaled(template, metres),
        notes=() if unit == "m" else (f"converted from {unit}",),
        **known,
    )


def _scaled(array: np.ndarray, metres: float) -> FloatArray:
    return np.ascontiguousarray(array, np.float32) * np.float32(metres)
