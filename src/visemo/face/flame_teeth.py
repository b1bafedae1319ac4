"""Teeth that GaussianAvatars and VHAP add to FLAME, since FLAME has none: two curved bars behind the lips.

Avatars are bound to triangles by number, and 168 of these numbers are the teeth's. Their places follow from FLAME's
template and the two rows of lip vertices below; sizes are in units of the mean distance between the rows.
Source: Qian et al., "GaussianAvatars", CVPR 2024, whose meshes have these teeth; numbers as its files have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from visemo.face.flame import FlameModel
from visemo.face.flame_topology import TRIANGLES, VERTICES
from visemo.types import FloatArray, IntArray

# along the outer edge of the lips, from the face's left to its right
UPPER_LIP = (1713, 1715, 1716, 1735, 1696, 1694, 1657, 3543, 2774, 2811, 2813, 2850, 2833, 2832, 2830)
LOWER_LIP = (1576, 1577, 1773, 1774, 1795, 1802, 1865, 3503, 2948, 2905, 2898, 2881, 2880, 2713, 2712)
ROW = len(UPPER_LIP)
TEETH_VERTICES, TEETH_TRIANGLES = 8 * ROW, 12 * (ROW - 1)
NECK, JAW = 1, 2  # joints that carry the upper and the lower teeth

SET_BACK, LOWER_BACK, THICK = 1.5, 0.4, 1.0  # behind the lips, the lower behind the upper, front to back
PART, HEIGHT = 0.1, 2.0  # half the gap between the edges, edge to root
# rows of vertices in their order: joint, height of the row, its depth
_ROWS = (
    (NECK, PART + HEIGHT, 0.0), (JAW, -PART - HEIGHT, -LOWER_BACK), (NECK, PART, 0.0), (JAW, -PART, -LOWER_BACK),
    (NECK, PART + HEIGHT, -THICK), (NECK, PART, -THICK),
    (JAW, -PART - HEIGHT, -LOWER_BACK - THICK), (JAW, -PART, -LOWER_BACK - THICK),
)  # fmt: skip
# bands of triangles between two rows p and q: how each quad is cut left of the middle, and right of it. A cut names the
# corners of two triangles: p, q at one end, P, Q at the next
_BANDS = (
    (0, 2, "pQq pPQ", "pPq PQq"), (4, 5, "pqQ pQP", "pqP PqQ"), (5, 2, "pqP PqQ", "pqQ pQP"),
    (3, 1, "pPq PQq", "pQq pPQ"), (6, 7, "pQq pPQ", "pPq PQq"), (7, 3, "pPq PQq", "pQq pPQ"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FlameWithTeeth(FlameModel):
    """FLAME's arrays with the teeth's behind them: 5143 vertices, 10144 triangles. `hash` is another than FLAME's."""

    SIZE: ClassVar[tuple[int, int]] = (VERTICES + TEETH_VERTICES, TRIANGLES + TEETH_TRIANGLES)


def with_teeth(model: FlameModel) -> FlameWithTeeth:
    """FLAME with teeth, for avatars that are bound to them.

    The upper teeth go with the neck, the lower with the jaw. Their identity components are the mean of those of both
    lips; expressions and pose correctives do not move them, and they move no joint.
    """
    upper, lower = list(UPPER_LIP), list(LOWER_LIP)
    rows = np.tile(_middle(model.v_template, upper, lower), (len(_ROWS), 1, 1))
    unit = np.linalg.norm(model.v_template[upper] - model.v_template[lower], axis=1).mean()
    weights = np.zeros((len(_ROWS), ROW, model.weights.shape[1]), np.float32)
    for row, (joint, height, depth) in enumerate(_ROWS):
        rows[row] += unit * np.array([0, height, depth - SET_BACK])
        weights[row, :, joint] = 1
    shapedirs = np.zeros((ROW, *model.shapedirs.shape[1:]), np.float32)
    identity = model.shapedirs[..., : model.n_shape]
    shapedirs[..., : model.n_shape] = (identity[upper] + identity[lower]) / 2
    added = {
        "v_template": rows.reshape(-1, 3).astype(np.float32),
        "triangles": VERTICES + teeth_triangles(),
        "shapedirs": np.tile(shapedirs, (len(_ROWS), 1, 1)),
        "posedirs": np.zeros((TEETH_VERTICES, *model.posedirs.shape[1:]), np.float32),
        "weights": weights.reshape(TEETH_VERTICES, -1),
    }
    arrays: dict[str, Any] = {field.name: getattr(model, field.name) for field in fields(model)}
    arrays |= {name: np.concatenate([arrays[name], array]).astype(array.dtype) for name, array in added.items()}
    unmoved = np.zeros((len(model.joint_regressor), TEETH_VERTICES), np.float32)
    arrays["joint_regressor"] = np.concatenate([model.joint_regressor, unmoved], axis=1)
    return FlameWithTeeth(**arrays)


def teeth_triangles() -> IntArray:
    """(168, 3) in numbers of the teeth's own 120 vertices, the upper teeth first."""
    found = []
    for p, q, left, right in _BANDS:
        for i in range(ROW - 1):
            corner = {"p": p * ROW + i, "P": p * ROW + i + 1, "q": q * ROW + i, "Q": q * ROW + i + 1}
            cut = left if i < ROW // 2 else right
            found += [[corner[name] for name in triangle] for triangle in cut.split()]
    return np.array(found, np.int32)


def _middle(vertices: FloatArray, upper: Sequence[int], lower: Sequence[int]) -> np.ndarray:
    """(15, 3) between the lips, all at their mean height."""
    middle = (vertices[list(upper)].astype(np.float64) + vertices[list(lower)]) / 2
    middle[:, 1] = middle[:, 1].mean()
    return middle
