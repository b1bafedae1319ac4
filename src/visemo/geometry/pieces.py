"""What of a scan is skin: without its loose pieces, such as eyeballs."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components

from visemo.geometry.mesh import adjacency
from visemo.types import Mesh, VisemoError

SHARE = 0.1  # of the largest piece's area, below which a piece is loose


def skin(mesh: Mesh, share: float = SHARE) -> Mesh:
    """The same vertices with the triangles of large pieces only.

    A piece is loose when its area is below `share` of the largest one's: an eyeball, a tooth, a scanner's debris.

    Raises VisemoError for a mesh without triangles.
    """
    if not len(mesh.triangles):
        raise VisemoError("scan: got a mesh without triangles, expected a surface; give its faces too")
    label = connected_components(adjacency(mesh.triangles, len(mesh.vertices)), directed=False)[1]
    piece = label[mesh.triangles[:, 0]]
    corners = mesh.vertices[mesh.triangles].astype(np.float64)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.bincount(piece, np.linalg.norm(across, axis=1))
    return Mesh(mesh.vertices, mesh.triangles[(area >= share * area.max())[piece]])
