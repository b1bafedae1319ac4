"""Curves as files, with their names: ARKit's in the app's own format, or those of any rig through its map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from visemo.animation.retarget.rig_map import RigMap
from visemo.assets import atomic
from visemo.export.tracks import write_arkit_csv
from visemo.face.face import Face
from visemo.types import Animation, VisemoError


def write_csv(clip: Animation, path: str | Path, *, face: Face | None = None, rig_map: RigMap | None = None) -> float:
    """Write the take as curves: a row per frame.

    Parameters
    ----------
    face : overrides the lookup by the take's face name.
    rig_map : of the rig whose curves are wanted: columns `time` in s and then the rig's names in its order. Without
        one: ARKit's, as the Live Link Face app writes them.

    Returns the rms distance in mm between the take and what the curves can show of it.
    Raises VisemoError for a take of another model than the map's, or on a face without ARKit's shapes, and for a
    missing folder.
    """
    if rig_map is None:
        return write_arkit_csv(clip, path, face=face)
    curves, residual = rig_map.curves(clip)
    lines = [",".join(["time", *map(_quoted, rig_map.names)])]
    for t, row in enumerate(curves):
        lines.append(f"{t / clip.fps:.6f}," + ",".join(f"{value:.7f}" for value in row))
    with atomic(Path(path)) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return residual


def write_curve_arrays(clip: Animation, path: str | Path, *, rig_map: RigMap | None = None) -> float:
    """Write the take's rig curves as .npz without pickle: `names` (R,), `weights` (T, R) float32, `time` (T,) s, `fps`.

    Returns what `write_csv` returns. Raises VisemoError without a map, and as `write_csv` does.
    """
    if rig_map is None:
        raise VisemoError(f"{path}: got no rig map, expected one; add --rig-map MAP, which visemo retarget makes")
    curves, residual = rig_map.curves(clip)
    with atomic(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez(
            file, allow_pickle=False, names=np.array(rig_map.names, np.str_), weights=curves,
            time=np.arange(clip.frames) / clip.fps, fps=np.float64(clip.fps),
        )  # fmt: skip
    return residual


def _quoted(name: str) -> str:
    """A name as a cell of a csv."""
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\r\n') else name
