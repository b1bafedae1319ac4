"""GLB files read back by an own reader, Khronos' validator, three.js and Blender."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest

from toy_face import toy_clip, toy_face
from visemo.export.gltf import write_glb
from visemo.face.attach import part_bases
from visemo.face.face import Face
from visemo.geometry.mesh import vertex_normals
from visemo.media import load_audio
from visemo.render.video import FaceRenderer
from visemo.types import Animation, VisemoError

KINDS = {5126: np.float32, 5123: np.uint16, 5125: np.uint32}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


class Glb:
    """A reader of its own: chunks, accessors (sparse ones too) and nothing else."""

    def __init__(self, path: Path):
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        self.json = json.loads(data[20 : 20 + size])
        self.binary = data[20 + size + 8 :]
        self.mesh, self.animation = self.json["meshes"][0], self.json["animations"][0]

    def view(self, index: int, kind: int, count: int, width: int, offset: int = 0) -> np.ndarray:
        start = self.json["bufferViews"][index]["byteOffset"] + offset
        return np.frombuffer(self.binary, KINDS[kind], count * width, start).reshape(count, width)

    def read(self, index: int) -> np.ndarray:
        entry = self.json["accessors"][index]
        width, kind, count = WIDTHS[entry["type"]], entry["componentType"], entry["count"]
        values = np.zeros((count, width), KINDS[kind])
        if "bufferView" in entry:
            values = self.view(entry["bufferView"], kind, count, width).copy()
        if "sparse" in entry:
            sparse = entry["sparse"]
            rows = self.view(sparse["indices"]["bufferView"], sparse["indices"]["componentType"], sparse["count"], 1)
            values[rows[:, 0]] = self.view(sparse["values"]["bufferView"], kind, sparse["count"], width)
        return values

    def targets(self, primitive: dict, name: str = "POSITION") -> np.ndarray:
        return np.stack([self.read(target[name]) for target in primitive["targets"]])

    def curve(self, path: str) -> np.ndarray:
        (channel,) = [c for c in self.animation["channels"] if c["target"]["path"] == path]
        return self.read(self.animation["samplers"][channel["sampler"]]["output"])

    def weights(self) -> np.ndarray:
        return self.curve("weights").reshape(-1, len(self.mesh["weights"]))

    def vertices(self, primitive: dict) -> np.ndarray:
        """(T, P, 3): base + weights x targets."""
        base = self.read(primitive["attributes"]["POSITION"])
        return base + np.tensordot(self.weights(), self.targets(primitive), axes=1)


@pytest.fixture(scope="module")
def face() -> Face:
    return toy_face()


@pytest.fixture(scope="module")
def clip() -> Animation:
    return toy_clip(life=True)


@pytest.fixture(scope="module")
def native(clip: Animation, face: Face, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("glb") / "take.glb"
    assert write_glb(clip, path, face=face) == (path, path.with_suffix(".wav"))
    return path


@pytest.fixture(scope="module")
def arkit(clip: Animation, face: Face, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("glb") / "take.glb"
    write_glb(clip, path, shapes="arkit", face=face)
    return path


def test_weights_times_targets_are_the_take(native: Path, clip: Animation, face: Face) -> None:
    """Without its life the take's vertices, to a hundredth of a millimetre; with it what the renderer draws."""
    glb = Glb(native)
    names = glb.mesh["extras"]["targetNames"]
    assert names == ["speech_000", "speech_001", "expression_000", "eyeBlinkLeft", "eyeLookOutLeft"]
    own = [not name.startswith("eye") for name in names]
    primitive = glb.mesh["primitives"][0]
    base = glb.read(primitive["attributes"]["POSITION"])
    spoken = base + np.tensordot(glb.weights()[:, own], glb.targets(primitive)[own], axes=1)
    assert np.abs(spoken - clip.vertices).max() < 1e-5
    renderer = FaceRenderer(face, clip.basis, 64)
    still = replace(clip, head_pose=None)
    whole = np.concatenate([glb.vertices(primitive) for primitive in glb.mesh["primitives"]], axis=1)
    drawn = np.stack([renderer.vertices(still, t) for t in range(clip.frames)])
    assert np.abs(whole - drawn).max() < 1e-5


def test_parts_morph_along(native: Path, clip: Animation, face: Face) -> None:
    glb = Glb(native)
    bases = part_bases(face, clip.basis)
    for part, primitive in zip(face.parts, glb.mesh["primitives"][1:], strict=True):
        material = glb.json["materials"][primitive["material"]]
        assert material["name"] == part.name
        assert material["pbrMetallicRoughness"]["roughnessFactor"] == pytest.approx(0.6 - 0.5 * part.gloss)
        assert np.abs(glb.targets(primitive)[:3] - bases[part.name]).max() < 1e-7
        assert np.array_equal(glb.read(primitive["indices"]).reshape(-1, 3), part.triangles)
        assert np.array_equal(glb.read(primitive["attributes"]["COLOR_0"]), part.colors)


def test_normals_turn_with_the_targets(native: Path, clip: Animation) -> None:
    glb = Glb(native)
    primitive = glb.mesh["primitives"][0]
    rest = glb.read(primitive["attributes"]["NORMAL"])
    open_mouth = clip.template + clip.basis[0]
    wanted = vertex_normals(open_mouth, clip.triangles)
    assert np.abs(rest + glb.targets(primitive, "NORMAL")[0] - wanted).max() < 5e-3
    assert np.abs(wanted - rest).max() > 0.05


def test_head_motion_moves_the_node(native: Path, clip: Animation) -> None:
    glb = Glb(native)
    assert clip.head_pose is not None
    assert np.allclose(glb.curve("translation"), clip.head_pose[:, :3])
    assert np.allclose(glb.curve("rotation"), clip.head_pose[:, [4, 5, 6, 3]], atol=1e-6)
    times = glb.read(glb.animation["samplers"][0]["input"])[:, 0]
    assert np.allclose(times, np.arange(clip.frames) / clip.fps)


def test_rotations_never_take_the_long_way(clip: Animation, face: Face, tmp_path: Path) -> None:
    assert clip.head_pose is not None
    flipped = clip.head_pose * np.where(np.arange(clip.frames) % 2, -1, 1)[:, None].astype(np.float32)
    flipped[:, :3] = clip.head_pose[:, :3]
    write_glb(replace(clip, head_pose=flipped), tmp_path / "a.glb", face=face)
    rotation = Glb(tmp_path / "a.glb").curve("rotation")
    assert np.all(np.einsum("tk,tk->t", rotation[1:], rotation[:-1]) > 0)


def test_arkit_targets_are_the_faces_shapes(arkit: Path, face: Face) -> None:
    glb = Glb(arkit)
    names = glb.mesh["extras"]["targetNames"]
    assert sorted(names) == sorted(face.shape_names) and "jawOpen" in names
    targets = glb.targets(glb.mesh["primitives"][0])
    for name, target in zip(names, targets):
        assert np.abs(target - face.shape(name)).max() < 1e-7
    weights = glb.weights()
    assert weights.min() >= 0 and weights.max() <= 1 and weights[:, names.index("jawOpen")].max() > 0.5


def test_sound_lies_beside(native: Path, clip: Animation, face: Face, tmp_path: Path) -> None:
    assert clip.audio is not None
    assert Glb(native).json["asset"]["extras"] == {"sound": "take.wav"}
    assert load_audio(native.with_suffix(".wav")).seconds == clip.audio.seconds
    silent = replace(clip, audio=None)
    assert write_glb(silent, tmp_path / "a.glb", face=face) == (tmp_path / "a.glb",)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.glb"]


def test_another_library_reads_it(native: Path, clip: Animation) -> None:
    loaded = pygltflib.GLTF2().load(str(native))
    assert loaded is not None
    mesh = loaded.meshes[0]
    assert len(mesh.primitives[0].targets) == 5 and mesh.extras["targetNames"][0] == "speech_000"
    assert loaded.accessors[loaded.animations[0].samplers[0].output].count == clip.frames * 5


def test_another_persons_parts_go_along(clip: Animation, face: Face, tmp_path: Path) -> None:
    shifted = replace(clip, template=clip.template + np.float32([0, 0.05, 0]))
    write_glb(shifted, tmp_path / "a.glb", face=face)
    glb = Glb(tmp_path / "a.glb")
    for part, primitive in zip(face.parts, glb.mesh["primitives"][1:]):
        moved = glb.read(primitive["attributes"]["POSITION"]) - part.vertices
        assert np.abs(moved - [0, 0.05, 0]).max() < 1e-6


def test_same_take_same_bytes(native: Path, clip: Animation, face: Face, tmp_path: Path) -> None:
    write_glb(clip, tmp_path / "take.glb", face=face)
    assert (tmp_path / "take.glb").read_bytes() == native.read_bytes()


def test_refusals(clip: Animation, face: Face, tmp_path: Path) -> None:
    with pytest.raises(VisemoError, match="expected one of native, arkit"):
        write_glb(clip, tmp_path / "a.glb", shapes="flame", face=face)  # type: ignore[arg-type]
    with pytest.raises(VisemoError, match="expected the face the take was made on"):
        write_glb(clip, tmp_path / "a.glb", face=replace(face, triangles=face.triangles[:, [1, 2, 0]]))
    with pytest.raises(VisemoError, match="expected an existing one"):
        write_glb(clip, tmp_path / "no" / "a.glb", face=face)
    lost = replace(clip, lively_names=("eyeBlinkLeft", "earWiggle"))
    with pytest.raises(VisemoError, match="earWiggle"):
        write_glb(lost, tmp_path / "a.glb", face=face)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["native", "arkit"])
def test_khronos_validator_finds_nothing(name: str, node, request: pytest.FixtureRequest) -> None:
    assert_valid(node("validate.mjs", request.getfixturevalue(name)))


@pytest.mark.parametrize("frames", [1, 30])
def test_khronos_validator_finds_nothing_in_plain_takes(frames: int, node, face: Face, tmp_path: Path) -> None:
    write_glb(toy_clip(frames, sound=False), tmp_path / "a.glb", normals=False, face=face)
    assert_valid(node("validate.mjs", tmp_path / "a.glb"))


def assert_valid(report: dict) -> None:
    assert (report["numErrors"], report["numWarnings"]) == (0, 0), report["messages"]
    assert report["info"]["hasMorphTargets"] and report["info"]["animationCount"] == 1


def test_three_js_plays_it(native: Path, node, clip: Animation, face: Face) -> None:
    """At t = 1 s every influence is the take's weight and every vertex where the renderer has it."""
    seen = node("play.mjs", native, 1.0)
    assert seen["seconds"] == pytest.approx((clip.frames - 1) / clip.fps, abs=1e-5)
    assert clip.lively_weights is not None
    wanted = np.concatenate([clip.weights[30], clip.lively_weights[30]])
    drawn = FaceRenderer(face, clip.basis, 64).vertices(clip, 30)
    assert [mesh["material"] for mesh in seen["meshes"]] == ["face", *(part.name for part in face.parts)]
    at = 0
    for mesh in seen["meshes"]:
        assert mesh["names"] == Glb(native).mesh["extras"]["targetNames"]
        assert np.allclose(mesh["influences"], wanted, atol=1e-5)
        rows = at + np.array([0, mesh["count"] >> 1, mesh["count"] - 1])
        assert np.allclose(mesh["points"], drawn[rows], atol=2e-5)
        at += mesh["count"]


def test_three_js_interpolates(native: Path, node, clip: Animation) -> None:
    seen = node("play.mjs", native, 0.5 * (10 + 11) / clip.fps)
    assert np.allclose(seen["meshes"][0]["influences"][:3], clip.weights[10:12].mean(axis=0), atol=1e-5)


def test_blender_imports_it(native: Path, blender, clip: Animation, face: Face) -> None:
    seen = blender(native, clip.fps)
    assert seen["names"] == ["Basis", *Glb(native).mesh["extras"]["targetNames"]]
    assert seen["range"][1] - seen["range"][0] == pytest.approx(clip.frames - 1, abs=0.01)
    assert np.allclose(seen["last"][:3], clip.weights[-1], atol=1e-4)
    assert set(seen["materials"]) == {"face", *(part.name for part in face.parts)}
    assert seen["vertices"] >= len(face.template)
