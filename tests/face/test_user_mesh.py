"""Anybody's mesh as a face: units, poses, landmarks, shapes and what is wrong with it, each planted and found."""

import json

import numpy as np
import pytest

from visemo.face.library import load_face
from visemo.face.lip_line import lips_that_meet
from visemo.face.user_mesh import check_same_order, read_user_mesh, user_face
from visemo.geometry.mesh import write_mesh
from visemo.geometry.rotation import axis_angle_to_matrix
from visemo.types import Mesh, VisemoError


@pytest.fixture(scope="module")
def head():
    return load_face("builtin")


def beside(path, landmarks: dict) -> None:
    path.with_suffix(".landmarks.json").write_text(json.dumps(landmarks))


@pytest.fixture
def person(head, tmp_path):
    """The built-in head in centimetres with its landmarks beside it: no search, and the truth is known."""
    path = tmp_path / "ada.obj"
    write_mesh(path, Mesh(100 * head.template, head.triangles))
    beside(path, {str(number): vertex for number, vertex in head.landmarks.items()})
    return path


def test_a_head_in_centimetres_is_the_face_that_it_was(head, person):
    found = read_user_mesh(person)
    face = found.face
    assert np.abs(face.template - head.template).max() < 1e-6 and np.array_equal(face.triangles, head.triangles)
    assert (face.name, face.landmarks) == ("ada", head.landmarks)
    assert np.array_equal(face.lip_pairs, head.lip_pairs) and np.array_equal(face.mirror, head.mirror)
    assert any("taken as cm: the eyes span 92 mm" in note for note in found.notes)
    assert load_face(person).topology_hash == head.topology_hash


@pytest.mark.parametrize("unit, said", [(1000.0, "taken as mm"), (1.0, "taken as m:"), (4.4, "in no known unit")])
def test_units(head, tmp_path, unit, said):
    path = tmp_path / "x.ply"
    write_mesh(path, Mesh(np.float32(unit) * head.template, head.triangles))
    found = read_user_mesh(path, head.landmarks)
    assert any(said in note for note in found.notes)
    ratio = np.ptp(found.face.template, axis=0) / np.ptp(head.template, axis=0)
    assert np.allclose(ratio, 1, atol=0.03)


def test_a_turned_head_looks_ahead_and_its_shapes_turn_along(head, tmp_path):
    turn = axis_angle_to_matrix(np.radians([10.0, 20.0, 5.0]))
    path = tmp_path / "bo.obj"
    moved = head.template @ turn.T + [0.3, 1.6, 0]
    write_mesh(path, Mesh(moved.astype(np.float32), head.triangles))
    folder = tmp_path / "bo_shapes"
    folder.mkdir()
    for name in ("jawOpen", "mouthSmileLeft"):
        shape = moved + head.shape(name) @ turn.T
        write_mesh(folder / f"{name.lower()}.ply", Mesh(shape.astype(np.float32), head.triangles))
    points = {number: tuple(map(float, moved[vertex])) for number, vertex in head.landmarks.items()}
    found = read_user_mesh(path, points)
    assert any("turned by 23 degrees" in note for note in found.notes)
    assert found.face.shape_names == ("jawOpen", "mouthSmileLeft")
    assert np.abs(found.face.shape("jawOpen") - head.shape("jawOpen")).max() < 1e-4
    assert np.abs(found.face.template[:, 0] - head.template[:, 0]).max() < 1e-3
    assert found.face.landmarks[30] == head.landmarks[30]
    off = found.face.template[list(found.face.landmarks.values())] - head.template[list(head.landmarks.values())]
    assert np.linalg.norm(off - off.mean(axis=0), axis=1).max() < 3e-3  # landmarks are at the same places


def test_landmarks_are_found_where_none_are_given(head, tmp_path):
    """And the lips, 0.02 mm apart, are told from each other whatever the landmarks' error."""
    path = tmp_path / "cy.obj"
    write_mesh(path, Mesh((1000 * head.template * (1.05, 0.97, 1.0)).astype(np.float32), head.triangles))
    found = read_user_mesh(path)
    assert any("51 landmarks found automatically" in note for note in found.notes)
    off = head.template[list(found.face.landmarks.values())] - head.template[list(head.landmarks.values())]
    assert np.linalg.norm(off, axis=1).mean() < 4e-3
    upper, lower = head.template[found.face.lip_pairs].transpose(1, 0, 2)
    assert np.linalg.norm(upper - lower, axis=1).mean() < 0.1e-3 and len(upper) >= 15


def test_flame_s_landmarks_are_known_from_its_triangles(shared_data, tmp_path):
    data = np.load(shared_data / "emovoca_expressions" / "emovoca_expressions.npz")
    path = tmp_path / "scan.ply"
    write_mesh(path, Mesh(data["vertices"][0, 0].astype(np.float32), data["faces"].astype(np.int32)))
    found = read_user_mesh(path)
    assert any("5023 vertices, as many as FLAME has" in note for note in found.notes)
    assert any("landmarks known from the topology" in note for note in found.notes)
    assert found.face.landmarks[30] == 3564


def test_ict_s_landmarks_are_known_by_their_place(shared_data, tmp_path):
    data = np.load(shared_data / "ict" / "ict_facekit_head.npz")
    path = tmp_path / "scan.ply"
    write_mesh(path, Mesh(data["neutral"], data["faces_tri"]))
    face = user_face(path)
    assert list(face.landmarks.values()) == data["landmarks68"][[8, *range(17, 68)]].tolist()


def test_lips_are_found_by_facing_each_other(head):
    chance = np.random.default_rng(0)
    spots = {n: head.template[v] + chance.normal(size=3) * 0.003 for n, v in head.landmarks.items() if n > 47}
    found = lips_that_meet(Mesh(head.template, head.triangles), np.arange(len(head.template)), spots)
    assert set(found) == {61, 62, 63, 65, 66, 67}
    upper, lower = set(head.regions["upper_lip"]), set(head.regions["lower_lip"])
    assert {found[n] for n in (61, 62, 63)} <= upper and {found[n] for n in (65, 66, 67)} <= lower
    for number, vertex in found.items():
        assert np.linalg.norm(head.template[vertex] - head.template[head.landmarks[number]]) < 4e-3
    closed = np.arange(len(head.template))[head.template[:, 1] > 0]  # no lips among these
    assert lips_that_meet(Mesh(head.template, head.triangles), closed, spots) == {}


def test_vertices_in_another_order_are_noticed(head):
    check_same_order(Mesh(37 * head.template * np.float32([1.1, 0.95, 1.0]), head.triangles), head)
    mixed = head.template[np.random.default_rng(1).permutation(len(head.template))]
    with pytest.raises(VisemoError, match="vertices in another order than builtin's"):
        check_same_order(Mesh(mixed, head.triangles), head)
    with pytest.raises(VisemoError, match="got 5 vertices, expected the 9660"):
        check_same_order(Mesh(head.template[:5], head.triangles[:0]), head)


@pytest.mark.parametrize("table, said", [
    ("{", "got no landmarks"), ("[1]", "got no landmarks"), ('{"30": [1, 2]}', "got no landmarks"),
    ('{"30": 99999}', "got landmark 30 at 99999"), ('{"70": 1}', "got landmark 70 at 1"),
])  # fmt: skip
def test_landmarks_that_are_none_are_refused(person, table, said):
    person.with_suffix(".landmarks.json").write_text(table)
    with pytest.raises(VisemoError, match=said) as caught:
        user_face(person)
    assert "\n" not in str(caught.value)


def test_shapes_and_meshes_that_do_not_fit_are_refused(head, person):
    folder = person.with_name("ada_shapes")
    folder.mkdir()
    with pytest.raises(VisemoError, match="got no shapes, expected meshes named after ARKit's"):
        user_face(person)
    (folder / "jawOpn.obj").write_text("v 0 0 0\n")
    with pytest.raises(VisemoError, match=r"jawOpn\.obj.*did you mean jawOpen\?"):
        user_face(person)
    (folder / "jawOpn.obj").rename(folder / "jawOpen.obj")
    with pytest.raises(VisemoError, match=r"jawOpen\.obj: got 1 vertices, expected the 9660 of ada\.obj"):
        user_face(person)
    (folder / "jawOpen.obj").write_text("v 0 0 nan\n")
    with pytest.raises(VisemoError, match=r"jawOpen\.obj: got NaN or infinite vertices"):
        user_face(person)
    text = person.read_text().splitlines()
    text[5] = "v 0 0 nan"
    person.write_text("\n".join(text))
    with pytest.raises(VisemoError, match="NaN or infinite"):
        user_face(person)
    flat = dict.fromkeys(head.landmarks, 3)
    with pytest.raises(VisemoError, match="corners of the eyes in one place"):
        write_mesh(person, Mesh(head.template, head.triangles))
        user_face(person, flat)
