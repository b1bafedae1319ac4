"""One call that writes a take in the format that the name of the file asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from visemo.export.curves import write_csv, write_curve_arrays
from visemo.export.flame_track import write_flame_motion
from visemo.export.gltf import write_glb
from visemo.export.tracks import write_obj_folder, write_take
from visemo.media import save_wav
from visemo.render.video import write_png, write_video
from visemo.types import Animation, VisemoError


def _write_wav(clip: Animation, path: Path) -> None:
    if clip.audio is None:
        raise VisemoError(f"{path}: got a take without sound, expected one with; animate it from a recording")
    save_wav(clip.audio, path)


WRITERS: dict[str, Callable[..., Any]] = {
    ".mp4": write_video,
    ".glb": write_glb,
    ".npz": write_take,
    ".curves.npz": write_curve_arrays,
    ".flame.npz": write_flame_motion,
    ".csv": write_csv,
    ".png": write_png,
    ".wav": _write_wav,
}


def writer_for(path: str | Path) -> Callable[..., Any]:
    """The writer that a name asks for: by suffix, or meshes per frame for a folder (a name ending in `/`).

    Raises VisemoError, listing what exists, for any other name.
    """
    if str(path).endswith("/"):
        return write_obj_folder
    suffixes = Path(path).suffixes
    # "take.v2.npz" is a take, "take.curves.npz" and "take.flame.npz" ask for other formats
    compound = "".join(suffixes[-2:]).lower() if suffixes[-2:-1] in ([".flame"], [".curves"]) else ""
    suffix = compound or Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise VisemoError(
            f"{path}: got suffix {suffix!r}, expected one of {' '.join(WRITERS)}, or a folder ending in / for a mesh "
            "per frame"
        )
    return WRITERS[suffix]


def save(clip: Animation, path: str | Path, **options: Any) -> None:
    """Write a take; the suffix of `path` picks the format and `options` go to its writer.

    .mp4 film with sound | .glb morph targets | .npz everything | .csv ARKit curves, or a rig's with `rig_map` |
    .curves.npz the same as arrays | .flame.npz FLAME for Gaussian avatars, with `flame_map` | .png contact sheet |
    .wav the sound | a folder ending in `/` an OBJ per frame.

    Raises
    ------
    VisemoError
        Unknown suffix or option, a missing folder, or what the writer itself refuses.
    """
    write = writer_for(path)
    known = list(inspect.signature(write).parameters)[2:]
    for option in options:
        if option not in known:
            raise VisemoError(f"{path}: got option {option!r}, expected one of {', '.join(known) or 'none'}")
    write(clip, Path(path), **options)
