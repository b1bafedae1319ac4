"""A mesh per frame in a folder, as VOCA, EMOTE and EmoVOCA write them, and visemo itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from visemo.data.checks import unit_of
from visemo.data.peers.clip import Clip
from visemo.geometry.mesh import read_mesh
from visemo.media import load_audio
from visemo.types import VisemoError

INSIDE = ("", "meshes", "Meshes")  # where below a clip's own folder the frames are
_FRAME = re.compile(r"(\D*)(\d+)\.(obj|ply)")


def frames_in(folder: Path) -> list[Path]:
    """The frames of the clip in a folder, by their numbers; none where it holds none."""
    for inside in INSIDE:
        place = folder / inside
        named = [(path, _FRAME.fullmatch(path.name)) for path in place.iterdir()] if place.is_dir() else []
        numbered = sorted((int(match[2]), path.name, path) for path, match in named if match)
        if len(numbered) > 1:
            return [path for _, _, path in numbered]
    return []


def read_mesh_folder(folder: Path) -> Clip:
    """Read a folder of OBJ or PLY frames; the way they are named and written says whose they are, and so their rate.

    `tst000.ply` is EmoVOCA's, 60 frames a second; `frame_000000.obj` visemo's, 30; other OBJ with texture coordinates
    are EMOTE's, 25; without, VOCA's, 60. Numbers decide the order, so frame 1000 comes after 999.

    Raises VisemoError for a mesh that cannot be read, or of another topology than the first.
    """
    paths = frames_in(folder)
    first = read_mesh(paths[0])
    unit, metres = unit_of(str(paths[0]), first.vertices)
    frames = np.empty((len(paths), *first.vertices.shape), np.float32)
    for k, path in enumerate(paths):
        mesh = read_mesh(path)
        if mesh.vertices.shape != first.vertices.shape or not np.array_equal(mesh.triangles, first.triangles):
            raise VisemoError(
                f"{path}: got {len(mesh.vertices)} vertices in another topology, expected that of {paths[0].name}, "
                f"{len(first.vertices)} vertices"
            )
        frames[k] = mesh.vertices * metres
    format, fps = _whose(paths[0])
    sounds = [folder / name for name in ("audio.wav", "out.wav") if (folder / name).is_file()]
    return Clip(
        folder.name,
        format,
        frames,
        fps,
        first.triangles if len(first.triangles) else None,
        sound=load_audio(sounds[0]) if sounds else None,
        notes=() if unit == "m" else (f"converted from {unit}",),
    )


def _whose(path: Path) -> tuple[str, float]:
    if path.suffix == ".ply":
        return "EmoVOCA", 60.0
    if re.fullmatch(r"frame_\d{6}\.obj", path.name):
        return "visemo meshes", 30.0
    textured = re.search(rb"^vt ", path.read_bytes(), re.MULTILINE)
    return ("EMOTE", 25.0) if textured else ("VOCA", 60.0)
