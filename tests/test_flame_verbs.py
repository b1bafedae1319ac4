"""FLAME at the command line, on a random FLAME and a tiny model: films on avatars, and motions that others made."""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
import torch

import peer_files as peer
import visemo
from face.flame_models import random_arrays
from flame_ground import made_up_ground
from tiny import K_A, K_E, tone
from toy_avatar import flame_avatar_in
from visemo.animation.animator import Animator
from visemo.animation.flame import flame_motion_of
from visemo.cli.entry import main
from visemo.face.flame import FlameModel, read_flame
from visemo.face.flame_layer import FlameLayer
from visemo.face.flame_motion import read_flame_motion
from visemo.face.flame_on_face import FlameOnFace
from visemo.media import load_audio, save_wav
from visemo.models.flame_map import FlameMap
from visemo.render.flame_avatar import FlameAvatarRenderer
from visemo.render.raster import plain
from visemo.types import Motion

FPS = 25
EXPRESSION = "happy"


class Place(NamedTuple):
    """A FLAME, a map to it, an avatar on it, and a lively take with sound; `model` made the take."""

    folder: Path
    model: Path
    animator: Animator
    flame: FlameModel
    flame_map: FlameMap

    def words(self, *names: str) -> list[str]:
        """Options by name, each with what is here for it."""
        known = {"model": self.model, "flame": "flame.npz", "flame-map": "map", "avatar": "point_cloud.ply"}
        return [word for name in names for word in (f"--{name}", str(self.folder / known[name]))]


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_folder) -> Place:
    folder = tmp_path_factory.mktemp("flame")
    np.savez(folder / "flame.npz", **random_arrays())
    flame, animator = read_flame(folder / "flame.npz"), visemo.load(tiny_folder, "cpu")
    chance = np.random.default_rng(3)
    matrix, lively = (0.3 * chance.normal(size=(5, width)).astype(np.float32) for width in (K_A + K_E, 2))
    about = (flame.hash, flame.edition, flame.basis, "tiny", flame.licence)
    names = ("eyeBlinkLeft", "eyeBlinkRight")
    flame_map = FlameMap(matrix, animator.model.hash, *about, lively_names=names, lively=lively)
    (folder / "map").mkdir()
    flame_map.save(folder / "map")
    flame_avatar_in(folder)
    save_wav(tone(1.0), folder / "hum.wav")
    words = ["animate", f"{folder}/hum.wav", "--model", str(tiny_folder), "--lively", "--fps", str(FPS)]
    outs = ["-o", f"{folder}/take.npz", "-o", f"{folder}/take.flame.npz", "--flame-map", f"{folder}/map"]
    assert main([*words, *outs]) == 0
    return Place(folder, tiny_folder, animator, flame, flame_map)


@pytest.mark.parametrize("source", ["take.npz", "take.flame.npz"])
def test_a_film_on_an_avatar_has_its_frames_its_sound_and_its_walk(place, tmp_path, source):
    out = tmp_path / "a.mp4"
    options = ["--size", "64", "--orbit", "40", "--background", "#ffffff"]
    names = ("flame", "avatar") if source.endswith(".flame.npz") else ("flame", "avatar", "flame-map")
    assert main(["render", f"{place.folder}/{source}", *place.words(*names), *options, "-o", str(out)]) == 0
    with av.open(str(out)) as film:
        assert film.streams.video[0].average_rate == FPS
        pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in film.decode(video=0)]
    clip = visemo.read(place.folder / "take.npz")
    assert len(pictures) == clip.frames == FPS
    heard, said = load_audio(out), load_audio(place.folder / "hum.wav")
    assert heard.seconds == pytest.approx(1, abs=0.05)
    count = min(len(heard.samples), len(said.samples))
    assert np.corrcoef(heard.samples[:count], said.samples[:count])[0, 1] > 0.95
    motion = flame_motion_of(clip, place.flame_map)
    for t in (0, 12, 24):
        off = []
        for background, degrees in (("white", 40 * t / 24), ("white", 40 * t / 24 + 30), ("blue", 40 * t / 24)):
            ply = place.folder / "point_cloud.ply"
            avatar = FlameAvatarRenderer(ply, place.flame, 64, studio=plain(background)).aim(motion)
            avatar.look(avatar.camera.orbited(degrees))
            off.append(np.abs(pictures[t] - avatar.frame(motion, t)).mean())
        assert off[0] < 5 < min(off[1:])


def test_a_sheet_on_an_avatar(place, tmp_path):
    words = ["render", f"{place.folder}/take.flame.npz", *place.words("flame", "avatar"), "--size", "32"]
    assert main([*words, "-o", f"{tmp_path}/a.png"]) == 0
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_a_written_motion_names_its_flame(place):
    motion = read_flame_motion(place.folder / "take.flame.npz")
    assert motion.flame == (place.flame.hash, "unknown", "FLAME")


# ---------------------------------------------------------------- taking up what others made

LAYOUTS = {
    "DiffPoseTalk": (peer.write_diffposetalk, "a.npz", 50, 25),
    "EMOTE": (peer.write_emote_parameters, "a.pkl", 50, 25),
    "VOCA": (peer.write_voca_parameters, "a.npy", 100, 60),
    "ARTalk": (peer.write_artalk, "a.pt", 100, 25),
}


@pytest.fixture(scope="module")
def made_up(place) -> FlameOnFace:
    return made_up_ground(place.animator.face)


@pytest.fixture
def ground(made_up, monkeypatch) -> FlameOnFace:
    """Where FLAME lies on the model's face: a random one cannot be registered."""
    monkeypatch.setattr(FlameOnFace, "of", lambda flame, face: made_up)
    return made_up


def animated(place: Place, ground: FlameOnFace, expression: np.ndarray, jaw: np.ndarray, shape: np.ndarray):
    """Displacements (T, V, 3) m on the model's face of FLAME's parameters."""
    layer, person = FlameLayer(place.flame), torch.tensor(shape[None, :3], dtype=torch.float32)
    moves = {"expression": expression[:, :2], "jaw": jaw}
    with torch.no_grad():
        posed = layer(shape=person, **{name: torch.tensor(part, dtype=torch.float32) for name, part in moves.items()})
        return ground.carry((posed - layer(shape=person)).numpy())


@pytest.mark.parametrize(("layout", "part"), [*product(LAYOUTS, ("speech", "expression"))])
def test_motions_of_others_become_takes(place, ground, tmp_path, layout, part):
    write, name, wide, fps = LAYOUTS[layout]
    chance = np.random.default_rng(7)
    expression, jaw = chance.normal(size=(8, wide)), 0.1 * chance.normal(size=(8, 3))
    expression[:, 2:] = 0  # more columns than this FLAME has, and nothing in them
    shape = np.zeros(300)
    person = (shape,) if layout != "ARTalk" else ()
    if person:
        shape[:3] = chance.normal(size=3)
    path = write(tmp_path / name, expression, jaw, *person)
    words = ["edit", str(path), *place.words("model", "flame"), "--as", part, "-o", f"{tmp_path}/take.npz"]
    given = ["--sound", f"{place.folder}/hum.wav"] + ["--expression", f"{EXPRESSION}:0.7"] * (part == "speech")
    assert main([*words, *given]) == 0
    motion = Motion(animated(place, ground, expression, jaw, shape), float(fps))
    asked = (EXPRESSION, 0.7) if part == "speech" else ()
    wanted, got = place.animator.adopt(motion, part, *asked), visemo.read(tmp_path / "take.npz")
    assert got.audio is not None and got.audio.seconds == 1
    assert got.fps == fps and got.face == place.animator.face.name
    np.testing.assert_allclose(got.speech_weights, wanted.speech_weights, atol=1e-4)
    np.testing.assert_allclose(got.expression_weights, wanted.expression_weights, atol=1e-4)
    assert got.speech_weights.any() == (part == "speech") and got.expression_weights.any()


@pytest.mark.usefixtures("ground")
def test_a_motion_of_ours_goes_out_and_comes_back_with_its_sound(place, tmp_path, capsys):
    words = ["edit", f"{place.folder}/take.flame.npz", *place.words("model", "flame", "flame-map"), "--as", "speech"]
    assert main([*words, "-o", f"{tmp_path}/a.npz", "-o", f"{tmp_path}/a.flame.npz"]) == 0
    assert f"FLAME motion: {FPS} frames, {FPS} a second" in capsys.readouterr().out
    back, again = visemo.read(tmp_path / "a.npz"), read_flame_motion(tmp_path / "a.flame.npz")
    assert back.frames == again.frames == FPS and back.fps == again.fps == FPS
    assert back.audio is not None and again.sound is not None
    np.testing.assert_allclose(back.audio.samples, load_audio(place.folder / "hum.wav").samples, atol=1e-4)
    np.testing.assert_allclose(again.expr, flame_motion_of(back, place.flame_map).expr, atol=1e-6)
