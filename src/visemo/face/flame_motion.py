"""FLAME's parameters over time in the file that GaussianAvatars' viewer plays and VHAP writes.

Arrays by name in an npz, float32, all of T frames: `rotation`, `neck_pose`, `jaw_pose`, `translation` (T, 3),
`eyes_pose` (T, 6), `expr` (T, E), `dynamic_offset` (T, 5143, 3). An avatar's own flame_param.npz is such a file, from
which `shape` (S,) and `static_offset` (1, 5143, 3) are taken. The viewer leaves out arrays of another type without a
word, which is why what it must not read (`fps`, `sample_rate`, sound as int16, `meta`) is of other types here. What
`meta` (JSON) holds under `flame` says which FLAME the coefficients belong to.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from visemo.face.flame import FlameModel
from visemo.face.flame_teeth import FlameWithTeeth
from visemo.types import FloatArray, VisemoError, Waveform, check_array

COMPONENTS, IDENTITIES = 100, 300  # as these files have them
VERTICES = FlameWithTeeth.SIZE[0]
VIEWER_FPS = 25.0  # at which the viewer plays what does not say
POSES = {"rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "translation": 3}
NEEDED = (*POSES, "expr")
VIEWED = (*NEEDED, "dynamic_offset")


class FlameName(NamedTuple):
    """Which FLAME coefficients belong to: editions have different components, and others can stand in for them."""

    hash: str  # FlameModel.hash
    edition: str
    basis: str

    def check(self, flame: FlameModel, what: str) -> None:
        """Raises VisemoError for another FLAME, of whatever edition; `what` was made with this one."""
        if flame.hash != self.hash:
            raise VisemoError(
                f"{flame.source}: got FLAME {flame.edition} with {flame.basis} expressions ({flame.hash}), expected "
                f"{self.edition} with {self.basis} expressions ({self.hash}); use the FLAME that {what} was made with"
            )


@dataclass(frozen=True, eq=False)
class FlameMotion:
    """FLAME's parameters of T frames, angles as axis-angle in rad; `shape` and `static_offset` say who it is.

    Raises VisemoError for other shapes, unequal T, no frames and NaN.
    """

    expr: FloatArray  # (T, E) standard deviations
    rotation: FloatArray  # (T, 3) about the root joint
    neck_pose: FloatArray  # (T, 3)
    jaw_pose: FloatArray  # (T, 3)
    eyes_pose: FloatArray  # (T, 6) left, right
    translation: FloatArray  # (T, 3) m
    fps: float = VIEWER_FPS
    dynamic_offset: FloatArray | None = None  # (T, 5143, 3) m; kept only where it is not zero
    shape: FloatArray | None = None  # (S,)
    static_offset: FloatArray | None = None  # (5143, 3) m
    sound: Waveform | None = None
    flame: FlameName | None = None  # where the file says

    def __post_init__(self) -> None:
        lengths = {name: np.shape(getattr(self, name))[:1] for name in NEEDED}
        if len(set(lengths.values())) > 1 or lengths["expr"] in ((), (0,)):
            got = ", ".join(f"{name} {length[0] if length else 'no'}" for name, length in lengths.items())
            raise VisemoError(f"FLAME motion: got frames {got}, expected the same number, 1 or more, of all")
        for name, width in POSES.items():
            check_array(name, getattr(self, name), (self.frames, width), np.float32)
        check_array("expr", self.expr, (self.frames, None), np.float32)
        if self.dynamic_offset is not None:
            check_array("dynamic_offset", self.dynamic_offset, (self.frames, VERTICES, 3), np.float32)
        if self.shape is not None:
            check_array("shape", self.shape, (None,), np.float32)
        if self.static_offset is not None:
            check_array("static_offset", self.static_offset, (VERTICES, 3), np.float32)
        if not 0 < self.fps < float("inf"):
            raise VisemoError(f"FLAME motion: got {self.fps} frames per second, expected a positive number")

    @property
    def frames(self) -> int:
        return len(self.expr)


def is_flame_motion(names: Iterable[str]) -> bool:
    """Whether arrays of these names are meant as such a file: three of its own are there."""
    return len(set(names) & set(VIEWED)) >= 3


def holds_motion(path: str | Path) -> bool:
    """Whether a file is such an npz; one that cannot be read is not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return is_flame_motion(name.removesuffix(".npy") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return str(path).lower().endswith(".flame.npz")


def read_flame_motion(path: str | Path) -> FlameMotion:
    """Read a motion, or an avatar's flame_param.npz.

    Raises
    ------
    VisemoError
        In one line that names the file: missing or damaged, arrays missing, of a type that the viewer leaves out, of
        other shapes, of unequal length, NaN.
    """
    path = Path(path)
    if not path.is_file():
        raise VisemoError(f"{path}: got no such file, expected FLAME's parameters (.npz)")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, zlib.error, zipfile.BadZipFile) as error:
        reason = "objects or no npz" if "pickle" in str(error) else str(error).partition("\n")[0]
        raise VisemoError(f"{path}: got no readable arrays ({reason}), expected FLAME's parameters (.npz)") from error
    try:
        return flame_motion(arrays)
    except VisemoError as error:
        raise VisemoError(f"{path}: {error}") from error


def flame_motion(arrays: Mapping[str, np.ndarray]) -> FlameMotion:
    """The motion in arrays by name. Raises VisemoError as `read_flame_motion`."""
    missing = [name for name in NEEDED if name not in arrays]
    if missing:
        raise VisemoError(f"got no {', '.join(missing)}, expected {', '.join(VIEWED)}: a viewer stops with a KeyError")
    for name in (*VIEWED, "shape", "static_offset"):
        if name in arrays and arrays[name].dtype != np.float32:
            raise VisemoError(
                f"got {name} of {arrays[name].dtype}, expected float32: GaussianAvatars' viewer leaves out other types "
                "and then stops with a KeyError; convert it"
            )
    parts: dict[str, Any] = {name: np.ascontiguousarray(arrays[name]) for name in NEEDED}
    if "dynamic_offset" in arrays:
        moved = arrays["dynamic_offset"]
        if moved.shape != (len(parts["expr"]), VERTICES, 3) or moved.any():
            parts["dynamic_offset"] = np.ascontiguousarray(moved)
    if "shape" in arrays:
        parts["shape"] = np.ascontiguousarray(arrays["shape"].reshape(-1, arrays["shape"].shape[-1])[0])
    if "static_offset" in arrays:
        parts["static_offset"] = _padded(arrays["static_offset"])
    if "audio" in arrays and "sample_rate" in arrays:
        parts["sound"] = Waveform((arrays["audio"] / 32767).astype(np.float32), int(arrays["sample_rate"]))
    return FlameMotion(**parts, fps=float(arrays.get("fps", VIEWER_FPS)), flame=_flame_name(arrays))


def _flame_name(arrays: Mapping[str, np.ndarray]) -> FlameName | None:
    """Which FLAME `meta` names; None without it, and for a `meta` that is somebody else's."""
    try:
        about = json.loads(str(arrays["meta"]))["flame"]
        return FlameName(*(str(about[name]) for name in ("flame_hash", "edition", "basis")))
    except (KeyError, TypeError, ValueError):
        return None


def _padded(offset: np.ndarray) -> FloatArray:
    """A static offset (1, N, 3) or (N, 3) as (5143, 3): trackers leave the teeth out."""
    offset = offset.reshape(offset.shape[-2:]) if offset.ndim in (2, 3) and offset.size else offset
    if offset.ndim != 2 or len(offset) > VERTICES:
        raise VisemoError(f"got static_offset {offset.shape}, expected (1, {VERTICES}, 3)")
    return np.ascontiguousarray(np.concatenate([offset, np.zeros((VERTICES - len(offset), 3), np.float32)]))


def used_components(what: str, coefficients: FloatArray, available: int, source: str) -> FloatArray:
    """Coefficients (B, n) cut to what FLAME has. Raises VisemoError where that would lose any that is not zero."""
    beyond = np.flatnonzero(coefficients[:, available:].any(axis=0))
    if len(beyond):
        raise VisemoError(
            f"{what}: got coefficient {available + beyond[0]} in use, expected none beyond the {available} components "
            f"of {source}; use the FLAME that it was made with"
        )
    return np.ascontiguousarray(coefficients[:, :available])
