"""glTF and VRM files in the published layouts, and damaged ones."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gltf_files import Gltf, container
from visemo.face.rigs.avatar_file import read_avatar_rig
from visemo.face.rigs.gltf import read_gltf
from visemo.types import VisemoError

SQUARE = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
TWO = np.array([[0, 1, 2], [0, 2, 3]])
MOVES = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
NAMES = ["jawOpen", "mouthSmileLeft", "browInnerUp"]


def plain(**more) -> Gltf:
    gltf = Gltf()
    gltf.mesh([gltf.primitive(SQUARE, TWO, MOVES)], extras={"targetNames": NAMES}, **more)
    return gltf


def by_place(rig, wanted: np.ndarray) -> np.ndarray:
    """Rows of a rig in the order of some positions: sewing up may reorder vertices."""
    return np.array([np.abs(rig.mesh.vertices - point).sum(axis=1).argmin() for point in wanted])


@pytest.mark.parametrize("name", ["a.glb", "a.vrm", "a.gltf"])
def test_targets_come_back_by_their_names(tmp_path, name):
    rig = read_avatar_rig(plain().write(tmp_path / name))
    rows = by_place(rig, SQUARE)
    assert rig.name == "a" and rig.shape_names == tuple(NAMES)
    assert np.allclose(rig.shapes[:, rows], MOVES, atol=1e-6)
    assert {frozenset(t) for t in rig.mesh.triangles.tolist()} == {frozenset(rows[t].tolist()) for t in TWO}


def test_nodes_and_bones_place_vertices_and_turn_what_moves_them(tmp_path):
    gltf = plain(node={"translation": [0, 1, 0], "rotation": [0, np.sqrt(0.5), 0, np.sqrt(0.5)], "scale": [2, 2, 2]})
    shift = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 0, 0, 1]  # column by column
    gltf.document["nodes"].append({"children": [0], "matrix": shift})
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # a quarter about y
    placed = 2 * SQUARE @ turn.T + [5, 1, 0]
    rig = read_avatar_rig(gltf.write(tmp_path / "a.glb"))
    assert np.allclose(rig.shapes[:, by_place(rig, placed)], 2 * MOVES @ turn.T, atol=1e-5)

    boned = Gltf()
    primitive = boned.primitive(SQUARE, TWO, MOVES)
    primitive["attributes"] |= {
        "JOINTS_0": boned.add(np.tile(np.uint8([0, 1, 0, 0]), (4, 1))),
        "WEIGHTS_0": boned.add(np.tile(np.uint8([128, 127, 0, 0]), (4, 1)), normalized=True),
    }
    boned.mesh([primitive], node={"skin": 0, "translation": [9, 9, 9]}, extras={"targetNames": NAMES})
    boned.document["nodes"] += [{"translation": [0, 3, 0]}, {"translation": [0, 3, 0]}]
    lowered = np.eye(4, dtype=np.float32)
    lowered[1, 3] = -1
    boned.document["skins"] = [{"joints": [1, 2], "inverseBindMatrices": boned.add(np.stack([lowered.T, lowered.T]))}]
    rig = read_avatar_rig(boned.write(tmp_path / "b.glb"))
    bound = SQUARE + np.float32([0, 2, 0])  # the bones' places; the node's own is not used
    assert np.allclose(rig.shapes[:, by_place(rig, bound)], MOVES, atol=1e-6)


def test_sparse_strided_and_quantised_numbers(tmp_path):
    gltf = Gltf()
    wide = np.zeros((4, 4), np.float32)
    wide[:, :3] = SQUARE
    view = gltf.view(wide, byteStride=16)
    accessors = gltf.document["accessors"]
    accessors.append({"bufferView": view, "componentType": 5126, "count": 4, "type": "VEC3"})
    sparse = {
        "count": 1,
        "indices": {"bufferView": gltf.view(np.uint8([2])), "componentType": 5121},
        "values": {"bufferView": gltf.view(np.float32([[0, 0, 0.5]]))},
    }
    accessors.append({"componentType": 5126, "count": 4, "type": "VEC3", "sparse": sparse})
    small = gltf.add(np.int8([[127, 0, 0], [0, -128, 0], [0, 0, 0], [0, 0, 64]]), normalized=True)
    primitive = {"attributes": {"POSITION": 0}, "targets": [{"POSITION": 1}, {"POSITION": small}, {"NORMAL": 1}]}
    strip = {**primitive, "mode": 5, "indices": gltf.add(np.uint8([0, 1, 3, 2]))}
    fan = {**primitive, "mode": 6, "indices": gltf.add(np.uint8([0, 1, 2, 3]))}
    points = {**primitive, "mode": 0}
    gltf.mesh([strip])
    gltf.mesh([fan, points])
    _, (first, second) = read_gltf(gltf.write(tmp_path / "a.glb"))
    assert first.names == ("target_000", "target_001", "target_002")
    assert first.triangles.tolist() == [[0, 1, 3], [3, 1, 2]] and second.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert np.array_equal(first.vertices, SQUARE) and not first.deltas[2].any()
    assert np.array_equal(first.deltas[0], np.float32([[0, 0, 0]] * 2 + [[0, 0, 0.5]] + [[0, 0, 0]]))
    assert np.allclose(
        first.deltas[1][[0, 1, 3]].max(axis=1) + first.deltas[1][[0, 1, 3]].min(axis=1), [1, -1, 64 / 127]
    )


def test_seams_are_sewn_but_not_lips(tmp_path):
    """Two halves that meet in an edge; its ends move alike in both, but for one."""
    moves = np.zeros((1, 6, 3), np.float32)
    moves[0, 3] = [0, -1, 0]
    vertices = np.concatenate([SQUARE[[0, 1, 2]], SQUARE[[0, 2, 3]]])
    gltf = Gltf()
    first = gltf.primitive(vertices[:3], np.array([[0, 1, 2]]), moves[:, :3])
    second = gltf.primitive(vertices[3:], np.array([[0, 1, 2]]), moves[:, 3:])
    gltf.mesh([first, second], extras={"targetNames": ["jawOpen"]})
    rig = read_avatar_rig(gltf.write(tmp_path / "a.glb"))
    assert len(rig.mesh.vertices) == 5 and len(rig.mesh.triangles) == 2  # six, one pair of which moves alike


def vrm0() -> Gltf:
    """As UniVRM writes it: names beside the primitives, weights in percent."""
    gltf = Gltf()
    gltf.mesh([gltf.primitive(SQUARE, TWO, MOVES, extras={"targetNames": NAMES})])
    gltf.mesh([gltf.primitive(SQUARE + 2, TWO, MOVES[:1])])
    groups = [
        {"name": "Neutral", "presetName": "neutral", "binds": [], "materialValues": []},
        {
            "name": "A", "presetName": "a", "isBinary": False, "materialValues": [],
            "binds": [{"mesh": 0, "index": 0, "weight": 100}, {"mesh": 1, "index": 0, "weight": 50}],
        },
        {"presetName": "joy", "binds": [{"mesh": 0, "index": 1, "weight": 80}, {"mesh": 0, "index": 2, "weight": 20}]},
        {"name": "Star", "presetName": "unknown", "isBinary": True, "binds": [{"mesh": 0, "index": 1, "weight": 100}]},
    ]  # fmt: skip
    gltf.document["extensionsUsed"] = ["VRM"]
    gltf.document["extensions"] = {
        "VRM": {"exporterVersion": "UniVRM-0.99", "blendShapeMaster": {"blendShapeGroups": groups}}
    }
    return gltf


def test_vrm_0_expressions_are_turned_to_look_ahead(tmp_path):
    rig = read_avatar_rig(vrm0().write(tmp_path / "kid.vrm"))
    assert rig.shape_names == ("A", "joy") and "Neutral, Star" in rig.notes[0]
    ahead = np.float32([-1, 1, -1])
    rows, others = by_place(rig, SQUARE * ahead), by_place(rig, (SQUARE + 2) * ahead)
    assert np.allclose(rig.shapes[0, rows], MOVES[0] * ahead, atol=1e-6)
    assert np.allclose(rig.shapes[0, others], 0.5 * MOVES[0] * ahead, atol=1e-6)
    assert np.allclose(rig.shapes[1, rows], (0.8 * MOVES[1] + 0.2 * MOVES[2]) * ahead, atol=1e-6)
    assert not rig.shapes[1, others].any()


def vrm1() -> Gltf:
    gltf = plain()
    gltf.document["nodes"].insert(0, {"name": "root", "children": [1]})  # binds name the node, not the mesh
    bind = {"node": 1, "index": 0, "weight": 0.5}
    expressions = {
        "preset": {
            "aa": {"morphTargetBinds": [bind], "overrideBlink": "none", "isBinary": False},
            "neutral": {"isBinary": False},
        },
        "custom": {"grin": {"morphTargetBinds": [{**bind, "index": 1, "weight": 1}]}},
    }
    gltf.document["extensions"] = {"VRMC_vrm": {"specVersion": "1.0", "expressions": expressions}}
    return gltf


def test_vrm_1_expressions(tmp_path):
    rig = read_avatar_rig(vrm1().write(tmp_path / "kid.vrm"))
    rows = by_place(rig, SQUARE)
    assert rig.shape_names == ("aa", "grin") and "neutral" in rig.notes[0]
    assert np.allclose(rig.shapes[:, rows], [0.5 * MOVES[0], MOVES[1]], atol=1e-6)


# ---------------------------------------------------------------- what is damaged


def test_our_own_files_are_read_back(tmp_path):
    from toy_face import toy_clip, toy_face
    from visemo.export.gltf import write_glb

    face = toy_face()
    write_glb(toy_clip(3, sound=False), tmp_path / "toy.glb", shapes="arkit", face=face)
    _, (head,) = read_gltf(tmp_path / "toy.glb")
    assert sorted(head.names) == sorted(face.shape_names)
    planted = np.stack([face.shape(name) for name in head.names])
    assert np.allclose(head.vertices[: len(face.template)], face.template)
    assert np.abs(head.deltas[:, : len(face.template)] - planted).max() < 1e-7


def change(gltf: Gltf, **changes) -> Gltf:
    gltf.document |= changes
    return gltf


def far(gltf: Gltf) -> Gltf:
    gltf.document["accessors"][0]["count"] = 40
    return gltf


def huge(gltf: Gltf) -> Gltf:
    gltf.document["accessors"][0] |= {"count": 10**12}
    gltf.document["accessors"][0].pop("bufferView")
    return gltf


def looped(gltf: Gltf) -> Gltf:
    gltf.document["nodes"][0]["children"] = [0]
    return gltf


def wild(gltf: Gltf) -> Gltf:
    gltf.document["accessors"][gltf.document["meshes"][0]["primitives"][0]["indices"]]["bufferView"] = gltf.view(
        np.uint16([0, 1, 9, 0, 2, 3])
    )
    return gltf


def nan(gltf: Gltf) -> Gltf:
    gltf.document["accessors"][0]["bufferView"] = gltf.view(np.full((4, 3), np.nan, np.float32))
    return gltf


def elsewhere(gltf: Gltf) -> Gltf:
    gltf.document["accessors"][0]["bufferView"] = gltf.view(SQUARE)
    gltf.document["bufferViews"][-1]["buffer"] = 1
    return gltf


@pytest.mark.parametrize(
    ("gltf", "said"),
    [
        (change(plain(), asset={"version": "1.0"}), "got no glTF 2.0"),
        (change(plain(), extensionsRequired=["KHR_draco_mesh_compression"]), "packed by KHR_draco_mesh_compression"),
        (far(plain()), "beyond its buffer"),
        (huge(plain()), "got 1000000000000 entries in one accessor"),
        (looped(plain()), "among its own children"),
        (wild(plain()), "triangles of vertices up to 9, expected them below 4"),
        (nan(plain()), "NaN or infinite"),
        (elsewhere(plain()), r"damaged glTF file \(IndexError"),
        (change(plain(), meshes=[]), r"damaged glTF file \(IndexError"),
        (change(plain(), nodes=[]), "got no morph targets"),
        (change(plain(), extensions=5), r"damaged expressions \(TypeError"),
        (change(vrm0(), extensions={"VRM": {}}), r"damaged expressions \(KeyError: 'blendShapeMaster'\)"),
        (change(vrm1(), extensions={"VRMC_vrm": {"expressions": {}}}), "no expression that moves a vertex gradually"),
    ],
)
def test_damaged_files_are_refused_in_one_line(gltf, said, tmp_path):
    with pytest.raises(VisemoError, match=said) as raised:
        read_avatar_rig(gltf.write(tmp_path / "a.glb"))
    assert "a.glb" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(("what", "number"), [("mesh", 7), ("index", 3)])
def test_binds_to_what_is_not_there(what, number, tmp_path):
    gltf = vrm0()
    groups = gltf.document["extensions"]["VRM"]["blendShapeMaster"]["blendShapeGroups"]
    groups[1]["binds"][0][what] = number
    with pytest.raises(VisemoError, match=r"got a bind to target \d of mesh"):
        read_avatar_rig(gltf.write(tmp_path / "a.vrm"))


def test_files_that_are_none(tmp_path):
    with pytest.raises(VisemoError, match="no such file"):
        read_gltf(tmp_path / "none.glb")
    (tmp_path / "a.glb").write_bytes(b"glTF\x01\0\0\0\xff\xff\0\0")
    with pytest.raises(VisemoError, match="got glTF version 1 of 12 bytes"):
        read_gltf(tmp_path / "a.glb")
    (tmp_path / "a.glb").write_bytes(b"not json")
    with pytest.raises(VisemoError, match="damaged glTF file"):
        read_gltf(tmp_path / "a.glb")
    (tmp_path / "a.glb").write_bytes(container(b"[]", b""))
    with pytest.raises(VisemoError, match=r"got no glTF 2\.0"):
        read_gltf(tmp_path / "a.glb")


def test_buffers_inside_the_text_or_beside_it_only(tmp_path):
    gltf = plain()
    path = gltf.write(tmp_path / "a.gltf")
    document = json.loads(path.read_text())
    document["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(gltf.binary).decode()
    path.write_text(json.dumps(document))
    assert read_avatar_rig(path).shape_names == tuple(NAMES)
    document["buffers"][0]["uri"] = "../a.bin"
    path.write_text(json.dumps(document))
    with pytest.raises(VisemoError, match=r"got a buffer in '\.\./a\.bin', expected a file beside it"):
        read_avatar_rig(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_ends_in_anything_but_one_line(data, tmp_path_factory):
    """Bytes changed anywhere: a rig or a refusal."""
    path: Path = tmp_path_factory.getbasetemp() / "damaged.glb"
    whole = bytearray(vrm1().write(path).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole))
    try:
        read_avatar_rig(path)
    except VisemoError as error:
        assert "\n" not in str(error)
