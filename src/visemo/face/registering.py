"""A face laid on a mesh: by its own rows where the mesh is of its topology, by dense registration elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

import numpy as np

from visemo.assets import sha256
from visemo.face.face import Face
from visemo.geometry.register import FEWEST, RegisterConfig, Registration, flipped, register, similarity
from visemo.types import FloatArray, IntArray, Mesh, VisemoError

Point = tuple[float, float, float]

FOUND = 3e-3  # m at the face's size: how far landmarks that were found, not given, may be off
CONTOUR = range(17)  # the outline of the jaw in the iBUG scheme: where it is depends on the view
CHIN = 8


def register_mesh(
    mesh: Mesh,
    face: Face,
    landmarks: Mapping[int, Point] | None = None,
    config: RegisterConfig | None = None,
) -> Registration:
    """Lay a face's template on a mesh: its vertices (V, 3) on the mesh's surface, in the mesh's frame and unit.

    A mesh in the face's own topology, or in the one that the face was cut out of, needs no registration: its own
    rows are taken, exactly.

    Parameters
    ----------
    mesh : a head or a face scan, any unit.
    face : with landmarks.
    landmarks : iBUG number -> point on the mesh, taken as exact; absent: found on the mesh, and taken as near.
    config : see RegisterConfig; it then says how exact the landmarks are, too.

    Raises
    ------
    VisemoError
        When the face and the given landmarks share fewer than four, or when no face is found on the mesh.
    """
    rows = own_rows(mesh, face)
    if rows is not None:
        return _selected(mesh, face, rows)
    if landmarks is None:
        from visemo.face.landmarks import find_landmarks  # only scans without landmarks need the search

        found = find_landmarks(mesh, face)
        landmarks = {number: point for number, point in found.items() if number == CHIN or number not in CONTOUR}
        config = config or RegisterConfig(landmark_error=FOUND)
    shared = sorted(set(landmarks) & set(face.landmarks))
    if len(shared) < FEWEST:
        raise VisemoError(
            f"landmarks: got {len(shared)} that face {face.name} has too, expected at least {FEWEST}; it has "
            f"{', '.join(map(str, sorted(face.landmarks))) or 'none'}"
        )
    vertices = np.array([face.landmarks[number] for number in shared], np.int32)
    points = np.array([landmarks[number] for number in shared], np.float64)
    return register(face.template, face.triangles, mesh, (vertices, points), config)


def own_rows(mesh: Mesh, face: Face) -> IntArray | None:
    """Which vertices of the mesh (V,) are the face's, when it has the face's topology or that of its origin."""
    topology = sha256(mesh.triangles)[:16]
    if topology == face.topology_hash:
        return np.arange(len(face.template), dtype=np.int32)
    if face.cut is not None and topology == face.cut.topology:
        return face.cut.rows
    return None


def _selected(mesh: Mesh, face: Face, rows: IntArray) -> Registration:
    begin = perf_counter()
    vertices: FloatArray = mesh.vertices[rows]
    return Registration(
        vertices=vertices,
        pose=similarity(face.template, vertices.astype(np.float64)),
        distance_mean=0.0,
        distance_max=0.0,
        flips=int(flipped(face.template, vertices, face.triangles).sum()),
        seconds=perf_counter() - begin,
        inside=np.arange(len(rows), dtype=np.int32),
        distances=np.zeros(len(rows), np.float32),
    )
