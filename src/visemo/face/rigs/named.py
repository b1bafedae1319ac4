"""A rig: a neutral mesh and what each of its names does to it; and the same shapes on the face of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from visemo.assets import sha256
from visemo.face.face import Face
from visemo.face.registering import CHIN, CONTOUR, Point, own_rows, register_mesh
from visemo.geometry.transfer import Transfer
from visemo.types import FloatArray, Mesh, VisemoError, check_array


@dataclass(frozen=True, eq=False)
class Rig:
    """R named shapes of one mesh, in its own topology, unit and frame (+y up, +z out of the face).

    Raises VisemoError for no names, a name that comes twice, and shapes of another mesh.
    """

    name: str
    mesh: Mesh  # the neutral
    shape_names: tuple[str, ...]
    shapes: FloatArray  # (R, N, 3) deltas at weight 1
    landmarks: Mapping[int, Point] = field(default_factory=dict)  # iBUG number -> point, where they are known
    notes: tuple[str, ...] = ()  # what was assumed or left out, a line each
    visemes_only: bool = False  # whether no shape is meant for expressions

    def __post_init__(self) -> None:
        check_array(f"rig {self.name}", self.shapes, (len(self.shape_names), len(self.mesh.vertices), 3), np.float32)
        if not self.shape_names:
            raise VisemoError(f"rig {self.name}: got no named shapes, expected some to drive")
        if twice := [name for name in self.shape_names if self.shape_names.count(name) > 1]:
            raise VisemoError(f"rig {self.name}: got two shapes named {twice[0]!r}, expected names of their own")

    @cached_property
    def hash(self) -> str:
        """Identifies mesh, names and shapes."""
        names = "\n".join(self.shape_names).encode()
        return sha256(self.mesh.triangles, self.mesh.vertices, self.shapes, names)[:16]

    @classmethod
    def of_face(cls, face: Face) -> Rig:
        """The named shapes of a face. Raises VisemoError when it has none."""
        if face.shapes is None:
            raise VisemoError(f"face {face.name}: got no named shapes, expected some to drive")
        points = {
            number: (float(x), float(y), float(z))
            for number, vertex in face.landmarks.items()
            if number == CHIN or number not in CONTOUR
            for x, y, z in [face.template[vertex]]
        }
        return cls(face.name, Mesh(face.template, face.triangles), face.shape_names, face.shapes, points)


def on_face(rig: Rig, face: Face) -> tuple[Rig, str]:
    """A rig's shapes carried to a face: its template as the neutral, deltas (R, V, 3) in m.

    By the rows themselves where the rig has the face's topology, or the one that the face was cut out of; elsewhere
    through one registration of the face's template to the rig's neutral.

    Returns
    -------
    The rig on the face, and how it came there, in words.

    Raises
    ------
    VisemoError
        When no face is found on the rig's neutral, or its landmarks are too few.
    """
    mesh = Mesh(face.template, face.triangles)
    rows = own_rows(rig.mesh, face)
    if rows is not None and np.array_equal(rig.mesh.vertices, face.template):
        return replace(rig, mesh=mesh), "the rig is the model's own face: its shapes as they are"
    laid = register_mesh(rig.mesh, face, rig.landmarks or None)
    if rows is not None:
        transfer, how = Transfer.rows(rows), "the rig has the model's topology: its shapes vertex by vertex"
    else:
        transfer = Transfer.of(laid.vertices, rig.mesh, face.triangles)
        how = (
            f"the rig has a topology of its own: the model's face was laid on it, {laid.distance_mean:.2f} mm from its "
            f"surface on average, {laid.distance_max:.1f} at most"
        )
    shapes = laid.pose.turn_back(transfer.apply(rig.shapes)).astype(np.float32)
    return replace(rig, mesh=mesh, shapes=shapes), how
