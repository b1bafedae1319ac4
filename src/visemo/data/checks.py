"""Is this the mesh it should be? Vertex counts, units, and the order of vertices."""

from __future__ import annotations

import numpy as np

from visemo.geometry.align import rigid_align
from visemo.geometry.mesh import edges
from visemo.types import FloatArray, IntArray, Mesh, VisemoError

FLAME_VERTICES = 5023
KNOWN = {
    468: "MediaPipe's face mesh",
    478: "MediaPipe's face mesh with irises",
    1220: "ARKit's face mesh",
    5023: "FLAME, as in VOCASET and Florence 4D",
    5118: "FLAME split along its texture seams",
    5143: "FLAME with teeth, as in GaussianAvatars",
    6172: "Multiface",
    9409: "the face of ICT-FaceKit",
    10857: "the template of the paper",
    11248: "the head of ICT-FaceKit without its interior",
    23370: "BIWI",
    26719: "the whole ICT-FaceKit",
    35709: "the cropped Basel face model",
    53215: "the Basel face model 2017",
    53490: "the Basel face model 2009",
}

UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
HEAD = (0.1, 0.7)  # m: the longest side of anything from a face crop to a head with shoulders

BENT = 3.0  # an edge so many times longer or shorter than it was counts as bent
BENT_PERSON, BENT_FRAME = 0.06, 0.01  # share of bent edges; real people have up to 0.017, real frames up to 0.0015
TORN = 0.1  # of the size: no edge of a face grows by so much
ASTRAY = 0.06  # of the size: mean distance of a person from another after rigid alignment; real people up to 0.02


def check_count(what: str, count: int, expected: int) -> None:
    """Refuse another number of vertices, saying where it is known from."""
    if count != expected:
        known = KNOWN.get(count, "no mesh that visemo knows")
        wanted = f" ({KNOWN[expected]})" if expected in KNOWN else ""
        raise VisemoError(f"{what}: got {count} vertices, those of {known}, expected {expected}{wanted}")


def check_finite(what: str, vertices: np.ndarray) -> None:
    """Refuse NaN and infinite coordinates."""
    if not np.isfinite(vertices).all():
        bad = int((~np.isfinite(vertices).reshape(len(vertices), -1).all(axis=1)).sum())
        raise VisemoError(f"{what}: got NaN or infinite coordinates in {bad} vertices, expected finite ones")


def size_of(vertices: np.ndarray) -> float:
    """The longest side of the box around (N, 3) vertices."""
    return float(np.ptp(vertices, axis=0).max())


def unit_of(what: str, vertices: np.ndarray) -> tuple[str, float]:
    """The unit that makes a head of the vertices (N, 3): its name, and metres in one of it.

    Raises VisemoError when none of m, cm and mm does.
    """
    check_finite(what, vertices)
    size = size_of(vertices)
    for unit, metres in UNITS.items():
        if HEAD[0] <= size * metres <= HEAD[1]:
            return unit, metres
    raise VisemoError(f"{what}: got a mesh {size:.3g} wide, expected a head in m, cm or mm; scale it first")


def in_metres(what: str, vertices: np.ndarray, remarks: list[str]) -> FloatArray:
    """The vertices of a head (N, 3) in metres, float32; a conversion is added to the remarks."""
    unit, metres = unit_of(what, vertices)
    if unit != "m":
        remarks.append(f"{what}: converted from {unit}")
    return (np.asarray(vertices, np.float64) * metres).astype(np.float32)


class OrderCheck:
    """Tells whether vertices of a known topology stand in the order of its triangles.

    Vertices in another order make edges that run across the face, or a face that lies nowhere near.
    """

    def __init__(self, triangles: IntArray):
        self._edges = edges(triangles)

    def person(self, what: str, vertices: FloatArray, mesh: Mesh) -> None:
        """Refuse a person's neutral (N, 3) m that is no reshaped `mesh`."""
        self._edge_test(what, vertices, mesh.vertices, BENT_PERSON)
        rotation, shift = rigid_align(vertices, mesh.vertices)
        apart = np.linalg.norm(vertices @ rotation.T + shift - mesh.vertices, axis=1).mean()
        if apart > ASTRAY * size_of(mesh.vertices):
            self._refuse(what, f"{apart * 1e3:.0f} mm from the topology's own head on average")

    def frame(self, what: str, vertices: FloatArray, neutral: FloatArray) -> None:
        """Refuse a frame (N, 3) that is not its neutral (N, 3) in motion, or not in the same unit."""
        ratio = size_of(vertices) / size_of(neutral)
        if not 0.5 < ratio < 2:
            raise VisemoError(f"{what}: got a face {ratio:.3g} times the size of its neutral, expected the same unit")
        self._edge_test(what, vertices, neutral, BENT_FRAME)

    def _edge_test(self, what: str, vertices: np.ndarray, reference: np.ndarray, most: float) -> None:
        now, before = (
            np.linalg.norm(v[self._edges[:, 0]] - v[self._edges[:, 1]], axis=1) for v in (vertices, reference)
        )
        bent = float(((now > BENT * before) | (before > BENT * now))[before > 0].mean())
        torn = int((now - before > TORN * size_of(reference)).sum())
        if bent > most or torn:
            self._refuse(what, f"{100 * bent:.0f} % of its edges are {BENT:g} times longer or shorter, {torn} torn")

    @staticmethod
    def _refuse(what: str, got: str) -> None:
        raise VisemoError(f"{what}: got vertices in another order ({got}), expected the order of the topology")
