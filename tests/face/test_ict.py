"""The ICT head, from its pack of arrays and from OBJ files written in the published layout."""

import json
from pathlib import Path

import numpy as np
import pytest

from visemo.face import ict
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.ict import EXPRESSIONS, HEAD, INTERIOR, NEUTRAL, ict_face, ict_names
from visemo.face.library import load_face
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def pack(shared_data) -> Path:
    return shared_data / "ict"


@pytest.fixture(scope="module")
def face(pack):
    return ict_face(pack)


def write_published(pack: Path, folder: Path) -> None:
    """The model's folder as it is published: OBJ files of 26719 vertices, polygons of three and four, centimetres."""
    head, inner = (dict(np.load(pack / name)) for name in (HEAD, INTERIOR))
    rest = 26719 - len(head["neutral"]) - len(inner["neutral"])
    neutral = np.concatenate([head["neutral"], inner["neutral"], np.zeros((rest, 3))]).astype(np.float64)
    polygons = np.concatenate([head["faces_quad"], inner["faces_quad"]]) + 1
    words = [" ".join(f"{corner}/{corner}" for corner in row if corner) for row in polygons.tolist()]
    surface = "".join(f"f {row}\n" for row in words)

    def write(name: str, points: np.ndarray, faces: str = "") -> None:
        lines = "v %.15f %.15f %.15f\n" * len(points) % tuple(points.ravel().tolist())
        (folder / name).write_text(f"mtllib material.mtl\n{lines}vt 0.5 0.5\nusemtl skin\n{faces}")

    write(NEUTRAL, neutral, surface)
    for i, name in enumerate(head["expression_names"]):
        moved = np.concatenate([head["expression_deltas"][i], inner["expression_deltas"][i], np.zeros((rest, 3))])
        write(f"{name}.obj", neutral + moved)
    for i, name in enumerate(head["identity_names"]):
        moved = np.concatenate([head["identity_deltas"][i], np.zeros((26719 - 11248, 3))])
        write(f"{name}.obj", neutral + moved)
    (folder / "vertex_indices.json").write_text(json.dumps({"expressions": head["expression_names"].tolist()}))


def test_names_are_translated_and_all_of_them_are_there():
    assert ict_names("eyeBlinkLeft") == ("eyeBlink_L",) and ict_names("jawLeft") == ("jawLeft",)
    assert ict_names("mouthLeft") == ("mouthLeft",) and ict_names("mouthUpperUpRight") == ("mouthUpperUp_R",)
    assert ict_names("cheekPuff") == ("cheekPuff_L", "cheekPuff_R") and ict_names("tongueOut") == ()
    assert len(EXPRESSIONS) == len(set(EXPRESSIONS)) == 53


def test_the_face_is_the_pack_s_in_metres(face, pack):
    data = np.load(pack / HEAD)
    assert np.allclose(face.template, 0.01 * data["neutral"][:9409], atol=1e-8)
    names = data["expression_names"].tolist()
    assert set(names) == set(EXPRESSIONS) and face.shape_names == ARKIT_NAMES
    assert np.allclose(
        face.shape("jawOpen"), 0.01 * data["expression_deltas"][names.index("jawOpen"), :9409], atol=1e-8
    )
    both = sum(data["expression_deltas"][names.index(f"browInnerUp_{side}"), :9409] for side in "LR")
    assert np.allclose(face.shape("browInnerUp"), 0.01 * both, atol=1e-7)
    assert not face.shape("tongueOut").any() and len(face.identity_names) == 20
    assert np.allclose(face.identities, 0.01 * data["identity_deltas"][:, :9409], atol=1e-7)
    assert list(face.landmarks.values()) == data["landmarks68"].tolist()
    assert face.licence == "MIT" and face.template[face.landmarks[30], 2] > 0.13  # +z is out of the face
    quads = set(map(frozenset, data["faces_quad"][:9230].tolist()))
    assert len(face.triangles) == 2 * len(quads)
    triangles = set(map(tuple, np.sort(face.triangles, axis=1).tolist()))
    assert {tuple(sorted(row)) for row in face.mirror[face.triangles].tolist()} == triangles  # symmetric diagonals


def test_it_was_cut_out_of_the_head(face, pack):
    from visemo.assets import sha256

    head = np.load(pack / HEAD)
    assert face.cut.topology == sha256(head["faces_tri"])[:16]
    assert np.allclose(0.01 * head["neutral"][face.cut.rows], face.template, atol=1e-8)


def test_eyeballs_turn_about_their_middle_and_keep_their_size(face):
    parts = {part.name: part for part in face.parts}
    for side, look in (("left", "eyeLookOutLeft"), ("right", "eyeLookInRight")):  # both look to the face's left
        ball = parts[f"eye_{side}"]
        turned = ball.vertices + ball.shapes[ARKIT_NAMES.index(look)]
        pairs = np.random.default_rng(0).integers(0, len(turned), (2, 400))
        before, after = (np.linalg.norm(v[pairs[0]] - v[pairs[1]], axis=1) for v in (ball.vertices, turned))
        assert np.abs(after - before).max() < 1e-6  # rigid
        front = ball.vertices[:, 2].argmax()
        assert (
            turned[front, 0] - ball.vertices[front, 0] > 0.004
            and abs(turned[front, 1] - ball.vertices[front, 1]) < 1e-3
        )
        others = [row for row, name in enumerate(ARKIT_NAMES) if not name.startswith("eyeLook")]
        assert not ball.shapes[others].any()
        assert ball.colors[front].max() < 0.02 < ball.colors.max()  # a dark pupil in a pale ball


def test_what_is_inside_follows_the_jaw(face, pack):
    parts = {part.name: part for part in face.parts}
    falls = {
        name: np.linalg.norm(part.shapes[ARKIT_NAMES.index("jawOpen")], axis=1).mean() for name, part in parts.items()
    }
    assert falls["teeth_lower"] > 0.02 and falls["teeth_upper"] < 1e-4
    assert parts["teeth_upper"].vertices[:, 1].mean() > parts["teeth_lower"].vertices[:, 1].mean()
    inner = np.load(pack / INTERIOR)
    assert len(parts["gums"].vertices) == 2977 and len(parts["head"].vertices) > 1839
    row = inner["expression_names"].tolist().index("jawOpen")
    gums = slice(14062 - 11248, 17039 - 11248)
    source = 0.01 * inner["expression_deltas"][row, gums].astype(np.float64)
    assert np.allclose(parts["gums"].shapes[ARKIT_NAMES.index("jawOpen")], source, atol=1e-7)
    seam = np.abs(parts["mouth"].vertices[:, None] - face.template[face.regions["lips"]]).sum(axis=2).min(axis=1)
    assert (seam < 1e-9).sum() > 60  # it hangs on the lips' rim


def test_it_can_be_flattened(face):
    from visemo.face.maps import geometry_map

    assert geometry_map(face, 32).vertices == 9409


@pytest.mark.slow
def test_obj_files_give_the_same_face(face, pack, tmp_path):
    folder = tmp_path / "ICT-FaceKit" / "FaceXModel"
    folder.mkdir(parents=True)
    write_published(pack, folder)
    other = load_face(folder.parent)
    assert other.topology_hash == face.topology_hash and other.cut.topology == face.cut.topology
    assert np.abs(other.template - face.template).max() < 1e-8
    assert np.abs(other.shapes - face.shapes).max() < 1e-7 and np.abs(other.identities - face.identities).max() < 1e-7
    assert [part.name for part in other.parts] == [part.name for part in face.parts]
    for ours, theirs in zip(other.parts, face.parts):
        assert np.array_equal(ours.triangles, theirs.triangles) and np.abs(ours.shapes - theirs.shapes).max() < 1e-7
    assert np.array_equal(other.lip_pairs, face.lip_pairs) and other.landmarks == face.landmarks
    (folder / "jawOpen.obj").write_text("v 0 0 0\n")
    with pytest.raises(VisemoError, match=r"jawOpen\.obj: got 1 vertices, expected the 26719 of ICT-FaceKit"):
        load_face(folder)


def test_folders_that_are_not_whole_are_refused(tmp_path, pack, monkeypatch):
    monkeypatch.setenv("VISEMO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(VisemoError, match=r"got neither generic_neutral_mesh\.obj nor ict_facekit_head\.npz"):
        ict_face(tmp_path)
    (tmp_path / NEUTRAL).write_text("v 0 0 0\nf 1 1 1\n")
    with pytest.raises(VisemoError, match=r"got no eyeBlink_L\.obj \(53 of 53 expressions are missing\)"):
        ict_face(tmp_path)
    for name in EXPRESSIONS:
        (tmp_path / f"{name}.obj").write_text("v 0 0 0\n")
    with pytest.raises(VisemoError, match="got 1 vertices, expected the 26719"):
        ict_face(tmp_path)
    (tmp_path / NEUTRAL).write_text("v 0 zero 0\n")
    with pytest.raises(VisemoError, match="got a damaged OBJ file, expected x, y, z"):
        ict_face(tmp_path)
    (tmp_path / NEUTRAL).unlink()
    (tmp_path / HEAD).write_bytes(b"nothing")
    with pytest.raises(VisemoError, match="got no readable pack"):
        ict_face(tmp_path)
    head = dict(np.load(pack / HEAD))
    head["expression_names"][0] = "frown"
    np.savez(tmp_path / HEAD, **{name: head[name] for name in
             ("neutral", "faces_quad", "expression_names", "expression_deltas", "identity_deltas")})  # fmt: skip
    with pytest.raises(VisemoError, match="expected the 11248 and all 53"):
        ict_face(tmp_path)


def test_polygons_are_read_or_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ict, "HEAD_POLYGONS", 2)
    path = tmp_path / "mesh.obj"
    path.write_text("f 1/1 2/2 3/3\nf 4/4/4 5//5 6 7\n")
    assert ict._obj_polygons(path).tolist() == [[0, 1, 2, -1], [3, 4, 5, 6]]
    path.write_text("f 1 2 3\n")
    with pytest.raises(VisemoError, match="got 1 polygons"):
        ict._obj_polygons(path)
    path.write_text("f 1 2 x\n")
    with pytest.raises(VisemoError, match="expected triangles and quads"):
        ict._obj_polygons(path)


def test_the_name_ict_says_where_it_is_looked_for(tmp_path, monkeypatch, pack):
    monkeypatch.delenv("VISEMO_ICT", raising=False)
    with monkeypatch.context() as cached:
        cached.setenv("VISEMO_CACHE", str(tmp_path))
        with pytest.raises(VisemoError, match="run visemo fetch ict, or set VISEMO_ICT"):
            load_face("ict")
    monkeypatch.setenv("VISEMO_ICT", str(pack))
    assert load_face("ict").name == "ict"
