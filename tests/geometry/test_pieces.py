"""Skin: loose pieces go, the vertices stay."""

import numpy as np
import pytest

from toy_face import ball, sheet
from visemo.geometry.pieces import skin
from visemo.types import Mesh, VisemoError


def test_a_loose_piece_goes_and_the_vertices_stay():
    (points, triangles), (eye, around) = sheet(-0.06, 0.06), ball((0.0, 0.0, 0.062), 0.01)
    whole = np.concatenate([triangles, around + len(points)]).astype(np.int32)
    mesh = Mesh(np.concatenate([points, eye]), whole)
    assert skin(mesh).vertices is mesh.vertices
    np.testing.assert_array_equal(skin(mesh).triangles, triangles)
    assert len(skin(mesh, 0.001).triangles) == len(whole)


def test_pieces_of_some_size_stay():
    points, triangles = sheet(-0.06, 0.06)
    both = np.concatenate([points, points + np.array([0, 0, 0.3], np.float32)])
    mesh = Mesh(both, np.concatenate([triangles, triangles + len(points)]).astype(np.int32))
    np.testing.assert_array_equal(skin(mesh).triangles, mesh.triangles)


def test_a_mesh_without_triangles_is_refused():
    with pytest.raises(VisemoError, match="without triangles"):
        skin(Mesh(np.eye(3, dtype=np.float32), np.zeros((0, 3), np.int32)))
