"""FLAME parameters over time, as DiffPoseTalk, EMOTE, ARTalk and VOCA write them; a FLAME model makes faces of them.

Head and neck stay straight, whatever the file says of them: the question is what the face does. FLAME's editions have
different expression components, so the model has to be of the edition that the program was trained with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from visemo.data.peers.clip import Bodies, Clip
from visemo.face.flame_motion import flame_motion
from visemo.types import FloatArray, VisemoError

STRAIGHT = "head and neck straight, FLAME of --flame"
ARTALK = (100, 3, 3)  # columns: expression, global, jaw


class _Layout(NamedTuple):
    """Whose dictionary it is: its keys, the columns of the jaw, the rate."""

    format: str
    expression: str
    pose: str
    jaw: slice
    fps: float


LAYOUTS = (
    _Layout("DiffPoseTalk", "exp", "pose", slice(3, 6), 25.0),  # pose: global, jaw
    _Layout("EMOTE parameters", "expression", "jaw_pose", slice(0, 3), 25.0),
    _Layout("VOCA parameters", "expression", "pose", slice(6, 9), 60.0),  # pose: global, neck, jaw, eyes
)


def is_flame(table: Mapping[str, Any]) -> bool:
    """Whether a dictionary has the keys of one of these programs."""
    return any({layout.expression, layout.pose} <= set(table) for layout in LAYOUTS)


def read_flame_table(path: Path, table: Mapping[str, Any], bodies: Bodies) -> Clip:
    """A dictionary of arrays. Raises VisemoError for shapes that do not fit, and as `Bodies.posed`."""
    layout = next(layout for layout in LAYOUTS if {layout.expression, layout.pose} <= set(table))
    expression, pose = (_rows(path, key, table[key]) for key in (layout.expression, layout.pose))
    jaw = pose[:, layout.jaw]
    if len(jaw) != len(expression) or jaw.shape[1] != 3:
        raise VisemoError(
            f"{path}: got {layout.expression} {expression.shape} and {layout.pose} {pose.shape}, expected a row per "
            f"frame, with the jaw in columns {layout.jaw.start} to {layout.jaw.stop - 1}"
        )
    shape = _rows(path, "shape", np.atleast_2d(table["shape"])) if "shape" in table else None
    return _clip(path, layout.format, layout.fps, bodies, bodies.posed(str(path), expression, jaw, shape))


def read_motion(path: Path, arrays: Mapping[str, np.ndarray], bodies: Bodies) -> Clip:
    """The arrays of a motion that GaussianAvatars plays, ours or a tracker's. Raises VisemoError for arrays that the
    viewer would not take, a motion of another FLAME, and as `Bodies.posed`."""
    try:
        motion = flame_motion(arrays)
    except VisemoError as error:
        raise VisemoError(f"{path}: {error}") from error
    if motion.flame is not None and bodies.flame is not None:
        motion.flame.check(bodies.flame, str(path))
    posed = bodies.posed(str(path), motion.expr, motion.jaw_pose, motion.shape)
    clip = _clip(path, "FLAME motion", motion.fps, bodies, posed)
    return replace(clip, name=path.name.partition(".")[0], sound=motion.sound)


def read_artalk(path: Path, bodies: Bodies) -> Clip:
    """ARTalk's `motions.pt`, (T, 106): 100 of expression, 3 of the head, 3 of the jaw. Raises VisemoError otherwise."""
    import torch

    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
        motion = np.asarray(tensor, np.float32)
    except Exception as error:  # torch raises whatever its unpickler meets
        asked = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"asks for {asked[1]}; nothing was run" if asked else str(error).partition("\n")[0][:120]
        raise VisemoError(f"{path}: got no tensor ({reason}), expected ARTalk's motions, (T, 106)") from error
    motion = motion[0] if motion.ndim == 3 and len(motion) == 1 else motion
    if motion.ndim != 2 or motion.shape[1] != sum(ARTALK):
        raise VisemoError(f"{path}: got a tensor {motion.shape}, expected ARTalk's motions, (T, {sum(ARTALK)})")
    posed = bodies.posed(str(path), motion[:, : ARTALK[0]], motion[:, -ARTALK[2] :])
    return _clip(path, "ARTalk", 25.0, bodies, posed)


def _clip(path: Path, format: str, fps: float, bodies: Bodies, posed: tuple[FloatArray, FloatArray]) -> Clip:
    assert bodies.flame is not None
    return Clip(path.stem, format, posed[0], fps, bodies.flame.triangles, posed[1], notes=(STRAIGHT,))


def _rows(path: Path, key: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or array.ndim != 2 or not len(array):
        raise VisemoError(f"{path}: got {key} of {array.dtype} {array.shape}, expected numbers (T, n)")
    return array
