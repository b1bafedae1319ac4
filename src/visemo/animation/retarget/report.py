"""What a rig cannot show of a model: in mm, by region, blendshape and moment, and whether shut lips stay shut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from visemo.animation.retarget.another_head import SHUT
from visemo.animation.retarget.rig_map import RigMap
from visemo.face.face import Face
from visemo.types import Animation, FloatArray, VisemoError
from visemo.units import MM_PER_M

REGIONS = {"whole": (), "lips": ("lips",), "mouth": ("mouth",), "brows, eyes": ("brows", "eyes")}
WORST_FRAMES, WORST_SHAPES = 3, 6


@dataclass(frozen=True)
class TakeResidual:
    """One take: rms in mm over frames and the vertices of each region, of its motion and of what is left of it."""

    name: str
    frames: int
    motion_mm: dict[str, float]
    left_mm: dict[str, float]
    worst: tuple[tuple[float, float], ...]  # s, rms in mm over all vertices
    shut_frames: int  # in which the take's lips are shut
    gap_mm: tuple[float, float]  # mean lip gap there, of the take and of the rig


@dataclass(frozen=True)
class RetargetReport:
    """Everything about one map: `takes` with the curves in their limits, `blendshapes` without."""

    model: str
    rig: str
    names: tuple[str, ...]
    notes: tuple[str, ...]
    takes: tuple[TakeResidual, ...]
    blendshapes: dict[str, float]  # name -> rms in mm that no weights of the rig could show


def report_of(rig_map: RigMap, shapes: FloatArray, face: Face, clips: Mapping[str, Animation]) -> RetargetReport:
    """Measure a map on takes of its model.

    Parameters
    ----------
    shapes : (R, V, 3) m, the rig's on the model's face.
    face : the model's.
    clips : name -> take on that face; a lively track is left out.

    Raises VisemoError for no takes, and a take of another model.
    """
    if not clips:
        raise VisemoError("retarget: got no takes, expected at least one to measure the map on")
    takes = tuple(_residual(name, rig_map, shapes, face, clip) for name, clip in clips.items())
    one = next(iter(clips.values()))
    k_a = one.speech_weights.shape[1]
    names = [f"speech_{k:03d}" for k in range(k_a)]
    names += [f"expression_{k:03d}" for k in range(one.expression_weights.shape[1])]
    left = dict(zip(names, map(float, rig_map.shapes.residual_mm)))
    return RetargetReport(rig_map.model, rig_map.rig, rig_map.names, rig_map.notes, takes, left)


def _residual(name: str, rig_map: RigMap, shapes: FloatArray, face: Face, clip: Animation) -> TakeResidual:
    curves, _ = rig_map.curves(clip)
    if clip.lively_weights is not None:
        curves, _ = rig_map.shapes.curves(clip.weights, rig_map.habit)
    motion = np.tensordot(clip.weights, clip.basis, 1)
    shown = np.tensordot(curves, shapes, 1)
    rows = {
        region: np.unique(np.concatenate([face.regions[part] for part in parts])) if parts else slice(None)
        for region, parts in REGIONS.items()
        if all(part in face.regions for part in parts)
    }
    moved, missed = ({key: _rms(field[:, own]) for key, own in rows.items()} for field in (motion, shown - motion))
    frames = MM_PER_M * np.sqrt(((shown - motion) ** 2).sum(axis=2).mean(axis=1))
    worst = tuple((round(t / clip.fps, 3), round(float(frames[t]), 4)) for t in frames.argsort()[::-1][:WORST_FRAMES])
    gaps = [_gaps(clip.template, face, field) for field in (motion, shown)]
    shut = gaps[0] <= MM_PER_M * SHUT
    mean = tuple(round(float(gap[shut].mean()), 4) if shut.any() else 0.0 for gap in gaps)
    return TakeResidual(name, clip.frames, moved, missed, worst, int(shut.sum()), (mean[0], mean[1]))


def _rms(field: np.ndarray) -> float:
    return round(float(MM_PER_M * np.sqrt((field.astype(np.float64) ** 2).sum(axis=2).mean())), 4)


def _gaps(template: FloatArray, face: Face, motion: FloatArray) -> np.ndarray:
    """(T,) mean lip gap, mm."""
    upper, lower = face.lip_pairs.T
    apart = template[upper] - template[lower] + motion[:, upper] - motion[:, lower]
    return MM_PER_M * np.linalg.norm(apart, axis=2).mean(axis=1)


def markdown(report: RetargetReport) -> str:
    """The report as a page of Markdown."""
    title = f"# {report.model} on {report.rig}"
    about = f"{len(report.names)} curves: {', '.join(report.names)}."
    worst = sorted(report.blendshapes.items(), key=lambda entry: -entry[1])[:WORST_SHAPES]
    mean = float(np.mean(list(report.blendshapes.values())))
    shapes = ", ".join(f"{name} {left:.2f}" for name, left in worst)
    moments = "; ".join(
        f"{take.name} " + ", ".join(f"{second:.2f} s ({left:.2f} mm)" for second, left in take.worst)
        for take in report.takes
    )
    return "\n".join([
        title, "", about, "", *(f"- {note}" for note in report.notes), "", table(report.takes), "",
        "rms in mm over frames and vertices, what is left / what moves; lip gap: mean in the frames in which the "
        "take's lips are shut, of the take -> of the rig.", "",
        f"Worst moments: {moments}.", "",
        f"Blendshapes at weight 1 with free curves: {mean:.2f} mm left on average, most of {shapes}.", "",
    ])  # fmt: skip


def table(takes: tuple[TakeResidual, ...]) -> str:
    """A row per take."""
    regions = list(takes[0].left_mm)
    lines = [f"| take | {' | '.join(regions)} | shut frames | lip gap |", "|---" * (len(regions) + 3) + "|"]
    for take in takes:
        cells = [f"{take.left_mm[region]:.2f} / {take.motion_mm[region]:.2f}" for region in regions]
        before, after = take.gap_mm
        gap = f"{before:.2f} -> {after:.2f}" if take.shut_frames else "-"
        lines.append(f"| {take.name} | {' | '.join(cells)} | {take.shut_frames} | {gap} |")
    return "\n".join(lines)
