"""Where on a face things are measured."""

from __future__ import annotations

import numpy as np

from visemo.evaluate.vertex_sets import VertexSet
from visemo.face.face import Face
from visemo.types import IntArray

SHOWING = ("upper_face", "cheeks", "mouth")  # where a face, lips aside, shows what it feels
UPPER = ("brows", "eyes", "forehead")  # the upper face of one that does not say where it is


class Places:
    """The vertex sets of one face that a report uses. Raises VisemoError for a face without lips."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self.lips = VertexSet("lips", face.region("lips"))
        upper = ["upper_face"] if "upper_face" in face.regions else [name for name in UPPER if name in face.regions]
        self.upper_face = VertexSet("upper_face", _union(face, upper)) if upper else None
        showing = [name for name in SHOWING if name in face.regions]
        everything = np.arange(len(face.template), dtype=np.int32)
        beside = np.setdiff1d(_union(face, showing) if showing else everything, self.lips.indices)
        self.beside_lips = VertexSet("beside the lips", beside)
        self.rim = face.lip_pairs.ravel()  # in the order of the pairs
        self.rim_pairs = np.arange(len(self.rim), dtype=np.int32).reshape(-1, 2)  # the lip pairs, as rows of `rim`

    @property
    def sets(self) -> list[VertexSet]:
        """For the report."""
        upper = [self.upper_face] if self.upper_face else []
        return [self.lips, *upper, self.beside_lips, VertexSet("lip pairs", self.rim)]


def _union(face: Face, names: list[str]) -> IntArray:
    return np.unique(np.concatenate([face.regions[name] for name in names]))
