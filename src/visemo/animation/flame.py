"""Takes as FLAME's parameters: the face by L_G (Eq. 14, 15), eyes and head by the take's own life."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from visemo.face.flame_motion import COMPONENTS, FlameMotion
from visemo.geometry.rotation import matrix_to_axis_angle, quaternion_to_matrix
from visemo.models.flame_map import FlameMap
from visemo.types import Animation, FloatArray, VisemoError

EYE_TURN = 0.5  # rad of an eye at weight 1 of its look shapes; recordings of the Live Link Face app lie at 0.4 to 0.7


def flame_motion_of(clip: Animation, flame_map: FlameMap) -> FlameMotion:
    """FLAME's parameters of a take, with its sound and rate: T frames of expr (T, 100), the rest zeros.

    Looks of a lively take become turns of FLAME's eyes, its head motion turns the neck; its blinks are expression, as
    the map has them, since FLAME's lids hang on nothing else.
    Raises VisemoError for a take of another model than the map's, and a map to more than 100 components.
    """
    flame_map.check_model(str(clip.meta.get("model_hash", "")))
    if flame_map.components > COMPONENTS:
        raise VisemoError(f"FLAME map: got {flame_map.components} components, expected at most {COMPONENTS} to write")
    curves = {} if clip.lively_weights is None else dict(zip(clip.lively_names, clip.lively_weights.T))
    params = flame_map.params(clip.weights, clip.fps, curves)
    expr = np.zeros((clip.frames, COMPONENTS), np.float32)
    expr[:, : flame_map.components] = params.expression
    still = np.zeros((clip.frames, 3), np.float32)
    neck = still
    if clip.head_pose is not None:
        neck = matrix_to_axis_angle(quaternion_to_matrix(clip.head_pose[:, 3:])).astype(np.float32)
    return FlameMotion(
        expr, still, neck, params.jaw_pose, _eyes(curves, clip.frames), still.copy(), clip.fps, sound=clip.audio
    )  # fmt: skip


def _eyes(curves: Mapping[str, FloatArray], frames: int) -> FloatArray:
    """(T, 6) axis-angle of the left and the right eye: down about +x, to the face's left about +y."""
    turns = np.zeros((frames, 6), np.float32)
    none = np.zeros(frames, np.float32)
    for at, side, left, right in ((0, "Left", "Out", "In"), (3, "Right", "In", "Out")):
        down, up, to_left, to_right = (curves.get(f"eyeLook{way}{side}", none) for way in ("Down", "Up", left, right))
        turns[:, at], turns[:, at + 1] = EYE_TURN * (down - up), EYE_TURN * (to_left - to_right)
    return turns
