"""What is drawn of a take: the face and its attached parts, posed frame by frame."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from visemo.face.attach import part_bases
from visemo.face.face import Face
from visemo.geometry.rotation import quaternion_to_matrix
from visemo.types import Animation, FloatArray, VisemoError
from visemo.units import M_PER_MM

SEAM = 1e-3 * M_PER_MM  # a part's vertex this close to one of the face's belongs to the same skin
NEIGHBOURS = 24  # vertices of the face that carry one of a part to another person's head


def parts_at_rest(face: Face, template: FloatArray) -> list[FloatArray]:
    """Vertices (P, 3) m of every part at rest, carried along where `template` is another person's neutral.

    Each follows the displacements of the nearest vertices of the face, weighted by 1 / distance^2, so seams stay shut.
    """
    if np.array_equal(template, face.template):
        return [part.vertices for part in face.parts]
    tree, moved = KDTree(face.template), (template - face.template).astype(np.float64)
    carried = []
    for part in face.parts:
        distance, near = map(np.asarray, tree.query(part.vertices, k=min(NEIGHBOURS, len(template))))
        pull = 1 / (distance + SEAM) ** 2
        pull /= pull.sum(axis=1, keepdims=True)
        carried.append((part.vertices + np.einsum("pk,pkc->pc", pull, moved[near])).astype(np.float32))
    return carried


class PosedHead:
    """A face with its attached parts as one mesh that takes move: the face's vertices and triangles first, then those
    of its parts in their order.

    Parameters
    ----------
    face : its parts follow the blendshapes through `part_bases`.
    basis : (K, V, 3) m, the blendshapes of the takes to come.

    Raises VisemoError in `vertices` for a take of another basis or lively shapes that the face lacks.
    """

    def __init__(self, face: Face, basis: FloatArray):
        self.face = face
        bases = part_bases(face, basis)
        self.moves = np.concatenate([basis, *(bases[part.name] for part in face.parts)], axis=1)
        offsets = np.cumsum([len(face.template), *(len(part.vertices) for part in face.parts)])
        parts = [part.triangles + at for part, at in zip(face.parts, offsets)]
        self.triangles = np.concatenate([face.triangles, *parts]).astype(np.int32)
        self._pose(face.template)

    def vertices(self, clip: Animation, t: int) -> FloatArray:
        """Everything that is drawn of frame `t`: (N, 3) m, the face's V vertices first, in the world.

        template + w B, the lively track on the face's named shapes, then the head pose.
        """
        if clip.basis.shape[:2] != (len(self.moves), len(self.face.template)):
            raise VisemoError(
                f"take: got {clip.basis.shape[0]} blendshapes of {clip.basis.shape[1]} vertices, "
                f"expected {len(self.moves)} of {len(self.face.template)}"
            )
        weights = np.concatenate([clip.speech_weights[t], clip.expression_weights[t]])
        if clip.template is not self.template:
            self._pose(clip.template)
        points = self.rest + np.tensordot(weights, self.moves, axes=1)
        if clip.lively_weights is not None:
            for name, weight in zip(clip.lively_names, clip.lively_weights[t]):
                if weight:
                    points += weight * self.shape(name)
        if clip.head_pose is not None:
            points = points @ quaternion_to_matrix(clip.head_pose[t, 3:]).T + clip.head_pose[t, :3]
        return points.astype(np.float32)

    def _pose(self, template: FloatArray) -> None:
        """Remember whose head is drawn: parts are carried to it once, not for every frame."""
        self.template = template
        self.rest = np.concatenate([template, *parts_at_rest(self.face, template)])

    def shape(self, name: str) -> FloatArray:
        """What a named shape of the face moves, parts included: (N, 3) m."""
        own = self.face.shape(name)
        row = self.face.shape_names.index(name)
        return np.concatenate([own, *(part.shapes[row] for part in self.face.parts)])


def head_points(face: Face, rest: FloatArray) -> FloatArray:
    """What a portrait frames: the face and all parts above its lower end, without shoulders or neck."""
    chin, brow = face.template[:, 1].min(), face.template[:, 1].max()
    return rest[rest[:, 1] > chin - 0.04 * (brow - chin)]
