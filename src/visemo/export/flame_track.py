"""Takes as the FLAME motions that GaussianAvatars' viewer plays (--motion_path)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from visemo.animation.flame import flame_motion_of
from visemo.assets import atomic
from visemo.export.tracks import member, write_header
from visemo.face.flame_motion import IDENTITIES, NEEDED, VERTICES
from visemo.models.flame_map import FlameMap
from visemo.render.progress import progress_bar
from visemo.types import Animation, VisemoError

_BLOCK = 256  # frames of zeros at once


def flame_size(clip: Animation) -> int:
    """Bytes of `dynamic_offset` (T, 5143, 3) float32, which a viewer unpacks; the file packs its zeros."""
    return clip.frames * VERTICES * 3 * 4


def write_flame_motion(clip: Animation, path: str | Path, *, flame_map: FlameMap | None = None) -> None:
    """Write a take as FLAME's parameters, see `visemo.face.flame_motion`; the same bytes for the same take.

    Raises VisemoError without a map, for a take of another model than its own, and where the folder is missing.
    """
    if flame_map is None:
        raise VisemoError(
            f"{path}: got no map from blendshapes to FLAME, expected --flame-map RUN; make one with visemo train "
            "flame-map --model MODEL --flame FILE -o RUN"
        )
    motion = flame_motion_of(clip, flame_map)
    about = {name: getattr(flame_map, name) for name in ("edition", "basis", "flame_hash", "licence", "model")}
    extra = {
        "shape": np.zeros(IDENTITIES, np.float32),
        "static_offset": np.zeros((1, VERTICES, 3), np.float32),
        "fps": np.array(float(clip.fps)),
        "meta": np.array(json.dumps({"flame": about, "take": clip.meta}, sort_keys=True, ensure_ascii=False)),
    }
    if motion.sound is not None:
        samples = np.round(32767 * np.clip(motion.sound.samples, -1, 1)).astype(np.int16)
        extra |= {"audio": samples, "sample_rate": np.array(motion.sound.sample_rate, np.int64)}
    with (
        atomic(Path(path)) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
        progress_bar(f"FLAME {Path(path).name}") as done,
    ):
        for name, array in ({name: getattr(motion, name) for name in NEEDED} | extra).items():
            with member(archive, name, packed=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        with member(archive, "dynamic_offset", packed=True) as file:
            write_header(file, (clip.frames, VERTICES, 3))
            for start in range(0, clip.frames, _BLOCK):
                count = min(_BLOCK, clip.frames - start)
                file.write(bytes(count * VERTICES * 3 * 4))
                done((start + count) / clip.frames)
