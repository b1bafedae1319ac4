"""ARKit's blendshape weights over time, as EmoTalk, Audio2Face-3D and the Live Link Face app write them; a face with
those shapes shows them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visemo.data.captures import arkit_columns, read_capture
from visemo.data.peers.clip import Bodies, Clip
from visemo.face.arkit import ARKIT_NAMES
from visemo.media import load_audio
from visemo.types import FloatArray, VisemoError

ALPHABETICAL = tuple(sorted(ARKIT_NAMES))  # EmoTalk's order
PREFIX = "blendShapes."  # of Audio2Face-3D's columns
LOST = 2  # times as long as its frames last is a table at most whose frames were lost in part


def read_emotalk(path: Path, array: np.ndarray, bodies: Bodies) -> Clip:
    """EmoTalk's .npy: (T, 52) in alphabetical order, 30 frames a second."""
    curves = array[:, [ALPHABETICAL.index(name) for name in ARKIT_NAMES]]
    return _clip(path, "EmoTalk", curves, 30.0, bodies)


def read_curve_table(path: Path, bodies: Bodies) -> Clip:
    """A .csv: Audio2Face-3D's `animation_frames.csv`, with time codes in s, or the Live Link Face app's.

    Raises VisemoError for a table of anything else.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except csv.Error as error:
        raise VisemoError(f"{path}: got no table ({error}), expected one of Audio2Face-3D or Live Link Face") from error
    if "timeCode" not in header:
        capture = read_capture(path)
        return _clip(path, "Live Link Face", capture.weights, capture.fps, bodies)
    columns = [k for k, name in enumerate(header) if name.startswith(PREFIX)]
    try:
        values = np.array([[float(row[k]) for k in columns] for row in rows], np.float32)
        time = np.array([float(row[header.index("timeCode")]) for row in rows])
    except (ValueError, IndexError) as error:
        raise VisemoError(
            f"{path}: got a damaged table ({error}), expected Audio2Face-3D's animation frames"
        ) from error
    steps = np.diff(time)
    if not len(steps) or not (steps > 0).all() or not time[-1] - time[0] < LOST * len(time) * np.median(steps):
        raise VisemoError(
            f"{path}: got {len(time)} time codes that do not grow frame by frame, expected s, of several frames"
        )
    step = float(np.median(steps))
    curves = _named(path, [header[k].removeprefix(PREFIX) for k in columns], values)
    even = np.arange(round((time[-1] - time[0]) / step) + 1) * step + time[0]
    curves = np.stack([np.interp(even, time, curve) for curve in curves.T], axis=1)
    return _clip(path, "Audio2Face-3D", curves, round(1 / step, 3), bodies)


def read_curve_json(path: Path, bodies: Bodies) -> Clip:
    """The .json that Audio2Face exports: `exportFps`, `facsNames`, `weightMat`. Raises VisemoError otherwise."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        names, values = [str(name) for name in table["facsNames"]], np.array(table["weightMat"], np.float32)
        fps = float(table.get("exportFps", 30.0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VisemoError(
            f"{path}: got no curves of Audio2Face ({error}), expected exportFps, facsNames and weightMat"
        ) from error
    if values.ndim != 2 or values.shape[1] != len(names):
        raise VisemoError(
            f"{path}: got weightMat {values.shape} for {len(names)} facsNames, expected a column for each"
        )
    return _clip(path, "Audio2Face", _named(path, names, values), fps, bodies)


def _named(path: Path, names: Sequence[str], values: FloatArray) -> FloatArray:
    """(T, 52) in Apple's order; names that ARKit does not have, such as the tongue's, are left out."""
    curves, known = np.zeros((len(values), len(ARKIT_NAMES)), np.float32), 0
    for name, curve in zip(names, values.T):
        columns, share = arkit_columns(name)
        curves[:, columns] += np.float32(share) * curve[:, None]
        known += len(columns)
    if not known:
        raise VisemoError(f"{path}: got curves {', '.join(names[:3])}..., expected ARKit's names")
    return curves


def _clip(path: Path, format: str, curves: np.ndarray, fps: float, bodies: Bodies) -> Clip:
    """The face that shows them. Audio2Face-3D writes a folder per clip, with the sound beside the curves."""
    vertices, face = bodies.shown(str(path), np.asarray(curves, np.float32))
    alone = path.name == "animation_frames.csv"
    heard = path.parent / "out.wav"
    return Clip(
        path.parent.name if alone else path.stem,
        format,
        vertices,
        fps,
        face.triangles,
        face.template,
        load_audio(heard) if alone and heard.is_file() else None,
        face.name,
        (f"ARKit curves on {face.name}",),
    )
