"""Faces by name, folder or file."""

from __future__ import annotations

import os
from pathlib import Path

from visemo.assets import cache_folder
from visemo.face.face import Face
from visemo.face.shape_files import MESH_SUFFIXES
from visemo.face.storage import read_face, save_face
from visemo.types import VisemoError

__all__ = ["BUILTIN", "ICT", "load_face", "save_face"]

BUILTIN, ICT = "builtin", "ict"
ICT_FOLDER = "ICT-FaceKit"  # in the cache folder
ICT_VARIABLE = "VISEMO_ICT"
FLAME_SUFFIXES = (".pkl", ".npz")
POSSIBLE = (
    "builtin, ict, a folder written by save_face, a folder of ICT-FaceKit, a FLAME model (.pkl, .npz), "
    "or a mesh (.obj, .ply)"
)


def load_face(name: str | Path) -> Face:
    """A face by what a user calls it.

    Parameters
    ----------
    name : `builtin`; `ict`, found in $VISEMO_ICT or where `visemo fetch ict` puts it; or a path: a folder that
        `save_face` wrote, a folder of ICT-FaceKit, a FLAME model (.pkl, .npz), or anybody's mesh (.obj, .ply).

    Raises
    ------
    VisemoError
        In one line, for an unknown name (with the list), and for folders and files that hold no face, are damaged,
        foreign, or do not belong together.
    """
    if str(name) == BUILTIN:
        from visemo.face.builtin import builtin_face  # the sculpt is compiled on first use only

        return builtin_face()
    if str(name) == ICT:
        from visemo.face.ict import ict_face

        return ict_face(ict_folder())
    path = Path(name)
    if path.is_dir():
        return _from_folder(path)
    if not path.is_file():
        raise VisemoError(f"face: got {str(name)!r}, expected {POSSIBLE}")
    if path.suffix.lower() in FLAME_SUFFIXES:
        from visemo.face.flame import flame_face, read_flame

        return flame_face(read_flame(path))
    if path.suffix.lower() in MESH_SUFFIXES:
        from visemo.face.user_mesh import user_face

        return user_face(path)
    raise VisemoError(f"{path}: got suffix {path.suffix!r}, expected {POSSIBLE}")


def ict_folder() -> Path:
    """Where ICT-FaceKit is on this machine. Raises VisemoError, saying how to get it, where it is not."""
    named = os.environ.get(ICT_VARIABLE)
    place = Path(named) if named else cache_folder() / ICT_FOLDER
    if not place.is_dir():
        raise VisemoError(
            f"face ict: got no folder {place}, expected ICT-FaceKit there; run visemo fetch ict, or set "
            f"{ICT_VARIABLE} to where you have it"
        )
    return place


def _from_folder(folder: Path) -> Face:
    if not (folder / "face.json").exists():
        from visemo.face.ict import ict_face, is_ict

        if is_ict(folder):
            return ict_face(folder)
    return read_face(folder)
