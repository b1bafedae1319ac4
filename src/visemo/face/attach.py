"""What follows a face: the linear way from any blendshapes to its named shapes and its attached parts."""

from __future__ import annotations

import numpy as np

from visemo.face.face import Face
from visemo.types import FloatArray, VisemoError
from visemo.units import MM_PER_M

RIDGE = 1e-4  # of the mean energy of a named shape: keeps near-twins among the shapes from cancelling out


def shape_map(face: Face, basis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Each blendshape as a combination of the face's named shapes: `combinations` with (K, V, 3) m on this face.

    Raises VisemoError when the face has no named shapes or another number of vertices than the basis.
    """
    if face.shapes is None or not len(face.shapes):
        raise VisemoError(f"face {face.name}: got no named shapes, expected some to follow")
    if basis.ndim != 3 or basis.shape[1:] != face.template.shape:
        raise VisemoError(
            f"basis: got shape {basis.shape}, expected (any, {len(face.template)}, 3) of face {face.name}"
        )
    return combinations(face.shapes, basis)


def combinations(shapes: FloatArray, basis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Blendshapes (K, V, 3) m as combinations of named shapes (M, V, 3) m of the same mesh, in ridge least squares.

    Returns
    -------
    weights : (M, K) float32 with basis[k] ~ sum_m weights[m, k] shapes[m]
    residual : (K,) float32, what is left of each blendshape: rms over the vertices, mm
    """
    flat = shapes.reshape(len(shapes), -1).astype(np.float64)
    targets = basis.reshape(len(basis), -1).astype(np.float64)
    energy = flat @ flat.T
    ridge = RIDGE * np.trace(energy) / len(energy)
    weights = np.linalg.solve(energy + ridge * np.eye(len(energy)), flat @ targets.T)
    for own, row in _named(shapes, basis):  # shares between near-twins would not do for what is a shape itself
        weights[:, row] = np.arange(len(shapes)) == own
    left = (targets - weights.T @ flat).reshape(basis.shape)
    residual = MM_PER_M * np.sqrt((left**2).sum(axis=2).mean(axis=1))
    return weights.astype(np.float32), residual.astype(np.float32)


def _named(shapes: FloatArray, basis: FloatArray) -> list[tuple[int, int]]:
    """(shape, blendshape) wherever a blendshape is one of the face's shapes, which repeat in their own order."""
    rows = range(len(basis)) if len(basis) % len(shapes) == 0 else ()
    return [(row % len(shapes), row) for row in rows if np.array_equal(basis[row], shapes[row % len(shapes)])]


def part_bases(face: Face, basis: FloatArray) -> dict[str, FloatArray]:
    """The blendshapes (K, V, 3) m continued to each attached part: part name -> (K, P, 3) float32 m.

    Part vertices = part.vertices + w @ part_bases[name], for the same weights w that move the face.
    On a face without named shapes its parts stay where they are. Raises VisemoError as `shape_map` does, unless
    the face has no parts.
    """
    if not face.parts:
        return {}
    if not face.shape_names:
        return {part.name: np.zeros((len(basis), *part.vertices.shape), np.float32) for part in face.parts}
    weights, _ = shape_map(face, basis)
    return {part.name: np.einsum("mk,mpc->kpc", weights, part.shapes) for part in face.parts}
