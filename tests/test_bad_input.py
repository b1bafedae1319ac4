"""What users get wrong: one clear line, exit code 2, no traceback, nothing half-written."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import peer_files as peer
from face.flame_models import random_arrays
from tiny import K_A, K_E, tone
from toy_avatar import flame_avatar_in
from visemo.cli.entry import main
from visemo.export.flame_track import write_flame_motion
from visemo.export.tracks import read_take
from visemo.face.flame import read_flame
from visemo.face.library import save_face
from visemo.geometry.mesh import write_mesh
from visemo.media import save_wav
from visemo.models.checkpoint import model_hash
from visemo.models.flame_map import FlameMap
from visemo.types import Mesh


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_folder, tiny_face) -> Path:
    """Good and bad files to point at; `{...}` in the cases below are names in here."""
    folder = tmp_path_factory.mktemp("bad")
    save_wav(tone(0.3), folder / "good.wav")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("This is no sound at all, only its name says so.\n" * 20)
    soundfile.write(folder / "zero.wav", np.zeros(0, np.float32), 16_000)
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        samples = tone(0.3).samples.copy()
        samples[100] = value
        soundfile.write(folder / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    soundfile.write(folder / "blip.wav", np.zeros(80, np.float32), 16_000)
    soundfile.write(folder / "silence.wav", np.zeros(16_000, np.float32), 16_000)

    for name, text in {
        "unsorted": '{"keys": [{"t": 1, "expression": "happy"}, {"t": 0, "expression": "sad"}]}',
        "unknown": '{"keys": [{"t": 0, "expression": "happy", "easing": "in"}]}',
        "smug": '{"keys": [{"t": 0, "expression": "smug"}]}',
        "broken": '{"keys": [',
    }.items():
        (folder / f"{name}.json").write_text(text)

    shutil.copytree(tiny_folder, folder / "cut")
    weights = folder / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    shutil.copytree(tiny_folder, folder / "foreign")
    (folder / "foreign" / "config.json").write_text('{"schema": "somebody-else/3", "face": {}}')
    shutil.copytree(tiny_folder, folder / "other")
    config = folder / "other" / "config.json"
    config.write_text(config.read_text() + "\n")  # another hash: another model
    (folder / "hollow").mkdir()
    (folder / "file").write_text("in the way")

    save_face(tiny_face, folder / "tiny_face")
    write_mesh(folder / "triangle.obj", Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32)))
    assert main(["animate", f"{folder}/good.wav", "--model", str(tiny_folder), "-o", f"{folder}/take.npz"]) == 0
    (folder / "cut.npz").write_bytes((folder / "take.npz").read_bytes()[:5000])
    (folder / "text.npz").write_text("hello")
    np.savez(folder / "array.npz", a=np.zeros(3))
    put_flame(folder, model_hash(tiny_folder))
    return folder


def put_flame(folder: Path, model: str) -> None:
    """Two FLAMEs, maps to both and one of another model, motions on the first, and an avatar."""
    np.savez(folder / "flame.npz", **random_arrays())
    np.savez(folder / "flame_b.npz", **random_arrays() | {"v_template": 1.01 * random_arrays()["v_template"]})
    flame = read_flame(folder / "flame.npz")
    known = FlameMap(np.zeros((5, K_A + K_E), np.float32), model, flame.hash, flame.edition, flame.basis, "tiny")
    known.save(folder / "known.map")
    replace(known, flame_hash=read_flame(folder / "flame_b.npz").hash).save(folder / "b.map")
    replace(known, model_hash="feed", model="somebody's").save(folder / "stranger.map")
    clip = read_take(folder / "take.npz")
    write_flame_motion(clip, folder / "take.flame.npz", flame_map=known)
    (folder / "clips").mkdir()
    still = (np.zeros((3, 50)), np.zeros((3, 3)), np.zeros(100))
    for place, first in ((folder / "clips" / "a.npz", 0), (folder / "clips" / "b.npz", 0), (folder / "wide.npz", 1)):
        peer.write_diffposetalk(place, np.full((3, 50), first), *still[1:])
    peer.write_flat(folder / "mesh.npy", peer.talking(30))
    flame_avatar_in(folder)
    (folder / "alone").mkdir()
    shutil.copy(folder / "point_cloud.ply", folder / "alone")


ANIMATE = "animate {place}/good.wav --model {model} -o {out}/t.npz "
SOUND = "animate {place}/%s --model {model} -o {out}/t.npz -o {out}/t.mp4"
EDIT = "edit {place}/take.npz --model {model} -o {out}/t.npz "
OTHER = EDIT.replace("{model}", "{place}/other")
TRAIN = "train fusion --data {place} -o {out}/run "
FLAME_MAP = "train flame-map --model {model} --flame {place}/none.pkl -o {out}/run "

TAKE_UP = "edit {place}/%s --model {model} -o {out}/t.npz "
FLAME = "--flame {place}/flame.npz "
UP = FLAME + "--as speech "
DRAW = "render {place}/%s -o {out}/t.png "
AVATAR = "--avatar {place}/point_cloud.ply "

CASES = {
    # sounds
    "no such file": (SOUND % "none.wav", "none.wav: got no such file"),
    "a folder": (SOUND % "hollow", "got a folder"),
    "empty file": (SOUND % "empty.wav", "got an empty file"),
    "text renamed wav": (SOUND % "text.wav", "text.wav: got no readable sound"),
    "zero samples": (SOUND % "zero.wav", "got zero samples"),
    "nan samples": (SOUND % "nan.wav", "got NaN or infinite samples"),
    "inf samples": (SOUND % "inf.wav", "got NaN or infinite samples"),
    "5 ms": (SOUND % "blip.wav", "got 5 ms of sound, expected at least"),
    # names
    "unknown expression": (ANIMATE + "--expression smug", "got 'smug', expected one of neutral, Afraid, angry"),
    "unknown model": (ANIMATE.replace("{model}", "nonesuch"), "model: got 'nonesuch', expected a folder or one of"),
    "unknown suffix": (ANIMATE + "-o {out}/t.gif", "got suffix '.gif', expected one of .mp4 .glb"),
    "no suffix": (ANIMATE + "-o {out}/t", "got suffix '', expected one of .mp4"),
    "unknown subject": (ANIMATE + "--subject zoe", "subject: got 'zoe', expected one of anna, ben"),
    "unknown face": (ANIMATE + "--face nobody", "face: got 'nobody', expected builtin, ict, a folder"),
    "unknown mode": (ANIMATE + "--mode both", "invalid choice 'both' for argument '--mode'"),
    "unknown device": (ANIMATE + "--device tpu", "invalid choice 'tpu'"),
    # numbers
    "intensity abc": (ANIMATE + "--expression happy:abc", "intensity: got 'abc', expected a number from 0 to 1.5"),
    "intensity -1": (ANIMATE + "--expression happy:-1", "intensity: got '-1', expected a number from 0 to 1.5"),
    "intensity 9": (ANIMATE + "--expression happy:9", "intensity: got '9', expected a number from 0 to 1.5"),
    "guard 2": (ANIMATE + "--guard 2", "guard: got 2.0, expected a number from 0 to 1"),
    "guard -1": (ANIMATE + "--guard -1", "guard: got -1.0, expected a number from 0 to 1"),
    "guard text": (ANIMATE + "--guard much", "--guard: could not convert string to float: 'much'"),
    "fps 0": (ANIMATE + "--fps 0", "fps: got 0.0, expected a number from 1 to 240"),
    "seed text": (ANIMATE + "--seed x", "Error parsing --seed"),
    # timelines
    "unsorted keys": (ANIMATE + "--timeline {place}/unsorted.json", "expected keys sorted by time"),
    "unknown field": (ANIMATE + "--timeline {place}/unknown.json", "got field 'easing', expected expression, fade"),
    "unknown name in a timeline": (ANIMATE + "--timeline {place}/smug.json", "got 'smug', expected one of"),
    "no JSON": (ANIMATE + "--timeline {place}/broken.json", "expected JSON text"),
    "no timeline": (ANIMATE + "--timeline {place}/none.json", "No such file"),
    "timeline and expression": (ANIMATE + "--expression sad --timeline {place}/smug.json", "only one of them"),
    # places
    "no output folder": (ANIMATE + "-o {out}/none/t.npz", "got no folder"),
    "a file for a folder": (ANIMATE + "-o {place}/file/t.npz", "got no folder"),
    "over the recording": (ANIMATE + "-o {place}/good.wav", "would replace the recording"),
    "its sound over the recording": (ANIMATE + "-o {place}/good.glb", "such as good_take.glb"),
    "two clips, one file": (ANIMATE.replace("{place}/good.wav", "{place}/good.wav {place}/inf.wav"), "several clips"),
    "a folder for a file": (ANIMATE + "-o {place}/hollow", "got a folder, expected a file"),
    "meshes over a file": (ANIMATE.replace("t.npz", "") + "-o {place}/file/", "got a file, expected a folder"),
    "demo in a file": ("demo --model {model} -o {place}/file", "cannot make that folder"),
    # models and takes
    "cut checkpoint": (ANIMATE.replace("{model}", "{place}/cut"), "model.safetensors: got a damaged file"),
    "foreign checkpoint": (ANIMATE.replace("{model}", "{place}/foreign"), "somebody-else/3, expected visemo.model/1"),
    "empty model folder": (ANIMATE.replace("{model}", "{place}/hollow"), "got no config.json"),
    "another model's take": (OTHER + "--expression sad", "take: got one of model tiny"),
    "no take": ("edit {place}/none.npz -o {out}/t.csv", "got no such file, expected a take"),
    "cut take": ("edit {place}/cut.npz -o {out}/t.csv", "got no readable take"),
    "text take": ("render {place}/text.npz -o {out}/t.mp4", "got no readable take"),
    "other npz": ("render {place}/array.npz -o {out}/t.mp4", "got an npz without"),
    "guard alone": (EDIT + "--guard 0.5", "alone"),
    # meshes
    "other topology": (ANIMATE + "--expression {place}/triangle.obj", "mesh: got 3 vertices and 1 triangles"),
    "no mesh": (ANIMATE + "--expression {place}/none.obj", "none.obj"),
    "face of another topology": (ANIMATE + "--face {place}/tiny_face", "face: got tiny in its own topology"),
    "other face": (ANIMATE + "--face {place}/triangle.obj", "mesh: got 3 vertices and 1 triangles"),
    # words
    "no verb": ("animat x.wav", "got 'animat', expected one of demo, animate"),
    "no sound": ("animate -o {out}/t.npz", "got no AUDIO"),
    "no output": ("animate {place}/good.wav", "got no OUT"),
    "no value": ("animate {place}/good.wav -o", "Missing value for argument '-o/--out'"),
    "unknown option": (ANIMATE + "--expresion sad", "expected only its options; did you mean --expression?"),
    "render to text": ("render {place}/take.npz -o {out}/t.txt", "got suffix '.txt', expected .mp4 or .png"),
    "render orbit": ("render {place}/take.npz -o {out}/t.png --orbit 90", "expected a film to walk in"),
    "render endless orbit": ("render {place}/take.npz -o {out}/t.mp4 --orbit inf", "orbit: got inf degrees"),
    "render colour": ("render {place}/take.npz -o {out}/t.mp4 --background mauvish", "background: got 'mauvish'"),
    "avatar fit": ("avatar from-face {place}/tiny_face -o {out}/a --fit -1", "--fit: got -1, expected a number of pic"),
    "render mesh on cuda": ("render {place}/take.npz -o {out}/t.mp4 --device cuda", "got cuda without --avatar"),
    "render no avatar": ("render {place}/take.npz -o {out}/t.mp4 --avatar {place}/none.ply", "cannot be read"),
    "render size": ("render {place}/take.npz -o {out}/t.mp4 --size 99", "--size: got 99, expected an even number"),
    "no part": ("train", "Missing from visemo train"),
    "no data": ("train speech -o {out}/run", "got no --data"),
    "no store": ("train fusion --data {place}/hollow -o {out}/run --steps 1", "hollow"),
    "unknown setting": (TRAIN + "--pol 3", "--pol: got an unknown setting, expected one"),
    "nothing to evaluate": ("evaluate --model {model} -o {out}/report", "got no --data"),
    "no such store": ("evaluate --model {model} --data {place}/hollow -o {out}/report", "hollow"),
    "setting without value": (TRAIN + "--pool", "got --pool without a value"),
    "bare word": (TRAIN + "fast 3", "got 'fast', expected --KEY VALUE"),
    "flame map of nothing": ("train flame-map --flame {place}/none.pkl -o {out}/run", "got no --model, expected both"),
    "flame map to nothing": ("train flame-map --model {model} -o {out}/run", "got no --flame, expected both"),
    "flame map resumed": (FLAME_MAP + "--resume", "train flame-map: got --resume, expected none"),
    "flame map elsewhere": (FLAME_MAP + "--face ict", "train flame-map: got --face, expected none"),
    "no such flame": (FLAME_MAP, "none.pkl: no such file, expected one of FLAME's"),
    "a network to flame": (TRAIN + "--flame {place}/none.pkl", "train fusion: got --flame, expected it with flame-map"),
    # FLAME
    "flame motion without a map": (ANIMATE + "-o {out}/t.flame.npz", "t.flame.npz: got no --flame-map, expected the"),
    "edited flame without a map": (EDIT + "-o {out}/t.flame.npz", "t.flame.npz: got no --flame-map, expected the"),
    "no such map": (ANIMATE + "--flame-map {place}/none", "none: no such file, expected a FLAME map; make one"),
    "a map that is none": (ANIMATE + "--flame-map {place}/text.npz", "text.npz: got a damaged or foreign file"),
    "somebody's map": (
        EDIT.replace("t.npz", "t.flame.npz") + "--flame-map {place}/stranger.map",
        "expected somebody's",
    ),
    "motion of no flame": (TAKE_UP % "take.flame.npz", "edit: got no --flame, expected both --flame FILE and --as"),
    "part of no flame": (TAKE_UP % "wide.npz" + "--as speech", "edit: got no --flame, expected both"),
    "shapes of no flame": (TAKE_UP % "wide.npz" + "--expressions {place}/array.npz", "edit: got no --flame, expected"),
    "motion as nothing": (
        TAKE_UP % "wide.npz" + FLAME,
        "edit: got no --as, expected both --flame FILE and --as speech",
    ),
    "motion as a song": (TAKE_UP % "wide.npz" + FLAME + "--as song", "invalid choice 'song'"),
    "motion on a face": (TAKE_UP % "wide.npz" + UP + "--face ict", "edit: got --face, expected none with --flame"),
    "a motion's bad sound": (
        TAKE_UP % "clips/a.npz" + UP + "--sound {place}/empty.wav",
        "empty.wav: got an empty file",
    ),
    "no motion": (TAKE_UP % "none.pkl" + UP, "none.pkl: got no such file or folder"),
    "several motions": (TAKE_UP % "clips" + UP, "clips: got 2 clips, expected one; name its file"),
    "meshes as a motion": (TAKE_UP % "mesh.npy" + UP, "got FaceFormer or CodeTalker, expected FLAME's parameters"),
    "a take as a motion": (TAKE_UP % "take.npz" + UP, "got visemo take, expected FLAME's parameters"),
    "sound as a motion": (TAKE_UP % "good.wav" + UP, "good.wav: got nothing that is known"),
    "motion of a larger flame": (TAKE_UP % "wide.npz" + UP, "wide.npz: expression: got coefficient 2 in use"),
    "motion of another flame": (TAKE_UP % "take.flame.npz" + UP.replace("e.npz", "e_b.npz"), "take.flame.npz was made"),
    "no flame at all": (TAKE_UP % "wide.npz" + UP.replace("flame.npz", "none.pkl"), "none.pkl: no such file"),
    "drawn without flame": (DRAW % "take.flame.npz" + AVATAR, "render: got no --flame, expected both"),
    "drawn without avatar": (DRAW % "take.flame.npz" + FLAME, "render: got no --avatar, expected both"),
    "take drawn without a map": (
        DRAW % "take.npz" + FLAME + AVATAR,
        "take.npz: got a take and no --flame-map, expected",
    ),
    "drawn by another's map": (
        DRAW % "take.npz" + FLAME + AVATAR + "--flame-map {place}/stranger.map",
        "FLAME map: got weights of model",
    ),
    "drawn on a flame of no map": (
        DRAW % "take.npz" + FLAME + AVATAR + "--flame-map {place}/b.map",
        "use the FLAME that the map was made with",
    ),
    "drawn on another flame": (
        DRAW % "take.flame.npz" + "--flame {place}/flame_b.npz " + AVATAR,
        "flame_b.npz: got FLAME unknown with FLAME expressions",
    ),
    "avatar of nobody": (
        DRAW % "take.flame.npz" + FLAME + "--avatar {place}/alone/point_cloud.ply",
        "no flame_param.npz",
    ),
    "no motion to draw": (DRAW % "none.flame.npz" + FLAME + AVATAR, "none.flame.npz: got no such file"),
    "flame with a face": (DRAW % "take.flame.npz" + FLAME + AVATAR + "--face ict", "render: got --face, expected none"),
    "store in use": ("prepare planted --tiny -o {place}", "bad"),
    "no store folder": ("prepare planted --tiny -o {out}/none/store", "got no folder"),
    "captures of nothing": ("prepare captures -o {out}/store", "got SRC None, expected a folder of captures"),
    "planted from something": ("prepare planted {place} -o {out}/store", "and none for planted"),
    "captures without sound": ("prepare captures {place}/hollow -o {out}/store", "hollow"),
    "no runs": ("assemble {place}/hollow {place}/hollow -o {out}/m", "hollow"),
    "info on nothing": ("info {place}/none", "model: got"),
    "benchmark of nothing": ("benchmark --preset huge", "preset: got 'huge', expected one of paper, default"),
    "benchmark without length": ("benchmark --seconds 0", "--seconds: got 0.0"),
    "benchmark nowhere": ("benchmark --json {out}/none/b.json", "got no folder"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_line_and_leaves_nothing(name, place, tiny_folder, tmp_path, capsys):
    words, expected = CASES[name]
    before = sorted(path for path in place.rglob("*"))
    code = main([word.format(place=place, model=tiny_folder, out=tmp_path) for word in words.split()])
    out, err = capsys.readouterr()
    assert code == 2 and not out
    assert err.startswith("visemo: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert expected in err, err
    assert not list(tmp_path.iterdir()) and before == sorted(path for path in place.rglob("*"))


def test_an_output_that_cannot_be_written(place, tiny_folder, tmp_path, capsys, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    words = ["animate", f"{place}/good.wav", "--model", str(tiny_folder), "-o", f"{tmp_path}/t.npz"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "cannot write there (Permission denied)" in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_full_disk_is_a_line_too(place, tiny_folder, tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "t.npz")

    monkeypatch.setattr("visemo.export.tracks.write_header", full)
    words = ["animate", f"{place}/good.wav", "--model", str(tiny_folder), "-o", f"{tmp_path}/t.npz"]
    assert main(words) == 2
    assert "No space left on device" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_interrupting_is_quiet(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("visemo.cli.entry._run", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "visemo: interrupted\n"


def test_digital_silence_is_no_mistake(place, tiny_folder, tmp_path):
    assert main(["animate", f"{place}/silence.wav", "--model", str(tiny_folder), "-o", f"{tmp_path}/t.npz"]) == 0
