"""The 52 ARKit curves of a take, so that any ARKit rig can be driven: the map to shapes that are on the face itself."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from visemo.animation.retarget.habit import EXACT, Habit
from visemo.animation.retarget.shape_map import ShapeMap
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.types import Animation, FloatArray, VisemoError


def arkit_map(face: Face, basis: FloatArray, names: Collection[str] = ARKIT_NAMES) -> ShapeMap:
    """The map of a model's blendshapes (K, V, 3) m on `face`, to those of ARKit's curves that it and `names` hold.

    Raises
    ------
    VisemoError
        When the face has none of the 52 shapes.
    """
    known = [name for name in ARKIT_NAMES if name in face.shape_names and name in names]
    if face.shapes is None or not known:
        raise VisemoError(f"ARKit curves: got face {face.name} without the named shapes, expected a rigged face")
    return ShapeMap.of(known, np.stack([face.shape(name) for name in known]), basis, face.lip_pairs)


def all_columns(names: Collection[str], curves: FloatArray) -> FloatArray:
    """Curves (T, n) of some of ARKit's names as (T, 52), zero where there is none."""
    table = np.zeros((len(curves), len(ARKIT_NAMES)), np.float32)
    table[:, [ARKIT_NAMES.index(name) for name in names]] = curves
    return table


def arkit_basis(rig: Face) -> FloatArray:
    """(104, V, 3) m the rig's 52 shapes, zero where it lacks one, for the speech and again for the expression."""
    basis = np.zeros((len(ARKIT_NAMES), *rig.template.shape), np.float32)
    for row, name in enumerate(ARKIT_NAMES):
        if name in rig.shape_names:
            basis[row] = rig.shape(name)
    return np.concatenate([basis, basis])


def arkit_curves(clip: Animation, face: Face, habit: Habit = EXACT) -> tuple[FloatArray, float]:
    """The take as ARKit curves (T, 52) in 0..1, its lively track included, and the residual in mm.

    With the habit EXACT they are for the face's own shapes, with NATURAL for any head's.

    Raises
    ------
    VisemoError
        When the face has none of the 52 shapes, or another number of vertices than the take.
    """
    if clip.basis.shape[1] != len(face.template):
        raise VisemoError(
            f"ARKit curves: got face {face.name} of {len(face.template)} vertices, expected {clip.basis.shape[1]}"
        )
    if np.array_equal(clip.basis, arkit_basis(face)):
        curves, residual = clip.speech_weights + clip.expression_weights, 0.0  # it is made of them
    else:
        known = arkit_map(face, clip.basis)
        found, residual = known.curves(clip.weights, habit)
        curves = all_columns(known.names, found)
    if clip.lively_weights is not None:
        for column, name in enumerate(clip.lively_names):
            own = ARKIT_NAMES.index(name)
            curves[:, own] = np.minimum(curves[:, own] + clip.lively_weights[:, column], 1)
    return curves, residual
