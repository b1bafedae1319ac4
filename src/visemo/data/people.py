"""Planted people: each has a face at rest of its own, and moves each shape in a way of its own.

A person's shape is S' = S + s (N S + sum_j m_j S_j): N(v) is a small 3 x 3 matrix that changes smoothly over the
face (how far, and which way), the S_j are other shapes that come along. s is chosen so that the deviation is
20-40 % of the norm of S. Lips that meet must still meet: N depends on position alone, so two lips at one place
are moved alike; jawOpen and mouthClose share N, so that they stay complements; and only shapes that leave the
lips together come along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visemo.data.coarticulation import Style
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.types import FloatArray, VisemoError
from visemo.units import M_PER_MM

DEVIATION = (0.24, 0.36)  # drawn share of the norm; the complementary pair comes out a little beside it
_SEALED = 0.25 * M_PER_MM  # a shape that parts the lips by less may come along with others
_COMPLEMENTS = ("jawOpen", "mouthClose")


@dataclass(frozen=True, eq=False)
class Person:
    """`neutral` (V, 3) m; `shapes` (52, V, 3) m, in the order of ARKIT_NAMES; `style` of talking."""

    name: str
    neutral: FloatArray
    shapes: FloatArray
    style: Style


def draw_person(name: str, face: Face, seed: tuple[int, ...]) -> Person:
    """A person on `face`, the same for the same seed.

    Raises VisemoError for a face without the 52 ARKit shapes.
    """
    missing = [shape for shape in ARKIT_NAMES if shape not in face.shape_names]
    if missing:
        raise VisemoError(f"face {face.name}: got no shapes {', '.join(missing[:3])}, expected all 52 ARKit shapes")
    random = np.random.default_rng(seed)
    neutral = face.template
    if face.identities is not None and len(face.identities):
        weights = random.normal(0, 0.8, len(face.identities)).clip(-1.6, 1.6).astype(np.float32)
        neutral = neutral + np.tensordot(weights, face.identities, axes=1)
    shapes = np.stack([face.shape(shape) for shape in ARKIT_NAMES])
    return Person(name, neutral.astype(np.float32), _personal(shapes, face, random), Style.draw(random))


def lip_opening(face: Face, displacement: FloatArray) -> np.ndarray:
    """Mean over the lip pairs (...,) m of how far `displacement` (..., V, 3) moves upper and lower apart."""
    upper, lower = face.lip_pairs.T
    return np.linalg.norm(displacement[..., upper, :] - displacement[..., lower, :], axis=-1).mean(axis=-1)


def _personal(shapes: FloatArray, face: Face, random: np.random.Generator) -> FloatArray:
    """(52, V, 3): every shape with its deviation."""
    sealed = np.flatnonzero(lip_opening(face, shapes) < _SEALED)
    personal = shapes.copy()
    for members in _families():
        field = _smooth_matrices(face.template, random)
        share = float(random.uniform(*DEVIATION))
        own = shapes[members]
        deviation = np.einsum("vij,kvj->kvi", field, own)
        companions = _companions(members, sealed, shapes, random)
        norms, sizes = np.linalg.norm(own, axis=(1, 2)), np.linalg.norm(deviation, axis=(1, 2))
        if ARKIT_NAMES[members[0]] in _COMPLEMENTS:  # one scale and no company, or the pair would not cancel
            scale = np.full(2, share * np.sqrt(norms.prod() / max(sizes.prod(), 1e-30)))
        else:
            deviation += companions
            scale = share * norms / np.maximum(np.linalg.norm(deviation, axis=(1, 2)), 1e-15)
        personal[members] += (deviation * scale[:, None, None]).astype(np.float32)
    return personal


def _families() -> list[list[int]]:
    """Rows of ARKIT_NAMES that deviate alike: left and right of one shape, and the complementary pair."""
    families: dict[str, list[int]] = {}
    for k, name in enumerate(ARKIT_NAMES):
        stem = name.removesuffix("Left").removesuffix("Right")
        families.setdefault("closure" if name in _COMPLEMENTS else stem, []).append(k)
    return list(families.values())


def _companions(members: list[int], sealed: np.ndarray, shapes: FloatArray, random: np.random.Generator) -> np.ndarray:
    """(k, V, 3): a few lip-neutral shapes of the same side that come along, a tenth of the norm together."""
    rows = np.zeros((len(members), *shapes.shape[1:]))
    draw = random.normal(size=len(shapes)) * (random.random(len(shapes)) < 0.15)
    for row, k in enumerate(members):
        other = "Right" if ARKIT_NAMES[k].endswith("Left") else "Left"
        allowed = [j for j in sealed if j not in members and not ARKIT_NAMES[j].endswith(other)]
        mixed = np.tensordot(draw[allowed], shapes[allowed], axes=1)
        size = np.linalg.norm(mixed)
        if size > 0:
            rows[row] = mixed * (0.12 * np.linalg.norm(shapes[k]) / size)
    return rows


def _smooth_matrices(points: FloatArray, random: np.random.Generator) -> np.ndarray:
    """(V, 3, 3): gain and turn, varying over the face in waves of about its own size; mostly alike left and right."""
    size = np.ptp(points, axis=0).max()
    centred = (points - points.mean(axis=0)) / max(float(size), 1e-9)
    waves = 6
    frequency = random.normal(0, 3.0, (waves, 3))
    phase = random.uniform(0, 2 * np.pi, waves)
    lean = random.normal(0, 0.15, waves)
    even = np.cos(np.outer(centred[:, 0], frequency[:, 0]))  # (V, waves)
    odd = np.sin(np.outer(centred[:, 0], frequency[:, 0])) * lean
    along = np.cos(centred[:, 1:] @ frequency[:, 1:].T + phase)
    field = ((even + odd) * along) @ random.normal(size=(waves, 4)) + random.normal(0, 0.7, 4)
    gain, turn = field[:, 0], 0.7 * field[:, 1:]
    turn[:, 1:] *= np.tanh(8 * centred[:, :1])  # turning about y or z must mirror, or the midline would drift aside
    matrices = np.zeros((len(points), 3, 3))
    matrices[:, [0, 1, 2], [0, 1, 2]] = gain[:, None]
    matrices[:, 0, 1], matrices[:, 1, 0] = -turn[:, 2], turn[:, 2]
    matrices[:, 0, 2], matrices[:, 2, 0] = turn[:, 1], -turn[:, 1]
    matrices[:, 1, 2], matrices[:, 2, 1] = -turn[:, 0], turn[:, 0]
    return matrices
