"""FLAME: the statistical head of 5023 vertices, read from its files, and the frontal face cut out of it.

Nothing of FLAME is part of this project: its files come from flame.is.tue.mpg.de, with their own licences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from visemo.assets import sha256
from visemo.face.anatomy import face_from_mesh
from visemo.face.face import Cut, Face, Part
from visemo.face.flame_files import Landmarks, edition_of, read_flame_landmarks, read_flame_masks, read_raw_flame
from visemo.face.flame_topology import (
    CONTACT,
    EYEBALLS,
    LOWER_RED,
    MOUTH_HOLE,
    TRIANGLES,
    UPPER_RED,
    VERTICES,
    FlameTopology,
    flame_topology,
)
from visemo.geometry.mesh import adjacency
from visemo.types import FloatArray, IntArray, Mesh, VisemoError, check_array, check_indices

__all__ = ["FlameModel", "flame_face", "read_flame", "read_flame_landmarks", "read_flame_masks"]

JOINTS = 5  # root, neck, jaw, left eye, right eye
POSE_FEATURES = 36  # nine entries of the rotation of each joint but the root
OPEN_LICENCE = "FLAME 2023 Open, (c) Max-Planck-Gesellschaft, CC BY 4.0; not for pornographic or defamatory uses"
GATED_LICENCE = "FLAME, (c) Max-Planck-Gesellschaft, non-commercial research only; see the licence it came with"
PAIRS = 31  # lip pairs along the 15 vertices of each lip
# linear RGB of an eyeball, by the angle to its axis up to which it is so: pupil, iris, white
EYE_COLORS = ((9.0, (0.006, 0.006, 0.006)), (26.0, (0.05, 0.09, 0.11)), (181.0, (0.72, 0.70, 0.68)))
MASKED = {"nose": ("nose",), "forehead": ("forehead",), "eyes": ("left_eye_region", "right_eye_region")}


@dataclass(frozen=True, eq=False)
class FlameModel:
    """FLAME's arrays, float32, in metres, +y up, +z out of the face, +x its own left.

    The editions (2016 to 2020, 2023, 2023 Open) have different components: what was fitted with one means nothing to
    another, so `hash`, not the name of the edition, says which model this is.

    Raises VisemoError for wrong shapes, NaN, and skinning weights that do not sum to 1.
    """

    SIZE: ClassVar[tuple[int, int]] = (VERTICES, TRIANGLES)

    v_template: FloatArray  # (5023, 3)
    triangles: IntArray  # (9976, 3)
    shapedirs: FloatArray  # (5023, 3, n_shape + n_expr), identity first, one standard deviation each
    n_shape: int
    n_expr: int
    posedirs: FloatArray  # (5023, 3, 36), per entry of the rotations of joints 1 to 4 minus the identity
    weights: FloatArray  # (5023, 5) skinning weights
    joint_regressor: FloatArray  # (5, 5023)
    parents: IntArray  # (5,), -1 for the root
    edition: str = "unknown"  # what the file's name hints at
    landmarks: Landmarks = field(default_factory=dict)  # iBUG number -> triangle, barycentric weights (3,)
    source: str = "FLAME"  # for messages
    basis: str = "FLAME"  # whose expression components these are; others can stand in for FLAME's own

    def __post_init__(self) -> None:
        vertices, triangles = self.SIZE
        check_array("v_template", self.v_template, (vertices, 3), np.float32)
        check_array("f", self.triangles, (triangles, 3), np.int32)
        check_indices("f", self.triangles, 3, vertices)
        check_array("shapedirs", self.shapedirs, (vertices, 3, self.n_shape + self.n_expr), np.float32)
        check_array("posedirs", self.posedirs, (vertices, 3, POSE_FEATURES), np.float32)
        check_array("weights", self.weights, (vertices, JOINTS), np.float32)
        check_array("J_regressor", self.joint_regressor, (JOINTS, vertices), np.float32)
        check_array("kintree_table", self.parents, (JOINTS,), np.int32)
        if self.parents[0] != -1 or not all(0 <= parent < i for i, parent in enumerate(self.parents[1:], 1)):
            raise VisemoError(
                f"kintree_table: got parents {self.parents.tolist()}, expected each joint after its parent"
            )
        off = float(np.abs(self.weights.sum(axis=1) - 1).max())
        if off > 1e-3:
            raise VisemoError(f"weights: got sums up to {off:.3g} away from 1, expected skinning weights that sum to 1")

    @cached_property
    def hash(self) -> str:
        """Identifies the model by its content."""
        arrays = (self.v_template, self.triangles, self.shapedirs, self.posedirs, self.weights, self.joint_regressor)
        return sha256(*arrays, self.parents, f"{self.n_shape}+{self.n_expr}".encode())[:16]

    @property
    def licence(self) -> str:
        """As far as the file's name tells."""
        return OPEN_LICENCE if self.edition == "2023 Open" else GATED_LICENCE

    def identities(self, n: int | None = None) -> FloatArray:
        """The first n identity components (5023, 3, n). Raises VisemoError when the model has fewer."""
        return self._components("identity", 0, self.n_shape, n)

    def expressions(self, n: int | None = None) -> FloatArray:
        """The first n expression components (5023, 3, n). Raises VisemoError when the model has fewer, or none."""
        if not self.n_expr:
            raise VisemoError(
                f"{self.source}: got a FLAME without expression components, expected some; use a full model such as "
                "flame2023_Open.pkl"
            )
        return self._components("expression", self.n_shape, self.n_expr, n)

    def _components(self, kind: str, start: int, available: int, n: int | None) -> FloatArray:
        count = available if n is None else n
        if not 0 <= count <= available:
            raise VisemoError(f"{self.source}: got a wish for {count} {kind} components, expected 0 to {available}")
        return self.shapedirs[..., start : start + count]

    def landmark_points(self, vertices: FloatArray) -> dict[int, NDArray[np.float64]]:
        """iBUG number -> point (3,) of `landmarks` on posed or shaped vertices (5023, 3)."""
        corners = {n: vertices[self.triangles[face]].astype(np.float64) for n, (face, _) in self.landmarks.items()}
        return {n: self.landmarks[n][1] @ corner for n, corner in corners.items()}


def read_flame(path: str | Path, *, landmarks: str | Path | None = None) -> FlameModel:
    """Read FLAME from a pickle as published (any edition; neither chumpy nor trust is needed) or an npz.

    Parameters
    ----------
    path : a .pkl such as generic_model.pkl, flame2023.pkl, flame2023_Open.pkl; or an .npz with the same keys, or with
        `faces`, `kintree_parents`, and `shapedirs_identityN` in place of `shapedirs`, which has no expressions.
    landmarks : flame_static_embedding.pkl or a MediaPipe embedding; default what an npz holds of them.

    Raises
    ------
    VisemoError
        In one line that names the file: missing or damaged, with code in it, keys that are missing, other shapes than
        FLAME's, NaN.
    """
    path = Path(path)
    try:
        raw = read_raw_flame(path)
        return FlameModel(
            _floats("v_template", raw.v_template),
            _integers("f", raw.triangles),
            np.concatenate([_floats("shapedirs", raw.identity), _floats("shapedirs", raw.expression)], axis=-1),
            raw.identity.shape[-1],
            raw.expression.shape[-1],
            _floats("posedirs", raw.posedirs),
            _floats("weights", raw.weights),
            _floats("J_regressor", raw.joint_regressor),
            _integers("kintree_table", raw.parents),
            edition_of(path),
            raw.landmarks if landmarks is None else read_flame_landmarks(landmarks),
            str(path),
        )
    except VisemoError as error:
        raise error if str(error).startswith(str(path)) else VisemoError(f"{path}: {error}") from error


def _floats(name: str, array: np.ndarray) -> FloatArray:
    if not array.ndim or array.shape[0] not in (VERTICES, JOINTS):
        count = array.shape[0] if array.ndim else 0
        raise VisemoError(f"{name}: got {count} rows, expected FLAME's {VERTICES} vertices; is this another model?")
    return np.ascontiguousarray(array, np.float32)


def _integers(name: str, array: np.ndarray) -> IntArray:
    if array.dtype.kind not in "iu" or (array.size and int(array.max()) > np.iinfo(np.int32).max):
        raise VisemoError(f"{name}: got {array.dtype} up to {array.max()}, expected indices")
    return np.ascontiguousarray(array, np.int32)


# ---------------------------------------------------------------- the face


def flame_face(
    model: FlameModel,
    masks: Mapping[str, IntArray] | None = None,
    shapes: Mapping[str, FloatArray] | None = None,
) -> Face:
    """The frontal face of FLAME: no scalp, ears, neck or mouth bag; the eyeballs are attached as parts.

    The cut, the mirror pairs, the lips and the landmarks follow from FLAME's triangles, so faces of all editions have
    one topology. FLAME's own template parts its lips by about a millimetre and lets them cross behind; here they are
    brought together where they meet, by at most 1.5 mm, and nothing else is moved.

    Parameters
    ----------
    masks : regions of `read_flame_masks`; lips, nose, forehead and the regions of the eyes are taken from there.
    shapes : named shapes to carry, such as ARKit's: (5023, 3) m each, deltas at weight 1. Without any, the eyeballs
        follow nothing.

    Returns
    -------
    Face
        `identities` are all identity components at one standard deviation; `cut` tells which of FLAME's vertices
        these are.

    Raises
    ------
    VisemoError
        For triangles that are not FLAME's, and shapes or masks that do not fit.
    """
    topology = flame_topology(model.triangles)
    for region, members in (masks or {}).items():
        check_indices(f"mask {region}", members, None, VERTICES)
    rows = topology.rows
    place = np.full(VERTICES, -1, np.int32)
    place[rows] = np.arange(len(rows))
    mesh = Mesh(_lips_shut(model.v_template, topology)[rows], place[topology.face_triangles])
    names, deltas = _named(shapes)
    landmarks = {number: int(place[vertex]) for number, vertex in topology.landmarks.items()}
    known = {
        "licence": model.licence,
        "landmarks": landmarks,
        "lip_pairs": place[_lip_pairs(mesh.vertices, topology, place)],
        "mirror": place[topology.mirror[rows]],
        "shape_names": names,
        "shapes": deltas[:, rows] if names else None,
        "identity_names": tuple(f"shape_{i:03}" for i in range(model.n_shape)),
        "identities": np.ascontiguousarray(np.moveaxis(model.identities()[rows], -1, 0)),
        "parts": tuple(_eyeball(model, side, deltas) for side in EYEBALLS),
        "cut": Cut(sha256(model.triangles)[:16], rows),
    }
    derived = face_from_mesh("flame", mesh, **known).regions
    regions = derived | _lip_regions(mesh, topology, place, masks or {}) | _masked(masks or {}, place)
    return face_from_mesh("flame", mesh, regions=regions, **known)


def _named(shapes: Mapping[str, FloatArray] | None) -> tuple[tuple[str, ...], FloatArray]:
    """Names and deltas (M, 5023, 3)."""
    for name, delta in (shapes or {}).items():
        check_array(f"shape {name}", delta, (VERTICES, 3), np.float32)
    return tuple(shapes or ()), np.stack(list(shapes.values())) if shapes else np.zeros((0, VERTICES, 3), np.float32)


def _lips_shut(template: FloatArray, topology: FlameTopology) -> FloatArray:
    """The template with the lips brought together: pairs of the ring where they meet, and of the one behind, go to
    their midpoints, and the red of the lips follows harmonically, the less the further out."""
    moved = np.zeros(template.shape)
    for ring in (CONTACT - 1, CONTACT):
        upper, lower = topology.lips(ring)
        half = 0.5 * (template[lower].astype(np.float64) - template[upper])
        moved[upper], moved[lower] = half, -half
    free = np.concatenate(topology.mouth[CONTACT + 1 : UPPER_RED])
    graph = adjacency(topology.skin, len(template))[free]
    pull = np.asarray(graph.sum(axis=1)).ravel()
    moved[free] = np.linalg.solve(np.diag(pull) - graph[:, free].toarray(), graph @ moved)
    shut = (template + moved).astype(np.float32)
    for ring in (CONTACT - 1, CONTACT):
        upper, lower = topology.lips(ring)
        shut[lower] = shut[upper]  # rounded alike
    return shut


def _lip_pairs(vertices: FloatArray, topology: FlameTopology, place: IntArray) -> IntArray:
    """(N, 2) FLAME vertices, upper and lower, evenly spaced by arc length: FLAME has few vertices in the middle of the
    lips and many in the corners, so the former come up more than once."""
    upper, lower = topology.lips()
    points = vertices[place[upper]].astype(np.float64)
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    half = len(upper) // 2
    arc = 0.5 * (arc + arc[-1] - arc[::-1])[1 : half + 1] / arc[-1]  # both sides alike
    right = [1 + int(np.abs(arc - share).argmin()) for share in np.arange(1, PAIRS // 2 + 1) / (PAIRS + 1)]
    at = [*right, half, *(len(upper) - 1 - i for i in right[::-1])]
    return np.stack([upper[at], lower[at]], axis=1)


def _lip_regions(
    mesh: Mesh, topology: FlameTopology, place: IntArray, masks: Mapping[str, IntArray]
) -> dict[str, IntArray]:
    """Lips, upper and lower: every vertex belongs to the one whose rim is fewer edges away, corners to both."""
    sides = [place[rim] for rim in topology.lips()]
    graph = adjacency(mesh.triangles, len(mesh.vertices))
    away = np.stack([_steps(graph, side[1:-1]) for side in sides])
    corner = np.zeros(len(mesh.vertices), bool)
    corner[sides[0][[0, -1]]] = True
    upper, lower = (away[0] <= away[1]) | corner, (away[1] <= away[0]) | corner
    if "lips" in masks:
        lips = np.isin(np.arange(len(upper)), place[masks["lips"]])
    else:
        rings = [place[ring] for ring in topology.mouth]
        lips = np.isin(np.arange(len(upper)), np.concatenate(rings[MOUTH_HOLE : UPPER_RED + 1]))
        lips |= np.isin(np.arange(len(upper)), np.concatenate(rings[UPPER_RED : LOWER_RED + 1])) & ~upper
    named = {"lips": lips, "upper_lip": lips & upper, "lower_lip": lips & lower}
    return {name: np.flatnonzero(mask).astype(np.int32) for name, mask in named.items()}


def _steps(graph, start: IntArray) -> NDArray[np.int64]:
    """(V,) number of edges to the nearest of some vertices, up to 20."""
    reached = np.zeros(graph.shape[0], bool)
    reached[start] = True
    steps = np.where(reached, 0, 20)
    for step in range(1, 20):
        reached = reached | (graph @ reached > 0)
        steps = np.where(reached & (steps == 20), step, steps)
    return steps


def _masked(masks: Mapping[str, IntArray], place: IntArray) -> dict[str, IntArray]:
    """The regions that FLAME's masks name, as far as they lie in the face."""
    regions = {}
    for region, parts in MASKED.items():
        if all(part in masks for part in parts):
            inside = np.unique(place[np.concatenate([masks[part] for part in parts])])
            regions[region] = inside[inside >= 0].astype(np.int32)
    return regions


def _eyeball(model: FlameModel, side: str, deltas: FloatArray) -> Part:
    start, stop = EYEBALLS[side]
    triangles = model.triangles[(model.triangles[:, 0] >= start) & (model.triangles[:, 0] < stop)] - start
    vertices = model.v_template[start:stop]
    centre = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    out = vertices - centre
    angle = np.degrees(np.arccos(np.clip(out[:, 2] / np.linalg.norm(out, axis=1), -1, 1)))
    limits, colors = zip(*EYE_COLORS)
    color = np.array(colors, np.float32)[np.searchsorted(limits, angle)]
    return Part(f"eye_{side}", vertices, triangles.astype(np.int32), color, deltas[:, start:stop], gloss=1.0)
