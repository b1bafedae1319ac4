"""Rigs by what a user calls them."""

from __future__ import annotations

from pathlib import Path

from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.face.ict import is_ict
from visemo.face.library import BUILTIN, ICT, load_face
from visemo.face.rigs.avatar_file import read_avatar_rig
from visemo.face.rigs.conventions import CONVENTIONS, conventional_rig
from visemo.face.rigs.folder import read_folder_rig
from visemo.face.rigs.named import Rig
from visemo.face.shape_files import MESH_SUFFIXES, mesh_files
from visemo.types import VisemoError

GLTF_SUFFIXES = (".glb", ".gltf", ".vrm")
POSSIBLE = (
    f"one of {', '.join((*CONVENTIONS, BUILTIN, ICT))}, a face folder, a folder of meshes (neutral.obj and one per "
    "shape), a mesh with a folder NAME_shapes beside it, or a .glb, .gltf or .vrm file"
)


def load_rig(name: str | Path, face: Face) -> Rig:
    """A rig by name, folder or file.

    Parameters
    ----------
    name : `arkit`, `vrm` or `oculus`: what those names usually mean, without a file; `builtin` or `ict`; or a path, see
        POSSIBLE.
    face : the model's; conventions are shown on it where it has all of ARKit's shapes, on the built-in head elsewhere.

    Raises
    ------
    VisemoError
        In one line, for what is unknown (with the list), damaged, or has no shapes.
    """
    if str(name) in CONVENTIONS:
        rigged = set(ARKIT_NAMES) <= set(face.shape_names)
        return conventional_rig(str(name), face if rigged else load_face(BUILTIN))
    if str(name) == face.name and not Path(name).exists():
        return Rig.of_face(face)
    path = Path(name)
    if path.suffix.lower() in GLTF_SUFFIXES:
        return read_avatar_rig(path)
    if path.is_file() and path.suffix.lower() in MESH_SUFFIXES:
        return read_folder_rig(path)
    if path.is_dir() and mesh_files(path) and not is_ict(path):
        return read_folder_rig(path)
    if str(name) in (BUILTIN, ICT) or path.is_dir():
        return Rig.of_face(load_face(name))
    raise VisemoError(f"rig: got {str(name)!r}, expected {POSSIBLE}")
