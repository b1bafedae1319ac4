"""Captured faces as curves: recordings of the Live Link Face app, and arrays of named curves.

Whatever the source calls its curves and however it counts time, a capture is 52 ARKit curves at an even rate.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from visemo.face.arkit import ARKIT_NAMES
from visemo.types import FloatArray, VisemoError

APP_RATE = 60  # frames a second of the app, unless its time codes say otherwise
APP_RATES = (24, 25, 30, 48, 50, 60, 120, 240)
ROUNDED = 0.005  # clocks are written to a tenth of a millisecond: a rate so close to a whole number is that number
MOST = 1.05  # of a curve: trackers overshoot 1 a little, and a file of percents is told apart

Translation = Mapping[str, Sequence[tuple[str, float]]]


@dataclass(frozen=True, eq=False)
class Capture:
    """`weights` (T, 52) float32, 0..1, in the order of ARKIT_NAMES; frame k shows the time k / fps.

    `label` is what the file itself says it shows, empty where it says nothing. `missing` are curves that the file does
    not have, 0 throughout; `unknown` are its columns that are none of ARKit's, left out.
    """

    weights: FloatArray
    fps: float
    label: str = ""
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def read_capture(path: Path | str, translation: Translation | None = None) -> Capture:
    """Read a capture.

    Parameters
    ----------
    path : `.csv` of the Live Link Face app, or with `time` in s and a name over each
        column; or `.npz` with `names` (n,), `weights` (T, n) and `time` (T,) s or `fps`,
        and perhaps a `label`.
    translation : for curves that are not ARKit's: what each is in ARKit or ICT names, and how much of it.

    Raises VisemoError for a file that is neither, for curves that are not finite or lie outside 0..1, for names of
    which none is known, and for time that does not grow.
    """
    path, label = Path(path), ""
    if not path.is_file():
        raise VisemoError(f"{path}: got no such file, expected a capture")
    if path.suffix == ".csv":
        names, values, time = _app_file(path)
    elif path.suffix == ".npz":
        names, values, time, label = _arrays(path)
    else:
        raise VisemoError(f"{path}: got suffix {path.suffix!r}, expected .csv of Live Link Face or .npz")
    if len(values) == 0 or not np.isfinite(values).all() or values.min() < 1 - MOST or values.max() > MOST:
        raise VisemoError(f"{path}: got {len(values)} frames with curves outside 0..1, expected finite curves of 0..1")
    if len(time) != len(values) or not (np.diff(time) > 0).all():
        raise VisemoError(f"{path}: got {len(time)} times for {len(values)} frames, expected one each, growing")
    weights, found = _to_arkit(path, names, values, translation)
    missing = tuple(name for k, name in enumerate(ARKIT_NAMES) if k not in found)
    unknown = () if translation else tuple(name for name in names if not arkit_columns(name)[0])
    return replace(_even(weights, time), label=label, missing=missing, unknown=unknown)


def read_translation(path: Path | str) -> Translation:
    """{name: [[ARKit or ICT name, factor], ...]} from a JSON file. Raises VisemoError for anything else."""
    path = Path(path)
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): [(str(target), float(factor)) for target, factor in row] for name, row in table.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise VisemoError(f"{path}: got no translation ({error}), expected {{name: [[ARKit name, factor]]}}") from error


def arkit_columns(name: str) -> tuple[list[int], float]:
    """The columns of ARKIT_NAMES that an ARKit, Live Link or ICT name stands for, and how much of each.

    A name of both sides has two columns, an unknown one none; each half that ICT makes of a whole shape is half of it.
    """
    plain = name.lower()
    for side in ("left", "right"):
        plain = plain.removesuffix(f"_{side[0]}") + side if plain.endswith(f"_{side[0]}") else plain
    known = [n.lower() for n in ARKIT_NAMES]
    whole = plain.removesuffix("left").removesuffix("right")
    if plain in known or whole not in known:
        return [k for k, n in enumerate(known) if n in (plain, plain + "left", plain + "right")], 1.0
    return [known.index(whole)], 0.5


def _to_arkit(
    path: Path, names: Sequence[str], values: FloatArray, translation: Translation | None
) -> tuple[FloatArray, set[int]]:
    """Curves (T, 52), and which of them the file has."""
    weights = np.zeros((len(values), len(ARKIT_NAMES)), np.float32)
    found: set[int] = set()
    for name, curve in zip(names, values.T):
        for target, factor in [(name, 1.0)] if translation is None else translation.get(name, []):
            columns, share = arkit_columns(target)
            weights[:, columns] += np.float32(share * factor) * curve[:, None]
            found |= set(columns)
    if not found:
        raise VisemoError(
            f"{path}: got curves {', '.join(names[:3])}..., expected ARKit names; give a translation for others"
        )
    return weights.clip(0, 1), found


def _even(weights: FloatArray, time: np.ndarray) -> Capture:
    """At the rate of most frames; what a recorder dropped is filled in between its neighbours."""
    if len(time) == 1:
        return Capture(weights, float(APP_RATE))
    steps = np.diff(time)
    fps = float(1 / steps[steps < 1.5 * np.median(steps)].mean())
    if abs(fps - round(fps)) < ROUNDED * fps:
        fps = float(round(fps))
    at = np.arange(round((time[-1] - time[0]) * fps) + 1) / fps + time[0]
    even = np.stack([np.interp(at, time, column) for column in weights.T], axis=1)
    return Capture(even.astype(np.float32), fps)


def _arrays(path: Path) -> tuple[list[str], FloatArray, np.ndarray, str]:
    try:
        with np.load(path, allow_pickle=False) as data:
            values = np.asarray(data["weights"], np.float32)
            names = [str(name) for name in data["names"]]
            time = data["time"] if "time" in data.files else np.arange(len(values)) / float(data["fps"])
            label = str(data["label"]).strip() if "label" in data.files else ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VisemoError(f"{path}: got no capture ({error}), expected names, weights, and time or fps") from error
    if values.ndim != 2 or values.shape[1] > len(names):
        raise VisemoError(f"{path}: got weights {values.shape} for {len(names)} names, expected a name for each column")
    curves = names[: values.shape[1]]  # more names are of angles, kept elsewhere
    return curves, values, np.asarray(time, np.float64), label


def _app_file(path: Path) -> tuple[list[str], FloatArray, np.ndarray]:
    """Rows of the app: time code HH:MM:SS:FF.mmm, a count, 52 curves, and angles of head and eyes, which are left; or
    of any table whose first column is the time in s."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row]
        plain = header[0].strip().lower() == "time"
        curves = [k for k, name in enumerate(header) if arkit_columns(name)[0]]
        first, last = (1, len(header)) if plain else (curves[0], curves[-1] + 1)
        rows = [row for row in rows if any(row[first:last])]  # the app leaves a row empty where it lost the face
        values = np.array([[float(x or 0) for x in row[first:last]] for row in rows], np.float32)
        if plain:
            return header[first:last], values, np.array([float(row[0]) for row in rows])
        codes = [[float(x) for x in row[0].split(":")] for row in rows]
        hours, minutes, seconds, frames = np.array(codes, np.float64).reshape(-1, 4).T
    except (OSError, ValueError, IndexError) as error:
        raise VisemoError(f"{path}: got no table of Live Link Face ({error}), expected its header and rows") from error
    # frames of a second are counted up to the rate: a take longer than a second shows it
    shown = frames.max(initial=0) if np.ptp(seconds) else APP_RATE - 1
    rate = next((rate for rate in APP_RATES if shown < rate), APP_RATE)
    return header[first:last], values, ((hours * 60 + minutes) * 60 + seconds) + frames / rate
