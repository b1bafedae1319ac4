"""What every peer writes comes back: the motion that was planted, in metres, at its rate, frame after frame."""

import numpy as np
import pytest
import torch

import peer_files as peer
from face.flame_models import random_model
from peer_files import SUBJECT, head, talking
from tiny import tone
from toy_corpus import make_toy_store
from visemo.data.peers import Bodies, find_clips
from visemo.data.peers.clip import BLOCK
from visemo.data.store import open_store
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.flame_layer import FlameLayer

NOTHING = Bodies()
BIWI = 23370


def read_one(path, bodies=NOTHING):
    """The name and the clip of a path that holds one."""
    (found,) = find_clips(path, bodies)
    return found.name, found.read()


# ---------------------------------------------------------------- meshes


@pytest.mark.parametrize(
    ("write", "format", "fps"),
    [
        (peer.write_voca, "VOCA", 60),
        (peer.write_emote, "EMOTE", 25),
        (peer.write_emovoca, "EmoVOCA", 60),
    ],
)
@pytest.mark.parametrize("unit", ["m", "mm"])
def test_meshes_in_a_folder(tmp_path, write, format, fps, unit):
    scale = 1 if unit == "m" else 1000
    planted = talking(fps, seconds=0.1, count=300)
    name, clip = read_one(write(tmp_path / "M003_Happy_2", scale * planted))
    assert (name, clip.name, clip.format, clip.fps) == ("M003_Happy_2", "M003_Happy_2", format, fps)
    np.testing.assert_allclose(clip.vertices, planted, atol=1e-7)
    assert clip.triangles is not None and clip.triangles.shape == (228, 3)
    assert (clip.sound is not None) == (format == "EMOTE")
    assert clip.notes == (() if unit == "m" else ("converted from mm",))


def test_frame_1000_comes_after_frame_999(tmp_path):
    planted = np.repeat(head(80)[None], 1002, axis=0)
    planted[:, 0, 0] += np.arange(1002) / 1e5
    _, clip = read_one(peer.write_emovoca(tmp_path / "long", planted))
    assert (tmp_path / "long" / "Meshes" / "tst1001.ply").is_file()
    np.testing.assert_array_equal(clip.vertices, planted)


def test_visemo_s_own_meshes_and_a_folder_of_clips(tmp_path):
    planted = talking(30, 0.1, 30)
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        for k, frame in enumerate(planted):
            peer.write_obj(tmp_path / name / f"frame_{k:06d}.obj", frame, np.arange(30).reshape(-1, 3), False)
    (tmp_path / "notes.txt").write_text("not a clip")
    found = find_clips(tmp_path, NOTHING)
    assert [clip.name for clip in found] == ["a", "b"]
    assert found[0].read().format == "visemo meshes" and found[0].read().fps == 30


# ---------------------------------------------------------------- arrays


def test_faceformer_and_codetalker(tmp_path):
    planted = talking(30, 0.2)
    sentence = f"{SUBJECT}_sentence01"  # predicted from a recording's sound, it goes by the recording's name
    for path in (
        peer.write_flat(tmp_path / "result" / f"{sentence}.npy", planted),
        peer.write_codetalker(tmp_path / "npy", sentence, planted),
    ):
        name, clip = read_one(path)
        assert (name, clip.format, clip.fps) == (sentence, "FaceFormer or CodeTalker", 30)
        np.testing.assert_array_equal(clip.vertices, planted)
    peer.write_codetalker(tmp_path / "two", sentence, planted, ("A", "B"))
    peer.write_codetalker(tmp_path / "two", "other", planted)
    names = [found.name for found in find_clips(tmp_path / "two", NOTHING)]
    assert names == [f"{sentence}_condition_{style}_subject_{SUBJECT}" for style in "AB"] + ["other"]


@pytest.mark.parametrize(("scale", "unit"), [(1, None), (5, "BIWI's unit"), (100, "cm")])
def test_biwi_has_25_frames_and_a_unit_of_its_own(tmp_path, scale, unit):
    planted = np.repeat(head(BIWI)[None], 3, axis=0)
    _, clip = read_one(peer.write_flat(tmp_path / "F1_e01.npy", scale * planted))
    assert clip.fps == 25 and clip.notes == ((f"converted from {unit}",) if unit else ())
    np.testing.assert_allclose(clip.vertices, planted, atol=1e-7)


def test_vocaset(tmp_path):
    planted = talking(60, 0.2)
    folder = peer.write_vocaset(tmp_path, f"{SUBJECT}_sentence01", planted)
    peer.write_vocaset(tmp_path, "FaceTalk_170908_03277_TA_sentence02", planted)  # a subject without a template
    found = find_clips(folder, NOTHING)
    clip = found[0].read()
    assert (found[0].name, clip.format, clip.fps) == (f"{SUBJECT}_sentence01", "VOCASET", 60)
    np.testing.assert_array_equal(clip.vertices, planted)
    np.testing.assert_array_equal(clip.template, head())
    assert clip.sound is not None and clip.sound.seconds == pytest.approx(tone(0.5).seconds)
    assert found[1].read().template is None


def test_arrays_of_vertices(tmp_path):
    planted = talking(60, 0.1)
    np.save(tmp_path / "m1_s1_Happy_1.npy", planted.astype(np.float64))
    name, clip = read_one(tmp_path / "m1_s1_Happy_1.npy")
    assert (name, clip.format, clip.fps) == ("m1_s1_Happy_1", "EmoVOCA set", 60)
    np.testing.assert_array_equal(clip.vertices, planted)
    np.save(tmp_path / "other.npy", talking(30, 0.1, 40))
    assert read_one(tmp_path / "other.npy")[1].fps == 30


def test_unitalker(tmp_path):
    flame, biwi = talking(30, 0.1), np.repeat(head(BIWI)[None], 3, axis=0)
    takes = {"one.wav": {"D1": flame}, "de/two.mp3": {"D0": biwi, "D1": flame.reshape(len(flame), -1)}}
    found = {clip.name: clip.read() for clip in find_clips(peer.write_unitalker(tmp_path / "demo.npz", takes), NOTHING)}
    assert {name: clip.fps for name, clip in found.items()} == {"one": 30, "de_two_D0": 25, "de_two_D1": 30}
    for name in ("one", "de_two_D1"):
        np.testing.assert_array_equal(found[name].vertices, flame)
    np.testing.assert_array_equal(found["de_two_D0"].vertices, biwi)


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("written", "format", "fps"),
    [
        ((peer.write_diffposetalk, "out.npz", 50), "DiffPoseTalk", 25),
        ((peer.write_emote_parameters, "flame_M003.pkl", 50), "EMOTE parameters", 25),
        ((peer.write_voca_parameters, "params.npy", 100), "VOCA parameters", 60),
        ((peer.write_artalk, "x_motions.pt", 100), "ARTalk", 25),
    ],
)
def test_flame_parameters(tmp_path, written, format, fps):
    write, name, wide = written
    model, frames = random_model(), BLOCK + 2  # more than are posed at once
    chance = np.random.default_rng(0)
    expression, jaw, shape = chance.normal(size=(frames, wide)), np.zeros((frames, 3)), chance.normal(size=300)
    expression[:, 2:], shape[3:] = 0, 0  # the model has two components and three
    jaw[:, 0] = np.linspace(0, 0.3, frames)
    person = {"shape": shape} if format != "ARTalk" else {}
    layer = FlameLayer(model)
    single = {key: torch.tensor(value[None, :3], dtype=torch.float32) for key, value in person.items()}
    late = [torch.tensor(part[-1:], dtype=torch.float32) for part in (expression[:, :2], jaw)]
    with torch.no_grad():
        rest, last = layer(**single)[0], layer(**single, expression=late[0], jaw=late[1])[0]
    path = write(tmp_path / name, expression, jaw, **person)
    _, clip = read_one(path, Bodies(model))
    assert (clip.format, clip.fps, clip.vertices.shape) == (format, fps, (frames, 5023, 3))
    np.testing.assert_allclose(clip.vertices[-1], last, atol=2e-6)
    assert clip.template is not None
    np.testing.assert_allclose(clip.template, rest, atol=2e-6)
    np.testing.assert_array_equal(clip.triangles, model.triangles)
    assert "head and neck straight" in clip.notes[0]


# ---------------------------------------------------------------- curves


@pytest.fixture
def curves():
    time = np.arange(12) / 30
    return {"jawOpen": 0.5 + 0.4 * np.sin(9 * time), "browInnerUp": time, "mouthSmileLeft": 0.3 + 0 * time}


def shown(face, curves):
    return face.template + sum(curve[:, None, None] * face.shape(name) for name, curve in curves.items())


def test_emotalk_is_alphabetical(tmp_path, tiny_face, curves):
    assert sorted(ARKIT_NAMES) != list(ARKIT_NAMES)
    name, clip = read_one(peer.write_emotalk(tmp_path / "level1.npy", curves), Bodies(face=tiny_face))
    assert (name, clip.format, clip.fps, clip.face) == ("level1", "EmoTalk", 30, "tiny")
    np.testing.assert_allclose(clip.vertices, shown(tiny_face, curves), atol=1e-6)
    np.testing.assert_array_equal(clip.template, tiny_face.template)


def test_audio2face(tmp_path, tiny_face, curves):
    time = np.arange(12) / 30
    tongue = {"tongueCurlUp": np.ones(12)}  # not ARKit's
    folder = peer.write_audio2face(tmp_path / "2025_01_01", time, curves | tongue)
    name, clip = read_one(folder, Bodies(face=tiny_face))
    assert (name, clip.format, clip.fps) == ("2025_01_01", "Audio2Face-3D", 30) and clip.sound is not None
    np.testing.assert_allclose(clip.vertices, shown(tiny_face, curves), atol=1e-6)
    # a frame that was lost is bridged
    kept = np.arange(12) != 5
    folder = peer.write_audio2face(tmp_path / "lost", time[kept], {name: c[kept] for name, c in curves.items()})
    lost = read_one(folder, Bodies(face=tiny_face))[1]
    assert lost.fps == 30 and len(lost.vertices) == 12
    np.testing.assert_allclose(lost.vertices[7:], clip.vertices[7:], atol=1e-6)
    exported = peer.write_audio2face_json(tmp_path / "a.json", 24.0, curves)
    _, clip = read_one(exported, Bodies(face=tiny_face))
    assert (clip.format, clip.fps) == ("Audio2Face", 24)
    np.testing.assert_allclose(clip.vertices, shown(tiny_face, curves), atol=1e-6)


def test_live_link_face(tmp_path, tiny_face, curves):
    rows = [f"00:00:01:{2 * k:02d}.000,3,{','.join(str(c[k]) for c in curves.values())}" for k in range(12)]
    titles = ",".join(name[0].upper() + name[1:] for name in curves)
    (tmp_path / "take.csv").write_text("\n".join([f"Timecode,BlendShapeCount,{titles}", *rows]) + "\n")
    _, clip = read_one(tmp_path / "take.csv", Bodies(face=tiny_face))
    assert clip.format == "Live Link Face"
    np.testing.assert_allclose(clip.vertices[0], shown(tiny_face, curves)[0], atol=1e-6)


# ---------------------------------------------------------------- our own


@pytest.mark.parametrize("vertices", [True, False])
def test_a_take(tmp_path, tiny_face, vertices):
    weights = np.random.default_rng(0).uniform(0, 1, (6, len(tiny_face.shapes))).astype(np.float32)
    sound = {"audio": tone(0.2).samples, "sample_rate": 16_000}
    np.savez(tmp_path / "take.npz", **peer.take_arrays(tiny_face, weights, 50, vertices), **sound)
    _, clip = read_one(tmp_path / "take.npz")
    assert clip.sound is not None and clip.sound.sample_rate == 16_000
    assert (clip.format, clip.fps, clip.face) == ("visemo take", 50, "tiny")
    np.testing.assert_allclose(clip.vertices, peer.take_arrays(tiny_face, weights, 50, True)["vertices"], atol=1e-7)
    np.testing.assert_array_equal(clip.template, tiny_face.template)


def test_a_store_and_one_of_its_takes(tmp_path, tiny_face):
    store = open_store(make_toy_store(tmp_path / "store", tiny_face, subjects=5, takes=1))
    found = find_clips(store.folder, NOTHING)
    assert [clip.name for clip in found] == [take.id for take in store.sequences]
    id = found[0].name
    clip, (alone,) = found[0].read(), find_clips(store.folder / "takes" / f"{id}.npy", NOTHING)
    neutral = store.neutral(store.sequence(id).subject)
    np.testing.assert_allclose(clip.vertices, neutral + np.asarray(store.motion(id), np.float32), atol=1e-7)
    np.testing.assert_array_equal(clip.vertices, alone.read().vertices)
    assert (clip.fps, clip.face) == (30, "tiny")
