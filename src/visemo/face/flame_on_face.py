"""FLAME laid under a face of any topology, so that what FLAME does can be seen, and measured, on that face."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from visemo.face.face import Face
from visemo.face.flame import FlameModel
from visemo.face.flame_topology import flame_topology
from visemo.face.registering import own_rows, register_mesh
from visemo.geometry.register import RegisterConfig, Similarity
from visemo.geometry.transfer import Transfer
from visemo.types import FloatArray, IntArray, Mesh

NEAR = 2.0  # mm from FLAME's skin at which a vertex of the face still lies on it


@dataclass(frozen=True, eq=False)
class FlameOnFace:
    """FLAME's motion on a face: one fixed transfer, and the similarity between the two frames.

    The two heads are of different people. What is carried is displacement from each one's neutral, never position:
    at rest FLAME moves nothing, whatever it looks like.
    """

    transfer: Transfer  # FLAME's vertices -> the face's
    pose: Similarity  # the face's frame and size -> FLAME's
    distances: FloatArray  # (V,) mm at the face's size between the face, laid on FLAME, and FLAME's skin

    @classmethod
    def of(cls, flame: FlameModel, face: Face, config: RegisterConfig | None = None) -> FlameOnFace:
        """Lay FLAME's mean head under a face by dense registration; seconds. A face in FLAME's own topology, or cut out
        of it, takes its own rows.

        Raises
        ------
        VisemoError
            For triangles that are not FLAME's, and a face without four landmarks that FLAME has too.
        """
        head = Mesh(flame.v_template, flame.triangles)
        rows, points = own_rows(head, face), None
        if rows is None:
            known = flame_topology(flame.triangles).landmarks
            points = {number: tuple(flame.v_template[vertex].tolist()) for number, vertex in known.items()}
        laid = register_mesh(head, face, points, config)
        transfer = Transfer.of(laid.vertices, head, face.triangles) if rows is None else Transfer.rows(rows)
        return cls(transfer, laid.pose, laid.distances)

    @cached_property
    def on(self) -> IntArray:
        """Vertices of the face that lie on FLAME; only there the two are compared."""
        return np.flatnonzero(self.distances <= NEAR).astype(np.int32)

    @property
    def distance_mm(self) -> float:
        """Mean distance of those from FLAME's skin."""
        return float(self.distances[self.on].mean()) if len(self.on) else float("nan")

    def carry(self, moved: np.ndarray) -> FloatArray:
        """FLAME's displacements (..., 5023, 3) m as the face would make them: (..., V, 3) m, in its frame and size."""
        return self.pose.turn_back(self.transfer.apply(moved)).astype(np.float32)
