"""Where faces of one topology are compared: which vertices are lips and upper face, which pairs the lips open at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from visemo.evaluate.places import Places
from visemo.evaluate.vertex_sets import VertexSet
from visemo.face.face import Face
from visemo.face.flame import FlameModel, flame_face
from visemo.face.flame_topology import VERTICES
from visemo.types import IntArray, VisemoError

FLAME_PAIR = (3546, 3504)  # upper and lower lip in the middle, by which DiffPoseTalk measures the mouth's opening
LIPS, UPPER_FACE = ("lips",), ("forehead", "eye_region")  # regions of FLAME_masks.pkl, as DiffSpeaker and ARTalk use


NOWHERE = np.zeros(0, np.int32)


@dataclass(frozen=True, eq=False)
class Ground:
    """The vertex sets of a comparison, and what can be drawn of it."""

    lips: VertexSet
    upper_face: VertexSet
    lip_pairs: IntArray  # (N, 2) upper, lower
    face: Face | None = None  # in the topology that is compared
    triangles: IntArray | None = None  # its triangles, where anything says them

    def __str__(self) -> str:
        pairs = f"{len(self.lip_pairs)} lip pair{'s' if len(self.lip_pairs) > 1 else ''}"
        return f"{self.lips}; {self.upper_face}; {pairs}"


@dataclass(frozen=True, eq=False)
class Choices:
    """Where the vertex sets may come from: the first that says something decides, file by file before face and model.

    `lips` and `upper_face` are text files of indices such as FaceDiffuser's lve.txt and fdd.txt; `masks` is
    FLAME_masks.pkl.
    """

    face: Face | None = None
    flame: FlameModel | None = None
    masks: Path | None = None
    lips: Path | None = None
    upper_face: Path | None = None

    @property
    def rows(self) -> IntArray | None:
        """The vertices that are left of a whole FLAME head, where the face was cut out of one."""
        cut = self.face.cut if self.face is not None else None
        return None if cut is None else cut.rows

    def ground(self, count: int) -> Ground:
        """The ground for meshes of `count` vertices.

        Raises VisemoError where nothing says which are the lips or the upper face, or says it of other vertices.
        """
        known = self._of_face(count) or self._of_flame(count)
        lips, upper = (known.lips, known.upper_face) if known else (None, None)
        if self.masks is not None:
            lips = VertexSet.of_flame_masks(self.masks, *LIPS)
            upper = VertexSet.of_flame_masks(self.masks, *UPPER_FACE)
        lips = lips if self.lips is None else VertexSet.of_text(self.lips)
        upper = upper if self.upper_face is None else VertexSet.of_text(self.upper_face)
        for chosen, what in ((lips, "lips"), (upper, "upper face")):
            if chosen is None or not chosen.count:
                raise VisemoError(
                    f"compare: got {count} vertices and no word on which are the {what}, expected --face or --flame in "
                    "that topology, --masks FLAME_masks.pkl, or --lips and --upper-face"
                )
            if int(chosen.indices[-1]) >= count:
                raise VisemoError(
                    f"{chosen}: got vertex {chosen.indices[-1]}, expected less than the {count} there are"
                )
        assert lips is not None and upper is not None
        if known is not None:
            return replace(known, lips=lips, upper_face=upper)
        if count != VERTICES:
            raise VisemoError(f"compare: got {count} vertices and no lip pairs, expected --face in that topology")
        return Ground(lips, upper, np.array([FLAME_PAIR], np.int32))

    def _of_face(self, count: int) -> Ground | None:
        if self.face is None or len(self.face.template) != count:
            return None
        places = Places(self.face)
        upper = places.upper_face or VertexSet("upper_face", NOWHERE)
        return Ground(places.lips, upper, self.face.lip_pairs, self.face, self.face.triangles)

    def _of_flame(self, count: int) -> Ground | None:
        """The whole head, with the sets of the frontal face."""
        if self.flame is None or count != VERTICES:
            return None
        face = flame_face(self.flame)
        assert face.cut is not None
        rows, places = face.cut.rows, Places(face)
        assert places.upper_face is not None
        lips, upper = (VertexSet(found.name, rows[found.indices]) for found in (places.lips, places.upper_face))
        return Ground(lips, upper, rows[face.lip_pairs], None, self.flame.triangles)
