"""Takes as the programs of this field write them, each told by its content and put in one shape.

    VOCA, EMOTE              a folder (or `meshes` in it) of %05d.obj      FLAME, 60 and 25 frames a second
    EmoVOCA                  a folder of tst%03d.ply; (T, 5023, 3) .npy    FLAME, 60
    FaceFormer, CodeTalker   (T, 15069) .npy                               FLAME, 30 (BIWI 25)
    VOCASET                  vertices_npy/<subject>_<sentence>.npy         FLAME, 60
    UniTalker                .npz of pickled dictionaries                  several, 30 (BIWI 25)
    DiffPoseTalk             .npz of exp, pose, shape                      FLAME parameters, 25
    VHAP, visemo             .npz of expr, jaw_pose and other poses        FLAME parameters, 25 or as the file says
    EMOTE, VOCA, ARTalk      .pkl, .npy and .pt of parameters              FLAME parameters, 25, 60 and 25
    EmoTalk                  (T, 52) .npy                                  ARKit curves, 30
    Audio2Face-3D            animation_frames.csv, exported .json          ARKit curves, as the file says
    Live Link Face           .csv                                          ARKit curves, as the file says
    visemo                   take .npz, folder of frame_%06d.obj, store    as the file says

No file is believed to be harmless: pickles go through the reader of `assets` that makes arrays only.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from visemo.assets import read_array_pickle
from visemo.data.peers.arrays import find_unitalker, holds_objects, pickled_item, read_field, read_flat
from visemo.data.peers.clip import Bodies, Clip, Found
from visemo.data.peers.curves import read_curve_json, read_curve_table, read_emotalk
from visemo.data.peers.flame_params import is_flame, read_artalk, read_flame_table, read_motion
from visemo.data.peers.meshes import frames_in, read_mesh_folder
from visemo.data.peers.own import TAKE, find_takes, read_own_take, read_stored
from visemo.data.store import MANIFEST, open_store
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.flame_motion import is_flame_motion
from visemo.types import VisemoError

__all__ = ["Bodies", "Clip", "Found", "find_clips"]

KNOWN = (
    "meshes of VOCA, EMOTE or EmoVOCA, .npy of FaceFormer, CodeTalker or EmoTalk, .npz of UniTalker, DiffPoseTalk or "
    "visemo, .csv or .json of Audio2Face, .pkl of EMOTE, .pt of ARTalk, or a store"
)
SUFFIXES = (".npy", ".npz", ".csv", ".json", ".pkl", ".pt")
ASIDE = ("templates.pkl", "a2f_smoothed_emotion_output.csv", "a2f_input_emotions.csv")  # that lie beside clips


def find_clips(path: Path | str, bodies: Bodies) -> list[Found]:
    """The clips of a file or folder, by name; they are read one by one.

    Parameters
    ----------
    path : a clip, a file of several, a store, a sequence in a store's `takes`, or a folder of clips
    bodies : what parameters are put on

    Raises
    ------
    VisemoError
        for what does not exist or holds no clip that is known; a clip itself raises when it is read
    """
    path = Path(path)
    if path.is_dir():
        found = _in_folder(path, bodies)
    elif path.is_file():
        found = _in_file(path, bodies)
    else:
        raise VisemoError(f"{path}: got no such file or folder, expected {KNOWN}")
    if not found:
        raise VisemoError(f"{path}: got nothing that is known, expected {KNOWN}")
    return found


def _in_folder(folder: Path, bodies: Bodies) -> list[Found]:
    if (folder / MANIFEST).is_file():
        return find_takes(open_store(folder))
    if frames_in(folder):
        return [Found(folder.name, lambda: read_mesh_folder(folder))]
    found = []
    for place in sorted(folder.iterdir()):
        if place.is_dir():
            inside = _in_folder(place, bodies)
            found += [Found(place.name, inside[0].read)] if len(inside) == 1 else inside
        elif place.suffix.lower() in SUFFIXES and place.name not in ASIDE:
            found += _in_file(place, bodies)
    return found


def _in_file(path: Path, bodies: Bodies) -> list[Found]:
    if path.suffix == ".npy" and (path.parent.parent / MANIFEST).is_file():
        store = open_store(path.parent.parent)
        return [Found(path.stem, lambda: read_stored(store, path.stem))]
    suffix = path.suffix.lower()
    if suffix == ".npz" and holds_objects(path):
        return find_unitalker(path)
    readers: dict[str, Callable[[Path, Bodies], Clip]] = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".csv": read_curve_table,
        ".json": read_curve_json,
        ".pkl": _read_pickle,
        ".pt": read_artalk,
    }
    if suffix not in readers:
        return []
    name = path.stem
    if name == "animation_frames":  # the folder is the clip
        name = path.parent.name
    elif name.startswith("condition_"):  # the folder is the clip, and holds it in several styles
        name = f"{path.parent.name}_{name}"
    return [Found(name, lambda: readers[suffix](path, bodies))]


def _read_npy(path: Path, bodies: Bodies) -> Clip:
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise VisemoError(f"{path}: got a damaged array ({error}), expected a whole .npy") from error
        return _read_table(path, pickled_item(path), bodies)
    except (OSError, EOFError) as error:
        raise VisemoError(f"{path}: got a damaged array ({error}), expected a whole .npy") from error
    if array.dtype.kind == "f" and array.size:
        if array.ndim == 3 and array.shape[2] == 3:
            return read_field(path, array)
        if array.ndim == 2 and array.shape[1] == len(ARKIT_NAMES):
            return read_emotalk(path, array, bodies)
        if array.ndim == 2 and array.shape[1] % 3 == 0:
            return read_flat(path, array)
    raise VisemoError(
        f"{path}: got {array.dtype} {array.shape}, expected vertices (T, 3 V) or (T, V, 3), or ARKit curves (T, 52)"
    )


def _read_npz(path: Path, bodies: Bodies) -> Clip:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, zlib.error, zipfile.BadZipFile) as error:
        raise VisemoError(f"{path}: got no readable arrays ({error}), expected an .npz") from error
    if is_flame_motion(arrays):
        return read_motion(path, arrays, bodies)
    return read_own_take(path, arrays) if set(arrays) >= TAKE else _read_table(path, arrays, bodies)


def _read_pickle(path: Path, bodies: Bodies) -> Clip:
    return _read_table(path, read_array_pickle(path), bodies)


def _read_table(path: Path, table: object, bodies: Bodies) -> Clip:
    if not isinstance(table, dict) or not is_flame(table):
        got = ", ".join(map(str, table)) if isinstance(table, dict) else type(table).__name__
        raise VisemoError(
            f"{path}: got {got or 'nothing'}, expected FLAME parameters (exp and pose, or expression and jaw_pose), "
            "or a take of visemo"
        )
    return read_flame_table(path, table, bodies)
