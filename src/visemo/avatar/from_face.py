"""An avatar of a face that has colours: flat Gaussians on all its triangles, lit as the mesh renderer lights them.

Light is baked at rest: each Gaussian's spherical harmonics are fitted to what the surface shows in many directions, so
highlights wander with the view but shadows stay.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visemo.avatar.description import CLOUD, Description, write_description
from visemo.avatar.gaussians import Gaussians, write_gaussians
from visemo.avatar.rig import Splats, bind
from visemo.face.face import Face
from visemo.geometry.rotation import matrix_to_quaternion
from visemo.render.splat import harmonics
from visemo.render.video import FaceRenderer
from visemo.types import FloatArray, IntArray

LONGEST = 8e-3  # m; longer sides are divided, each piece gets a Gaussian of its own
WIDTH = 1.15  # standard deviations of a Gaussian, in those of its piece's corners: neighbours leave no holes
THICKNESS = 0.05  # of the narrower width
OPACITY = 0.99
OPENING = "jawOpen"  # the shape that shows what the mouth holds
VIEWS = 64  # directions that the light is fitted in


def avatar_from_face(face: Face) -> Gaussians:
    """Gaussians on every triangle of the face and its parts, in the order that `describe` states.

    They look like the mesh in its studio at rest, and follow it through `rig.pose`.
    """
    mesh = FaceRenderer(face, np.zeros((1, *face.template.shape), np.float32), 64)
    vertices, triangles = mesh.rest, mesh.triangles
    parent, corners = _pieces(vertices, triangles)
    shown = _baked(mesh)[triangles[parent]]  # (N, 3, 16, 3)
    sh = np.einsum("npc,nckj->npkj", corners, shown).mean(axis=1)
    points = np.einsum("npc,nck->npk", corners, vertices[triangles[parent]].astype(np.float64))
    centres, scales, rotations = _flat(points)
    opacity = np.full(len(parent), OPACITY, np.float32)
    splats = Splats(centres, scales, rotations, opacity, sh.astype(np.float32))
    return bind(splats, parent, vertices, triangles)


def describe(face: Face) -> Description:
    """Which triangles the bindings of `avatar_from_face` count: the face's, then each part's."""
    parts = tuple((part.name, len(part.triangles)) for part in face.parts)
    return Description(face.name, face.topology_hash, len(face.triangles), parts, face.licence)


def write_avatar(folder: Path, face: Face, gaussians: Gaussians | None = None) -> int:
    """Write point_cloud.ply and avatar.json of a face; returns the number of Gaussians, by default `avatar_from_face`.

    Raises VisemoError when the folder is missing.
    """
    gaussians = gaussians or avatar_from_face(face)
    write_gaussians(folder / CLOUD, gaussians)
    write_description(folder, describe(face))
    return len(gaussians)


def _pieces(vertices: FloatArray, triangles: IntArray) -> tuple[IntArray, NDArray[np.float64]]:
    """Triangles with area divided into n^2 alike until no side is longer than LONGEST.

    Returns the parent of each piece (N,), and the barycentric weights of its corners (N, 3, 3).
    """
    corners = vertices[triangles].astype(np.float64)
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    division = np.maximum(1, np.ceil(sides / LONGEST)).astype(np.int32)
    division[area < 1e-10] = 0  # m^2: slivers have no plane to lie in
    parents, weights = [], []
    for n in np.unique(division[division > 0]):
        own, pattern = np.flatnonzero(division == n), _pattern(int(n))
        parents.append(np.repeat(own, len(pattern)))
        weights.append(np.tile(pattern, (len(own), 1, 1)))
    return np.concatenate(parents).astype(np.int32), np.concatenate(weights)


def _pattern(n: int) -> NDArray[np.float64]:
    """(n^2, 3, 3) barycentric corners of a triangle's n^2 pieces."""
    pieces = []
    for i in range(n):
        for j in range(n - i):
            pieces.append([(i, j), (i + 1, j), (i, j + 1)])
            if i + j < n - 1:
                pieces.append([(i + 1, j), (i + 1, j + 1), (i, j + 1)])
    at = np.array(pieces, np.float64) / n
    return np.stack([1 - at.sum(axis=2), at[..., 0], at[..., 1]], axis=2)


def _flat(points: NDArray[np.float64]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Centres, scales and rotations of the Gaussians on pieces with corners (N, 3, 3): wide as the corners lie."""
    centres = points.mean(axis=1)
    off = points - centres[:, None]
    variances, axes = np.linalg.eigh(np.einsum("npi,npj->nij", off, off) / 3)  # ascending: the normal comes first
    widths = WIDTH * np.sqrt(np.maximum(variances, 1e-14))
    widths[:, 0] = THICKNESS * widths[:, 1]
    axes[:, :, 0] *= np.linalg.det(axes)[:, None]
    return (
        centres.astype(np.float32),
        widths.astype(np.float32),
        matrix_to_quaternion(axes).astype(np.float32),
    )


def _baked(mesh: FaceRenderer) -> NDArray[np.float64]:
    """(V, 16, 3) harmonics of the colour that every vertex shows, less 1/2.

    At rest, but parts take the more light of rest and open mouth: teeth lie in the dark when they are not seen.
    """
    towards, own = _directions(VIEWS), len(mesh.face.template)
    shown = mesh.drawing.leaving(mesh.rest, towards)
    if OPENING in mesh.face.shape_names:
        opened = mesh.drawing.leaving(mesh.rest + mesh.shape(OPENING), towards)
        shown[own:] = np.maximum(shown[own:], opened[own:])
    fit = np.linalg.pinv(harmonics(-towards))  # splats count directions from the camera
    return np.einsum("jd,vdk->vjk", fit, shown.astype(np.float64) - 0.5)


def _directions(count: int) -> NDArray[np.float64]:
    """Unit vectors evenly over the sphere, along a spiral."""
    i = np.arange(count) + 0.5
    z, around = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(around), flat * np.sin(around), z], axis=1)
