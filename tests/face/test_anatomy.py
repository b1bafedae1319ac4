"""A face from a mesh and its landmarks: what is known of the built-in head is demanded back from its geometry."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse.csgraph import dijkstra

from visemo.face.anatomy import NEEDED, Anatomy, face_from_mesh
from visemo.face.library import load_face
from visemo.types import Mesh, VisemoError


@pytest.fixture(scope="module")
def head():
    return load_face("builtin")


@pytest.fixture(scope="module")
def made(head):
    return face_from_mesh("made", Mesh(head.template, head.triangles), landmarks=head.landmarks, licence="mine")


def test_the_built_in_head_is_found_again(head, made):
    assert np.array_equal(made.mirror, head.mirror) and np.array_equal(made.lip_pairs, head.lip_pairs)
    assert (made.name, made.licence, made.landmarks) == ("made", "mine", head.landmarks)
    assert set(made.regions) == set(head.regions)
    for name, least in {"lips": 0.99, "upper_lip": 0.95, "lower_lip": 0.95, "upper_face": 0.95, "nose": 0.7,
                        "eyes": 0.7, "lids": 0.6, "mouth": 0.65, "forehead": 0.6, "border": 0.6, "cheeks": 0.5,
                        "jaw": 0.5}.items():  # fmt: skip
        ours, theirs = set(made.regions[name].tolist()), set(head.regions[name].tolist())
        assert len(ours & theirs) >= least * len(ours | theirs), name
    assert len(set(made.regions["brows"]) & set(head.regions["brows"])) > 0.9 * len(head.regions["brows"])


def test_regions_lie_alike_on_both_sides(made):
    for name, members in made.regions.items():
        both = np.isin(made.mirror[members], members).mean()
        assert both > 0.97, name


def test_lips_are_redder_than_skin_and_brows_darker(made):
    mean = {name: made.colors[made.regions[name]].mean(axis=0) for name in ("lips", "brows", "cheeks")}
    assert mean["lips"][1] < 0.85 * mean["cheeks"][1] and mean["brows"].sum() < 0.9 * mean["cheeks"].sum()


def test_the_way_through_landmarks_is_the_shortest(head):
    """Slow twin: Dijkstra over the whole mesh, and the lengths of the edges added up."""
    anatomy = Anatomy.of(Mesh(head.template, head.triangles), head.landmarks)
    way = anatomy.path((48, 49, 50))
    length = sum(anatomy.graph[a, b] for a, b in pairwise(way))
    stops = [head.landmarks[n] for n in (48, 49, 50)]
    whole = [dijkstra(anatomy.graph, directed=False, indices=a)[b] for a, b in pairwise(stops)]
    assert np.isclose(length, sum(whole)) and [way[0], way[-1]] == [stops[0], stops[-1]]


def test_what_is_given_is_kept(head, tiny_face):
    face = face_from_mesh(
        "tiny", Mesh(tiny_face.template, tiny_face.triangles), regions=tiny_face.regions, lip_pairs=tiny_face.lip_pairs,
        colors=tiny_face.colors, shape_names=tiny_face.shape_names, shapes=tiny_face.shapes,
    )  # fmt: skip
    assert np.array_equal(face.mirror, tiny_face.mirror) and face.shapes is tiny_face.shapes
    assert face.regions is tiny_face.regions


def test_landmarks_that_are_missing_or_off_the_skin_are_refused(head):
    mesh = Mesh(head.template, head.triangles)
    with pytest.raises(VisemoError, match=r"landmarks: got 0, expected iBUG numbers 17 to 67"):
        face_from_mesh("x", mesh)
    some = {number: vertex for number, vertex in head.landmarks.items() if number != 62}
    with pytest.raises(VisemoError, match="62 are missing"):
        face_from_mesh("x", mesh, landmarks=some)
    ball = np.concatenate([head.template, [[0, 0, 0.2], [0.01, 0, 0.2], [0, 0.01, 0.2]]]).astype(np.float32)
    corner = np.arange(len(head.template), len(ball), dtype=np.int32)[None]
    apart = Mesh(ball, np.concatenate([head.triangles, corner]))
    with pytest.raises(VisemoError, match="got 36 on another piece"):
        face_from_mesh("x", apart, landmarks={**head.landmarks, 36: int(corner[0, 0])})


def test_crooked_faces_are_refused_unless_asked_for(head):
    keep = (head.template[head.triangles][:, :, 0] > -0.06).all(axis=1)
    used, triangles = np.unique(head.triangles[keep], return_inverse=True)
    landmarks = {number: int(np.searchsorted(used, vertex)) for number, vertex in head.landmarks.items()}
    mesh = Mesh(head.template[used], triangles.reshape(-1, 3).astype(np.int32))
    with pytest.raises(VisemoError, match="without a mirror image"):
        face_from_mesh("x", mesh, landmarks=landmarks)
    face = face_from_mesh("x", mesh, landmarks=landmarks, symmetric=False)
    assert np.array_equal(used[face.lip_pairs], head.lip_pairs)


def test_ict_s_lips_are_those_of_its_pack(shared_data):
    """The lips that were flood-filled for the pack, and shut lips that stand 0.7 mm apart, as the model has them."""
    ict = np.load(shared_data / "ict" / "ict_facekit_head.npz")
    mesh = Mesh((0.01 * ict["neutral"][:9409]).astype(np.float32), ict["faces_tri"][:18460])
    face = face_from_mesh("ict", mesh, landmarks={n: int(v) for n, v in enumerate(ict["landmarks68"])})
    lips = set(ict["lip_vertices"].tolist())
    assert len(lips & set(face.regions["lips"].tolist())) > 0.99 * len(lips)
    assert len(face.regions["lips"]) < 1.02 * len(lips)
    assert len(set(ict["lip_upper"]) & set(face.regions["upper_lip"])) > 0.9 * len(ict["lip_upper"])
    upper, lower = face.template[face.lip_pairs].transpose(1, 0, 2)
    assert len(face.lip_pairs) >= 15 and np.linalg.norm(upper - lower, axis=1).mean() < 0.8e-3
    steps = np.linalg.norm(np.diff(upper, axis=0), axis=1)
    assert steps.max() < 3 * np.median(steps) and np.array_equal(face.mirror[face.lip_pairs], face.lip_pairs[::-1])
    assert set(NEEDED) <= set(face.landmarks)


def test_a_face_keeps_its_promises(made):
    assert replace(made, name="again").topology_hash == made.topology_hash
