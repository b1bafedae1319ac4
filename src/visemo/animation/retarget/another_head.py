"""Takes on a head of another topology that has ARKit's shapes: the curves move its own shapes, and where the lips of
the take were shut, its lips are shut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from visemo.animation.closure import lip_difference
from visemo.animation.retarget.arkit import all_columns, arkit_basis, arkit_map
from visemo.animation.retarget.habit import NATURAL, Habit
from visemo.animation.retarget.shape_map import bounded_least_squares
from visemo.assets import sha256
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.geometry.rotation import quaternion_to_matrix
from visemo.types import Animation, FloatArray, VisemoError, Waveform, check_array
from visemo.units import M_PER_MM, MM_PER_M

FEWEST_SHAPES = 30  # of a rig: speech and expressions need most of them
SHUT = 1.0 * M_PER_MM  # mean gap of lips that are shut
LIP_PULL = 300.0  # how much dearer a gap that should be none is than as large a motion of the whole face
RIDGE = 1e-4  # of the mean shape energy: two shapes that look alike share the work
RETURN = 0.1  # s over which the correction of a closure comes and goes
# what may help the lips to meet: nothing that shows above the mouth
CLOSERS = tuple(name for name in ARKIT_NAMES if name.startswith(("jawOpen", "mouth")))


def is_rig(face: Face) -> bool:
    """Whether a face has so many of ARKit's shapes that curves can speak with it."""
    return face.shapes is not None and len(set(ARKIT_NAMES) & set(face.shape_names)) >= FEWEST_SHAPES


def onto_rig(clip: Animation, source: Face, rig: Face, habit: Habit = NATURAL) -> Animation:
    """A take of `source` played by another head that has ARKit's shapes.

    Parameters
    ----------
    clip : a take on `source`, any mode.
    source : the face that the take was made on, with ARKit shapes of its own.
    rig : any head with the 52 shapes or most of them, in any topology.
    habit : how natural the curves are held.

    Returns
    -------
    A take on the rig. Its basis is the 52 shapes of the rig twice, [S | S], zero where it lacks one; speech_weights
    (T, 52) are the curves of the speech alone, 0..1, and expression_weights (T, 52) what the expression adds to them
    or takes away, so that their sum, 0..1 too, is the curves of the whole. Both leaks are zero: they belong to the
    model. meta["retarget"] says the rig, the residual of the curves on `source` in mm, and of the frames in which the
    source's lips are shut how many there are and the mean gap of the rig's lips there before and after they were
    brought together.

    Raises
    ------
    VisemoError
        When the source has none of the 52 shapes or the rig fewer than FEWEST_SHAPES, or the take is not on `source`.
    """
    if clip.basis.shape[1] != len(source.template):
        raise VisemoError(
            f"take: got {clip.basis.shape[1]} vertices, expected the {len(source.template)} of face {source.name}"
        )
    _check_rig(rig)
    known = arkit_map(source, clip.basis, rig.shape_names)
    alone, _ = known.curves(np.concatenate([clip.speech_weights, 0 * clip.expression_weights], axis=1), habit)
    whole, residual = known.curves(clip.weights, habit)
    spoken, curves = (all_columns(known.names, found) for found in (alone, whole))
    shut = _shut(clip)
    basis = arkit_basis(rig)
    met = _lips_shut(curves, basis[: len(ARKIT_NAMES)], rig, shut, clip.fps)
    spoken = _lips_shut(spoken, basis[: len(ARKIT_NAMES)], rig, shut, clip.fps)
    said = {
        "rig": rig.name,
        "residual_mm": round(residual, 4),
        "shut_frames": int(shut.sum()),
        "gap_mm": [_mean_gap(each, basis, rig, shut) for each in (curves, met)],
    }
    lively = [column for column, name in enumerate(clip.lively_names) if name in rig.shape_names]
    none = np.zeros_like(met)
    model = clip.meta.get("model_hash", "")
    return replace(
        clip,
        speech_weights=spoken,
        expression_weights=met - spoken,
        speech_leak=none,
        expression_leak=none,
        basis=basis,
        template=rig.template,
        triangles=rig.triangles,
        lip_pairs=rig.lip_pairs,
        face=rig.name,
        lively_weights=None if clip.lively_weights is None else np.ascontiguousarray(clip.lively_weights[:, lively]),
        lively_names=tuple(clip.lively_names[column] for column in lively),
        head_pose=_posed_about(clip.head_pose, source, rig),
        meta={
            **clip.meta,
            "model": f"{clip.meta.get('model', 'unknown')} on {rig.name}",
            "model_hash": sha256(f"{model}".encode(), rig.hash.encode())[:16],
            "face": rig.name,
            "face_hash": rig.hash,
            "retarget": said,
        },
    )


def performed(curves: FloatArray, fps: float, rig: Face, sound: Waveform | None = None) -> Animation:
    """Recorded curves played by a head that has ARKit's shapes.

    Parameters
    ----------
    curves : (T, 52), 0..1, in the order of ARKIT_NAMES; those that the rig has no shape for are lost.
    fps : frames per second.
    sound : what was said.

    Returns
    -------
    A take as `onto_rig` makes it, all of it in the first half of the weights. It belongs to no model.

    Raises
    ------
    VisemoError
        When the rig has fewer than FEWEST_SHAPES of the 52, or the curves are not (T, 52).
    """
    check_array("curves", curves, (None, len(ARKIT_NAMES)), np.float32)
    _check_rig(rig)
    none = np.zeros_like(curves)
    meta = {"model": "recorded curves", "face": rig.name, "face_hash": rig.hash, "mode": "speech"}
    return Animation(
        curves, none, none, none, arkit_basis(rig), rig.template, rig.triangles, rig.lip_pairs, rig.name, fps, sound,
        meta=meta,
    )  # fmt: skip


def _check_rig(rig: Face) -> None:
    if not is_rig(rig):
        raise VisemoError(
            f"face {rig.name}: got {len(set(ARKIT_NAMES) & set(rig.shape_names))} of ARKit's 52 shapes, expected at "
            f"least {FEWEST_SHAPES}; add shapes, or register it to a face that has them"
        )


def _shut(clip: Animation) -> np.ndarray:
    """(T,) the frames in which the take's lips are shut."""
    upper, lower = clip.lip_pairs.T
    apart = clip.template[upper] - clip.template[lower]
    apart = apart + np.tensordot(clip.weights, clip.basis[:, upper] - clip.basis[:, lower], 1)
    return np.linalg.norm(apart, axis=2).mean(axis=1) <= SHUT


def _mean_gap(curves: FloatArray, basis: FloatArray, rig: Face, frames: np.ndarray) -> float:
    """Mean lip gap of the rig over some frames, mm."""
    if not frames.any():
        return 0.0
    apart = lip_difference(curves[frames], basis[: curves.shape[1]], rig)
    return round(float(np.linalg.norm(apart, axis=2).mean()) * MM_PER_M, 4)


def _lips_shut(curves: FloatArray, shapes: FloatArray, rig: Face, shut: np.ndarray, fps: float) -> FloatArray:
    """Curves (T, 52) that shut the rig's lips in the frames `shut`: the least motion of its face that does.

    Two rigs do not shut their mouths by the same numbers: what mouthClose takes back of jawOpen differs. Only curves
    of the mouth and jaw are changed, within 0..1, and the change comes and goes over RETURN seconds.
    """
    if not shut.any():
        return curves
    near = _presence(shut, fps)
    rows = np.flatnonzero(near > 0)
    apart = lip_difference(curves[rows], shapes, rig).astype(np.float64)
    rest = (rig.template[rig.lip_pairs[:, 0]] - rig.template[rig.lip_pairs[:, 1]]).astype(np.float64)
    parting = (shapes[:, rig.lip_pairs[:, 0]] - shapes[:, rig.lip_pairs[:, 1]]).reshape(len(shapes), -1)
    parting = parting.astype(np.float64)
    # towards the rest, in which most rigs' lips are shut, and closer where they are not
    rest *= min(1.0, 0.6 * SHUT / max(float(np.linalg.norm(rest, axis=1).mean()), 1e-9))
    wanted = ((rest - apart) * near[rows, None, None]).reshape(len(rows), -1)
    flat = shapes.reshape(len(shapes), -1).astype(np.float64)
    stiff = flat @ flat.T / len(rig.template)
    pull = LIP_PULL / len(rig.lip_pairs)
    energy = stiff + pull * parting @ parting.T
    free = np.array([name in CLOSERS for name in ARKIT_NAMES])
    energy += RIDGE * np.trace(energy) / len(energy) * np.eye(len(energy))
    start = curves[rows].astype(np.float64)
    target = start @ energy + pull * wanted @ parting.T
    fixed = start[:, ~free] @ energy[~free]  # what may not change stays what it is
    solved = bounded_least_squares(energy[np.ix_(free, free)], (target - fixed)[:, free], start[:, free], 0, 1)
    met = curves.copy()
    met[np.ix_(rows, np.flatnonzero(free))] = solved
    return met


def _presence(shut: np.ndarray, fps: float) -> np.ndarray:
    """(T,) 1 in the frames `shut`, falling to 0 within RETURN s around them."""
    frames, there = np.arange(len(shut)), np.flatnonzero(shut)
    after = np.searchsorted(there, frames)
    off = np.minimum(
        np.abs(frames - there[np.minimum(after, len(there) - 1)]), np.abs(frames - there[np.maximum(after - 1, 0)])
    )
    return 0.5 * (1 + np.cos(np.pi * np.clip(off / (RETURN * fps + 1), 0, 1)))


def _posed_about(pose: FloatArray | None, source: Face, rig: Face) -> FloatArray | None:
    """The head pose (T, 7) turned about the rig's own middle: the point that the source's origin is on it."""
    shared = sorted(set(source.landmarks) & set(rig.landmarks))
    if pose is None or len(shared) < 4:
        return pose
    own = source.template[[source.landmarks[number] for number in shared]].astype(np.float64)
    there = rig.template[[rig.landmarks[number] for number in shared]].astype(np.float64)
    size = there.std(axis=0).sum() / own.std(axis=0).sum()
    shift = there.mean(axis=0) - size * own.mean(axis=0)
    turned = quaternion_to_matrix(pose[:, 3:]) @ shift
    return np.concatenate([pose[:, :3] * size + shift - turned, pose[:, 3:]], axis=1).astype(np.float32)
