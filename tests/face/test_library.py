"""Faces on disk: what is saved comes back, what is not a face is refused in one line; and what a Face refuses."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from visemo.face.face import Cut, Face, Part
from visemo.face.library import load_face, save_face
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def whole(tiny_face) -> Face:
    """The tiny face with everything that a face can have."""
    corners = np.array([[0, 0, 0.02], [0.01, 0, 0.02], [0, 0.01, 0.02]], np.float32)
    shapes = np.random.default_rng(1).normal(size=(len(tiny_face.shape_names), 3, 3)).astype(np.float32)
    part = Part("teeth", corners, np.array([[0, 1, 2]], np.int32), np.ones_like(corners), shapes, gloss=0.25)
    wide = (tiny_face.template * np.float32([0.1, 0, 0]))[None]
    cut = Cut("0123456789abcdef", np.arange(len(tiny_face.template), dtype=np.int32)[::-1].copy())
    return replace(
        tiny_face, parts=(part,), identity_names=("wide",), identities=wide, landmarks={30: 4, 8: 2}, cut=cut
    )


@pytest.fixture
def folder(whole, tmp_path):
    save_face(whole, tmp_path / "face")
    return tmp_path / "face"


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, Part | Cut) and type(a) is type(b):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def refused(folder) -> str:
    with pytest.raises(VisemoError) as caught:
        load_face(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_about(folder, **changes) -> None:
    about = json.loads((folder / "face.json").read_text())
    (folder / "face.json").write_text(json.dumps(about | changes))


def change_arrays(folder, drop=(), **changes) -> None:
    with np.load(folder / "face.npz") as file:
        arrays = {name: array for name, array in file.items() if name not in drop} | changes
    np.savez(folder / "face.npz", **arrays)


# ---------------------------------------------------------------- round trip


def test_everything_comes_back(whole, folder):
    back = load_face(folder)
    for field in fields(Face):
        assert same(getattr(back, field.name), getattr(whole, field.name)), field.name
    assert (back.hash, back.topology_hash) == (whole.hash, whole.topology_hash)
    assert sorted(path.name for path in folder.iterdir()) == ["face.json", "face.npz"]


def test_a_face_without_shapes_comes_back_over_another(tiny_face, folder):
    save_face(replace(tiny_face, name="bare", shape_names=(), shapes=None), folder)
    back = load_face(str(folder))
    assert (back.name, back.shapes, back.shape_names, back.parts) == ("bare", None, (), ())


def test_hashes_tell_geometry_from_topology(tiny_face):
    moved = replace(tiny_face, template=tiny_face.template * np.float32(1.1))
    turned = replace(tiny_face, triangles=np.roll(tiny_face.triangles, 1, axis=0))
    assert moved.topology_hash == tiny_face.topology_hash and moved.hash != tiny_face.hash
    assert turned.topology_hash != tiny_face.topology_hash


# ---------------------------------------------------------------- refusals


def test_unknown_names_are_refused_with_the_list(tmp_path, whole):
    assert "'nobody', expected builtin, ict, a folder written by save_face" in refused("nobody")
    (tmp_path / "file").write_text("x")
    assert "got suffix '', expected builtin, ict" in refused(tmp_path / "file")
    with pytest.raises(VisemoError, match="cannot make that folder"):
        save_face(whole, tmp_path / "file")
    with pytest.raises(VisemoError, match="cannot make that folder"):
        save_face(whole, tmp_path / "missing" / "face")


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe\xfa"])
def test_unreadable_descriptions_are_refused(folder, content):
    path = folder / "face.json"
    path.unlink() if content is None else path.write_bytes(content)
    assert "face.json: got no readable description" in refused(folder)


@pytest.mark.parametrize("changes", [{"schema": "visemo-face-0"}, {"extra": 1}])
def test_foreign_descriptions_are_refused(folder, changes):
    change_about(folder, **changes)
    assert "got a foreign description, expected visemo-face-1" in refused(folder)
    (folder / "face.json").write_text("[]")
    assert "got a foreign description" in refused(folder)


def test_damaged_arrays_are_refused(folder):
    path = folder / "face.npz"
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes(byte ^ 0xFF for byte in data[middle : middle + 40]) + data[middle + 40 :]
    for content in (b"", b"junk", data[:100], data[:middle], data[:-1], flipped):
        path.write_bytes(content)
        assert "face.npz: got no readable arrays" in refused(folder)
    path.unlink()
    assert "face.npz: got no readable arrays" in refused(folder)


def test_pickled_arrays_are_refused(folder):
    change_arrays(folder, template=np.array([{}], object))
    assert "face.npz: got no readable arrays" in refused(folder)


def test_faces_whose_files_do_not_belong_together_are_refused(whole, folder):
    change_arrays(folder, drop=["lip_pairs"])
    assert "got a face without 'lip_pairs'" in refused(folder)
    save_face(whole, folder)
    change_about(folder, regions=5)
    assert "got a face without" in refused(folder)
    save_face(whole, folder)
    change_arrays(folder, beard=np.zeros(3))
    assert "got unknown arrays beard" in refused(folder)
    save_face(whole, folder)
    change_about(folder, shape_names=["jawOpen"])
    assert str(folder) in refused(folder) and "shapes: got shape" in refused(folder)
    save_face(whole, folder)
    change_arrays(folder, triangles=np.roll(whole.triangles, 1, axis=0))
    assert f"expected {whole.topology_hash}; save the face anew" in refused(folder)


def test_a_face_refuses_what_does_not_fit(whole):
    mirror = np.roll(np.arange(len(whole.template), dtype=np.int32), 1)
    with pytest.raises(VisemoError, match="mirror pairs that do not come in pairs"):
        replace(whole, mirror=mirror)
    part = replace(whole.parts[0], shapes=whole.parts[0].shapes[1:])
    with pytest.raises(VisemoError, match="part teeth: got 7 shapes, expected the face's 8"):
        replace(whole, parts=(part,))
    with pytest.raises(VisemoError, match="shape: got 'jaw', expected one of jawOpen, mouthPucker"):
        whole.shape("jaw")
    np.testing.assert_array_equal(whole.shape("mouthPucker"), whole.shapes[1])


def test_landmarks_and_cuts_must_fit(tiny_face):
    with pytest.raises(VisemoError, match="landmarks"):
        replace(tiny_face, landmarks={30: len(tiny_face.template)})
    with pytest.raises(VisemoError, match="numbers 0 to 67"):
        replace(tiny_face, landmarks={68: 0})
    with pytest.raises(VisemoError, match="one per vertex"):
        replace(tiny_face, cut=Cut("0123456789abcdef", np.zeros(3, np.int32)))
