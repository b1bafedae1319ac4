"""Vertex sets: the same vertices are the same set, wherever they were listed."""

import pickle

import numpy as np
import pytest

from visemo.evaluate.vertex_sets import VertexSet
from visemo.face.library import load_face
from visemo.types import VisemoError


def test_order_and_repetition_do_not_matter():
    lips = VertexSet("lips", np.array([7, 2, 7, 5], np.int64))
    assert lips.indices.tolist() == [2, 5, 7] and lips.indices.dtype == np.int32
    assert (lips.count, lips.duplicates) == (3, 1)
    again = VertexSet("lips", np.array([2, 5, 7], np.int32))
    assert again.hash == lips.hash == "7af9e1"
    assert str(again) == "lips (3 vertices, 7af9e1)"
    assert str(lips) == "lips (3 vertices, 7af9e1; 1 listed twice)"
    assert VertexSet("lips", np.array([2, 5, 8], np.int32)).hash != lips.hash
    assert VertexSet("none", np.zeros(0, np.int32)).count == 0


@pytest.mark.parametrize("indices", [np.array([1, -1]), np.array([1.5]), np.array([[1, 2]])])
def test_what_is_no_list_of_vertices_is_refused(indices):
    with pytest.raises(VisemoError, match=r"odd: got .* expected a list of vertex numbers"):
        VertexSet("odd", indices)


def test_from_a_region_of_a_face():
    face = load_face("builtin")
    lips = VertexSet.of_face(face, "lips")
    assert lips.name == "lips" and lips.indices.tolist() == np.unique(face.regions["lips"]).tolist()
    with pytest.raises(VisemoError, match="expected gills too"):
        VertexSet.of_face(face, "gills")


def test_from_flame_masks(tmp_path):
    path = tmp_path / "FLAME_masks.pkl"
    path.write_bytes(
        pickle.dumps({"forehead": np.array([3, 1]), "eye_region": np.array([3, 4]), "lips": np.array([9])})
    )
    upper = VertexSet.of_flame_masks(path, "forehead", "eye_region")
    assert upper.name == "forehead + eye_region" and upper.indices.tolist() == [1, 3, 4]
    with pytest.raises(VisemoError, match="got regions forehead, eye_region, lips, expected brows too"):
        VertexSet.of_flame_masks(path, "lips", "brows")


def test_from_the_text_files_of_codetalker_and_facediffuser(tmp_path):
    path = tmp_path / "lve.txt"
    for text in ("3, 1, 20, 3", "3\n1\n20\n3\n", "[3, 1, 20, 3]"):
        path.write_text(text)
        found = VertexSet.of_text(path)
        assert (found.name, found.indices.tolist(), found.duplicates) == ("lve", [1, 3, 20], 1)
    path.write_text("3, 99999999999")
    with pytest.raises(VisemoError, match=r"lve.txt: got no vertex numbers"):
        VertexSet.of_text(path)
    path.write_text("3, one")
    with pytest.raises(VisemoError, match=r"lve.txt: got no vertex numbers \(invalid literal"):
        VertexSet.of_text(path)
    with pytest.raises(VisemoError, match=r"away.txt: got no vertex numbers"):
        VertexSet.of_text(tmp_path / "away.txt")
