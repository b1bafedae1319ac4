"""Takes as files: the npz that holds everything, ARKit curves as csv, a mesh per frame."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from visemo.animation.flame import EYE_TURN
from visemo.animation.retarget.arkit import arkit_curves
from visemo.animation.retarget.habit import NATURAL
from visemo.assets import atomic
from visemo.face.arkit import ARKIT_NAMES, LIVE_LINK_POSE
from visemo.face.face import Face
from visemo.geometry.rotation import quaternion_to_matrix
from visemo.render.progress import progress_bar
from visemo.render.video import face_of
from visemo.types import Animation, FloatArray, VisemoError, Waveform

# ---------------------------------------------------------------- npz

_REQUIRED = (
    "faces", "template", "basis", "fps", "speech_weights", "expression_weights", "speech_leak", "expression_leak",
    "lip_pairs", "meta",
)  # fmt: skip
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's own first day: the same take gives the same bytes on any day


def take_size(clip: Animation, *, include_vertices: bool = True) -> int:
    """Bytes of the npz that `write_take` makes of this take, exact within some kB."""
    arrays = sum(array.nbytes + 400 for array in _arrays(clip).values())
    return arrays + (clip.frames * clip.template.nbytes + 400 if include_vertices else 0)


def write_take(clip: Animation, path: str | Path, *, include_vertices: bool = True) -> None:
    """Write a take as npz: plain arrays without pickle, the same bytes for the same take.

    `vertices` (T, V, 3) float32 m = template + B w come first, decoded and written in blocks, unless
    `include_vertices` is False; `faces` (F, 3) int32; `template`, `basis` (K, V, 3) m; the weights and
    leaks; `lip_pairs`; `fps`; where there are any, `audio` with `sample_rate`, `lively_weights` with
    `lively_names`, and `head_pose` (T, 7); `meta`, a JSON text with the face's name.

    Raises VisemoError when the folder is missing or cannot be written.
    """
    with (
        atomic(Path(path)) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
        progress_bar(f"take {Path(path).name}") as done,
    ):
        if include_vertices:
            with member(archive, "vertices") as file:
                write_header(file, (clip.frames, *clip.template.shape))
                written = 0
                for block in clip.blocks():
                    file.write(np.ascontiguousarray(block, "<f4").data)
                    written += len(block)
                    done(written / clip.frames)
        for name, array in _arrays(clip).items():
            with member(archive, name) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def read_take(path: str | Path) -> Animation:
    """Read a take back; vertices are decoded from its weights when asked for.

    Raises
    ------
    VisemoError
        No such file, no npz, an npz of something else, or arrays that do not fit together.
    """
    path = Path(path)
    if not path.is_file():
        raise VisemoError(f"{path}: got no such file, expected a take (.npz)")
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise VisemoError(f"{path}: got a single array, expected a take (.npz)")
        with file:
            missing = [name for name in _REQUIRED if name not in file.files]
            if missing:
                raise VisemoError(f"{path}: got an npz without {', '.join(missing)}, expected a take")
            arrays = {name: file[name] for name in file.files if name != "vertices"}
        return _animation(arrays)
    except VisemoError as error:
        raise VisemoError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except (ValueError, TypeError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "pickle" in reason:  # numpy takes whatever is no array file for a pickle, and says how to run it
            reason = "it is no .npz of plain arrays"
        raise VisemoError(f"{path}: got no readable take ({reason}), expected one; write it again") from error


def _arrays(clip: Animation) -> dict[str, np.ndarray]:
    """Everything of the npz but the vertices, little-endian, in the order of the file."""
    meta = json.dumps({**clip.meta, "face": clip.face}, sort_keys=True, ensure_ascii=False)
    arrays: dict[str, np.ndarray] = {
        "faces": clip.triangles,
        "template": clip.template,
        "basis": clip.basis,
        "fps": np.array(float(clip.fps)),
        "speech_weights": clip.speech_weights,
        "expression_weights": clip.expression_weights,
        "speech_leak": clip.speech_leak,
        "expression_leak": clip.expression_leak,
        "lip_pairs": clip.lip_pairs,
    }
    if clip.audio is not None:
        arrays |= {"audio": clip.audio.samples, "sample_rate": np.array(clip.audio.sample_rate, np.int64)}
    if clip.lively_weights is not None:
        arrays |= {"lively_weights": clip.lively_weights, "lively_names": np.array(clip.lively_names, np.str_)}
    if clip.head_pose is not None:
        arrays["head_pose"] = clip.head_pose
    return arrays | {"meta": np.array(meta)}


def _animation(arrays: dict[str, np.ndarray]) -> Animation:
    meta = json.loads(str(arrays["meta"]))
    if not isinstance(meta, dict) or not isinstance(meta.get("face"), str):
        raise VisemoError("meta: got no object with a face's name, expected one")
    audio = None
    if "audio" in arrays:
        audio = Waveform(arrays["audio"], int(arrays["sample_rate"]))
    return Animation(
        speech_weights=arrays["speech_weights"],
        expression_weights=arrays["expression_weights"],
        speech_leak=arrays["speech_leak"],
        expression_leak=arrays["expression_leak"],
        basis=arrays["basis"],
        template=arrays["template"],
        triangles=arrays["faces"],
        lip_pairs=arrays["lip_pairs"],
        face=meta["face"],
        fps=float(arrays["fps"]),
        audio=audio,
        lively_weights=arrays.get("lively_weights"),
        lively_names=tuple(str(name) for name in arrays.get("lively_names", ())),
        head_pose=arrays.get("head_pose"),
        meta=meta,
    )


def member(archive: zipfile.ZipFile, name: str, packed: bool = False) -> IO[bytes]:
    """An array's file in an npz, to be written once."""
    info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    info.external_attr = 0o644 << 16
    return archive.open(info, "w", force_zip64=True)  # vertices of minutes pass 4 GB


def write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    """How a float32 array of that shape begins in an npz."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


# ---------------------------------------------------------------- csv

# the Live Link Face app lists right before left for these two, unlike Apple's headers
_APP_ORDER = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
APP_NAMES: tuple[str, ...] = tuple(_APP_ORDER.get(name, name) for name in ARKIT_NAMES)
CSV_HEADER: tuple[str, ...] = (
    "Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in APP_NAMES), *LIVE_LINK_POSE,
)  # fmt: skip


def write_arkit_csv(clip: Animation, path: str | Path, *, face: Face | None = None) -> float:
    """Write the take as ARKit curves in the file format of the Live Link Face app.

    One row per frame: time code HH:MM:SS:FF.mmm, the count 61, 52 curves 0..1, then yaw, pitch and roll in
    rad of the head and of both eyes. The app's signs: yaw grows to the face's own right, pitch downwards,
    roll towards the face's own left shoulder.

    Returns the rms distance in mm between the take and what the 52 shapes can show of it.
    Raises VisemoError when the face has no ARKit shapes or the folder is missing.
    """
    curves, residual = arkit_curves(clip, face_of(clip, face), NATURAL)  # another head will show them
    columns = curves[:, [ARKIT_NAMES.index(name) for name in APP_NAMES]]
    angles = np.concatenate([_head_angles(clip), _eye_angles(curves)], axis=1)
    lines = [",".join(CSV_HEADER)]
    for t, row in enumerate(np.concatenate([columns, angles], axis=1)):
        values = ",".join(f"{value:.7f}" for value in row)
        lines.append(f"{time_code(t, clip.fps)},{len(CSV_HEADER) - 2},{values}")
    with atomic(Path(path)) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return residual


def time_code(frame: int, fps: float) -> str:
    """HH:MM:SS:FF.mmm; FF counts frames of the second at the rounded rate, mmm is the rest in thousandths of a frame.

    >>> time_code(45, 30.0)
    '00:00:01:15.000'
    """
    rate = round(fps)
    milliframes = round(frame / fps * rate * 1000)
    whole, rest = divmod(milliframes, 1000)
    seconds, part = divmod(whole, max(rate, 1))
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{part:02d}.{rest:03d}"


def _head_angles(clip: Animation) -> FloatArray:
    """(T, 3) yaw, pitch, roll in rad of the head with the app's signs."""
    if clip.head_pose is None:
        return np.zeros((clip.frames, 3), np.float32)
    # R = Ry(-yaw) Rx(pitch) Rz(-roll): in the app's mirrored frame two of the three turns change sign
    matrix = quaternion_to_matrix(clip.head_pose[:, 3:])
    yaw = -np.arctan2(matrix[:, 0, 2], matrix[:, 2, 2])
    pitch = np.arcsin(np.clip(-matrix[:, 1, 2], -1, 1))
    roll = -np.arctan2(matrix[:, 1, 0], matrix[:, 1, 1])
    return np.stack([yaw, pitch, roll], axis=1).astype(np.float32)


def _eye_angles(curves: FloatArray) -> FloatArray:
    """(T, 6) yaw, pitch, roll in rad of the left and the right eye from their look curves (T, 52)."""

    def curve(name: str) -> FloatArray:
        return curves[:, ARKIT_NAMES.index(name)]

    angles = np.zeros((len(curves), 6), np.float32)
    for at, side, to_the_right, to_the_left in ((0, "Left", "In", "Out"), (3, "Right", "Out", "In")):
        angles[:, at] = EYE_TURN * (curve(f"eyeLook{to_the_right}{side}") - curve(f"eyeLook{to_the_left}{side}"))
        angles[:, at + 1] = EYE_TURN * (curve(f"eyeLookDown{side}") - curve(f"eyeLookUp{side}"))
    return angles


# ---------------------------------------------------------------- a mesh per frame

_FRAME = re.compile(r"frame_\d{6}\.obj")


def write_obj_folder(clip: Animation, path: str | Path) -> None:
    """Write frame_000000.obj, ... of the face (its own vertices in their order, m) into a folder, whole or not at all.

    A folder that holds nothing but such frames is replaced.
    Raises VisemoError when the folder holds anything else, or its parent is missing or cannot be written.
    """
    path = Path(path)
    with _atomic_folder(path) as folder, progress_bar(f"meshes {path.name}") as done:
        faces = b"".join(b"f %d %d %d\n" % tuple(triangle) for triangle in (clip.triangles + 1).tolist())
        line = b"v %.7g %.7g %.7g\n" * len(clip.template)
        for t, vertices in _numbered(clip.blocks()):
            (folder / f"frame_{t:06d}.obj").write_bytes(line % tuple(vertices.ravel().tolist()) + faces)
            done((t + 1) / clip.frames)


def _numbered(blocks: Iterator[FloatArray]) -> Iterator[tuple[int, FloatArray]]:
    return enumerate(vertices for block in blocks for vertices in block)


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes its place, on failure it is removed."""
    if path.exists() and not path.is_dir():
        raise VisemoError(f"{path}: got a file, expected a folder for a mesh per frame; choose another name")
    if path.is_dir() and not all(_FRAME.fullmatch(entry.name) for entry in path.iterdir()):
        raise VisemoError(f"{path}: got a folder with other files, expected a new or empty one; choose another name")
    if not path.parent.is_dir():
        raise VisemoError(f"{path}: got no folder {path.parent}, expected an existing one; create it first")
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise VisemoError(f"{path}: cannot write there ({error.strerror}); choose another folder") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
