"""A planted error comes back in the table, whoever wrote the files, at whatever rate, in whatever unit and place."""

import json
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

import peer_files as peer
import python2
from face.flame_models import OPEN_PACK, open_model
from peer_files import FLAME, LIPS, SUBJECT, UPPER, head, talking
from toy_corpus import make_toy_store
from visemo.cli.entry import main
from visemo.data.peers import Bodies, Clip, Found
from visemo.evaluate.comparison import Entry, measures
from visemo.evaluate.ground import Choices, Ground
from visemo.evaluate.laying import lay_on, matched
from visemo.evaluate.vertex_sets import VertexSet
from visemo.face.library import save_face
from visemo.geometry.rotation import axis_angle_to_matrix
from visemo.types import VisemoError

SENTENCE = f"{SUBJECT}_sentence01"
MM = np.float32(1e-3)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """VOCASET with one sentence, and the vertex sets of its made-up head."""
    folder = tmp_path_factory.mktemp("compare")
    peer.write_vocaset(folder / "vocaset", SENTENCE, talking(60))
    (folder / "lve.txt").write_text(", ".join(map(str, LIPS)))
    (folder / "fdd.txt").write_text("\n".join(map(str, UPPER)))
    return folder


def off_by(amount, vertices):
    """The lips moved aside by `amount` m."""
    wrong = vertices.copy()
    wrong[:, list(LIPS), 0] += amount
    return wrong


def compared(out, *words):
    """What `visemo compare` writes for machines: measures by prediction, and all of it."""
    assert main(["compare", *map(str, words), "-o", str(out)]) == 0
    content = json.loads((out / "compare.json").read_text())
    tables = {}
    for row in content["rows"]:
        tables.setdefault(row["prediction"], {})[row["name"]] = row["value"]
    return tables, content


def test_a_millimetre_at_the_lips_whoever_wrote_it(place, tmp_path, capsys, monkeypatch):
    drawn = []  # pictures take their time, and are looked at below
    monkeypatch.setattr("visemo.evaluate.side_by_side.write_errors", lambda comparison, path: drawn.append(path))
    turn = axis_angle_to_matrix(np.array([0.1, 0.5, -0.2])).astype(np.float32)
    placed = off_by(MM, talking(25)) @ turn.T + np.float32(0.3)
    wrong = {rate: off_by(MM, talking(rate)) for rate in (25, 30, 60)}
    predictions = {
        "voca": peer.write_voca(tmp_path / "voca" / SENTENCE, wrong[60]).parent,
        "emote": peer.write_emote(tmp_path / "emote" / f"{SENTENCE}_Happy_0", placed).parent,
        "emovoca": peer.write_emovoca(tmp_path / "emovoca" / SENTENCE, 1000 * wrong[60]).parent,
        "faceformer": peer.write_flat(tmp_path / "result" / f"{SENTENCE}.npy", wrong[30]).parent,
        "codetalker": peer.write_codetalker(tmp_path / "npy", SENTENCE, wrong[30], ("A", "B")),
        "unitalker": peer.write_unitalker(tmp_path / "demo.npz", {f"{SENTENCE}.wav": {"D1": wrong[30]}}),
    }
    words = [f"{label}={path}" for label, path in predictions.items()]
    sets = ["--lips", place / "lve.txt", "--upper-face", place / "fdd.txt", "--no-video"]
    tables, content = compared(tmp_path / "out", place / "vocaset" / "vertices_npy", *words, *sets)
    assert list(tables) == list(predictions)
    expected = {"lve": 1, "lve_squared": 1, "lve_rms": 1, "fdd": 0, "upper_face": 0, "mouth_opening": 0}
    for label, table in tables.items():
        late = {name: table[name] for name in expected}
        assert late == pytest.approx(expected, abs=0.02), label
        assert table["mean_vertex"] == pytest.approx(len(LIPS) / FLAME, abs=2e-3), label
        assert table["lip_sync"] == pytest.approx(1, abs=1e-3)
    assert {p["label"]: (p["format"], p["fps"]) for p in content["predictions"]} == {
        "voca": ("VOCA", 60),
        "emote": ("EMOTE", 25),
        "emovoca": ("EmoVOCA", 60),
        "faceformer": ("FaceFormer or CodeTalker", 30),
        "codetalker": ("FaceFormer or CodeTalker", 30),
        "unitalker": ("UniTalker", 30),
    }
    notes = {p["label"]: " ".join(p["notes"]) for p in content["predictions"]}
    assert "converted from mm" in notes["emovoca"] and "25 to 60 frames a second" in notes["emote"]
    assert [(s["name"], s["vertices"]) for s in content["sets"]] == [("lve", len(LIPS)), ("fdd", len(UPPER))]
    assert content["lip_pairs"] == [[3546, 3504]]
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if line.startswith("| lve, mm ")]
    assert line.replace(" ", "").startswith("|lve,mm|1|") or "1.0" in line or "0.99" in line
    assert (tmp_path / "out" / "compare.md").read_text().splitlines()[2:5] == said.splitlines()[:3]
    assert drawn == [tmp_path / "out" / "errors.png"]  # VOCA's meshes say how the vertices hang together


def test_a_known_rate_can_be_said(place, tmp_path):
    path = peer.write_flat(tmp_path / f"{SENTENCE}.npy", talking(48))
    sets = ["--lips", place / "lve.txt", "--upper-face", place / "fdd.txt"]
    truth = place / "vocaset" / "vertices_npy" / f"{SENTENCE}.npy"
    tables, content = compared(tmp_path / "out", truth, f"said={path}@48", f"guessed={path}", *sets)
    assert tables["said"]["lve"] == pytest.approx(0, abs=1e-2) and tables["guessed"]["lve"] > 0.1
    assert content["predictions"][0]["fps"] == 48


def test_parameters_of_flame_against_its_meshes(shared_data, tmp_path):
    model = open_model(shared_data)
    frames = 10
    jaw = np.zeros((frames, 3), np.float32)
    jaw[:, 0] = np.linspace(0, 0.2, frames)
    nothing = np.zeros((frames, 0), np.float32)
    bodies = Bodies(model)
    moved, _ = bodies.posed("truth", nothing, jaw)
    truth = peer.write_flat(tmp_path / "truth" / "a.npy", moved)
    shape = np.zeros(3)
    right = peer.write_diffposetalk(tmp_path / "a.npz", nothing, jaw, shape)
    wrong = peer.write_emote_parameters(tmp_path / "a.pkl", nothing, 0 * jaw, shape)
    flame = shared_data / OPEN_PACK
    tables, content = compared(
        tmp_path / "out", f"{truth}@25", f"right={right}", f"wrong={wrong}", "--flame", flame, "--no-video"
    )
    assert tables["right"]["lve"] == pytest.approx(0, abs=1e-2) and tables["wrong"]["lve"] > 5
    assert tables["wrong"]["fdd"] >= tables["right"]["fdd"]
    assert "head and neck straight" in content["predictions"][0]["notes"][0]
    assert Image.open(tmp_path / "out" / "errors.png").width > 1000


def test_lips_that_are_late():
    def opening(late):
        vertices, time = np.repeat(head()[None], 60, axis=0), np.arange(60) / 60 - late
        vertices[:, 3546, 1] += np.float32(0.01) * np.sin(9 * time + np.sin(20 * time)).astype(np.float32)
        return clip(vertices, 60.0, head())

    ground = Ground(VertexSet("lips", np.array([3546])), VertexSet("upper", np.array([0])), np.array([[3546, 3504]]))
    found = measures(lay_on(opening(0.05), opening(0)), ground)
    assert found["lip_lag"] == pytest.approx(50) and found["lip_sync"] > 0.999
    still = clip(np.repeat(head()[None], 60, axis=0), 60.0, head())
    found = measures(lay_on(still, opening(0)), ground)
    assert np.isnan(found["lip_sync"]) and np.isnan(found["lip_lag"])  # a mouth that does not move
    entry = Entry("still")
    entry.note("a", still, lay_on(still, opening(0)), ground)
    assert entry.interval("lip_sync") is None and entry.interval("lve") is not None


# ---------------------------------------------------------------- curves and our own, on a face


@pytest.fixture(scope="module")
def takes(tmp_path_factory, tiny_face):
    folder = tmp_path_factory.mktemp("takes")
    save_face(tiny_face, folder / "tiny")
    weights = np.zeros((15, len(tiny_face.shapes)), np.float32)
    weights[:, 0] = np.linspace(0, 0.7, 15)
    sound = {"audio": np.zeros(8000, np.float32), "sample_rate": 16_000}
    np.savez(folder / "a.npz", **peer.take_arrays(tiny_face, weights, 30, vertices=False), **sound)
    return folder


def test_curves_against_a_take_and_the_pictures_of_it(takes, tmp_path, tiny_face, capsys):
    jaw = np.linspace(0, 0.7, 15)
    assert tiny_face.shape_names[0] == "jawOpen"
    emotalk = peer.write_emotalk(tmp_path / "a.npy", {"jawOpen": jaw})
    smile = {"jawOpen": jaw, "browInnerUp": np.full(15, 0.5)}
    audio2face = peer.write_audio2face(tmp_path / "truth", np.arange(15) / 30, smile)  # a label like any other
    out = tmp_path / "out"
    tables, _ = compared(out, takes / "a.npz", emotalk, audio2face, "--face", takes / "tiny")
    assert set(tables) == {f"{tmp_path.name}/a", "truth"}
    exact, raised = tables[f"{tmp_path.name}/a"], tables["truth"]
    assert exact["mean_vertex"] == pytest.approx(0, abs=1e-3) and raised["lve"] < 0.1
    highest = 500 * np.linalg.norm(tiny_face.shape("browInnerUp"), axis=1).max()
    assert raised["upper_face"] == pytest.approx(highest, abs=0.05)
    with av.open(str(out / "compare.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.audio and len(frames) == 15 and frames[0].shape == (384, 3 * 384, 3)
    left, middle, right = (frames[-1][30:, k * 384 : (k + 1) * 384].astype(int) for k in range(3))
    assert np.abs(left - middle).mean() < np.abs(left - right).mean()
    assert str(out / "errors.png") in capsys.readouterr().out and Image.open(out / "errors.png").width > 1500


def test_a_store_against_itself(tmp_path, tiny_face, takes):
    store = make_toy_store(tmp_path / "store", tiny_face, subjects=5, takes=1)
    tables, content = compared(tmp_path / "out", store, f"same={store}", "--face", takes / "tiny", "--no-video")
    assert tables["same"]["lve"] < 1e-9 and content["predictions"][0]["format"] == "visemo store"
    rows = {row["name"]: row for row in content["rows"]}
    assert rows["lve"]["n"] == 20 == len(content["truth_own"]["jitter"])
    assert rows["jitter"]["value"] == pytest.approx(np.mean(list(content["truth_own"]["jitter"].values())))


def test_no_pictures_without_triangles(place, tmp_path, capsys):
    path = peer.write_flat(tmp_path / "other" / f"{SENTENCE}.npy", talking(30))
    folder = peer.write_flat(tmp_path / "other" / "nobody.npy", talking(30)).parent
    sets = ["--lips", place / "lve.txt", "--upper-face", place / "fdd.txt"]
    peer.write_vocaset(tmp_path, f"{SUBJECT}_sentence02", talking(60))
    peer.write_vocaset(tmp_path, SENTENCE, talking(60))
    _, content = compared(tmp_path / "out", tmp_path / "vertices_npy", folder, *sets)
    said = capsys.readouterr().out
    assert "no pictures: none of the files says" in said and not (tmp_path / "out" / "errors.png").exists()
    assert "1 clips left out: no truth of their names" in content["predictions"][0]["notes"] and path.is_file()


# ---------------------------------------------------------------- laying one on the other


def clip(vertices, fps=30.0, template=None, name="a"):
    return Clip(name, "", vertices.astype(np.float32), fps, template=template)


def test_another_person_s_motion_is_shown_on_the_truth_s_head():
    wide = head() * np.array([1.1, 1, 0.95], np.float32)
    motion = off_by(MM, talking(30)) - head()
    laid = lay_on(clip(wide + motion, template=wide), clip(talking(30), template=head()))
    errors = np.linalg.norm(laid.prediction - laid.truth, axis=2)
    assert errors[:, list(LIPS)].mean() == pytest.approx(1e-3, rel=0.05)
    assert np.delete(errors, LIPS, axis=1).max() < 1e-4
    assert [note for note in laid.notes if note.startswith("another head ({} mm rms)")]
    # without its neutral nobody can take its shape away, and that is said
    laid = lay_on(clip(wide + motion), clip(talking(30), template=head()))
    (number,) = [number for note, number in laid.notes.items() if note.startswith("ANOTHER HEAD")]
    assert number > 1


def test_a_size_and_a_place_of_its_own_go_away():
    turn = axis_angle_to_matrix(np.array([0.0, 0.3, 0.0])).astype(np.float32)
    moved = (talking(30) * np.float32(1.05)) @ turn.T + np.float32(0.2)
    for template in (None, (head() * np.float32(1.05)) @ turn.T + np.float32(0.2)):
        laid = lay_on(clip(moved, template=template), clip(talking(30), template=head()))
        np.testing.assert_allclose(laid.prediction, laid.truth, atol=2e-5)


def test_what_is_left_out_is_said():
    truth = clip(talking(60, 1.0), 60.0)
    laid = lay_on(clip(talking(25, 0.8), 25.0), truth)
    assert len(laid.truth) == len(laid.prediction) == 46 and laid.fps == 60
    assert laid.notes["up to {} s at the end of the truth left out"] == pytest.approx(14 / 60)
    assert "25 to 60 frames a second, by time" in laid.notes
    assert any(note.startswith("neutral of the truth unknown") for note in laid.notes)


def test_only_the_cut_of_a_whole_head_is_compared():
    rows = np.arange(0, 4000, 2, dtype=np.int32)
    laid = lay_on(clip(talking(30), template=head()), clip(talking(30)[:, rows], template=head()[rows]), rows)
    assert laid.prediction.shape[1] == len(laid.rest) == len(rows)
    np.testing.assert_allclose(laid.prediction, laid.truth, atol=1e-6)


def test_what_cannot_be_laid_is_refused():
    with pytest.raises(VisemoError, match="got  with 40 vertices, expected the 5023 of b; carry it over first"):
        lay_on(clip(talking(30, count=40)), clip(talking(30), name="b"))
    with pytest.raises(VisemoError, match="got 2 frames in common with b, expected at least 3"):
        lay_on(clip(talking(30)[:2]), clip(talking(30), name="b"))


def test_names_are_matched():
    def named(*names):
        return [Found(name, lambda: clip(talking(30, 0.1, 40))) for name in names]

    pairs = matched(named("s1", "s10", "s1_a"), named("s10", "s1_a_Happy_2", "s1_b", "s2"), "out")
    assert [(truth.name, found.name) for truth, found in pairs] == [
        ("s10", "s10"),
        ("s1_a", "s1_a_Happy_2"),
        ("s1", "s1_b"),
    ]
    assert len(matched(named("one"), named("other"), "out")) == 1
    with pytest.raises(VisemoError, match="out: got clips c, d, expected names of the truth, such as a, b"):
        matched(named("a", "b"), named("c", "d"), "out")


# ---------------------------------------------------------------- refusals


def test_a_mistake_is_one_line(place, takes, tmp_path, tiny_face, capsys):
    truth, sets = f"{place}/vocaset/vertices_npy", f"--lips {place}/lve.txt --upper-face {place}/fdd.txt"
    alone = f"{truth}/{SENTENCE}.npy"
    small = peer.write_flat(tmp_path / "small.npy", talking(30, count=40))
    holey = talking(30)
    holey[3, 7] = np.nan
    holed = peer.write_flat(tmp_path / "holed.npy", holey)
    (tmp_path / "far.txt").write_text("5023")
    (tmp_path / "none.txt").write_text("")
    (tmp_path / "words.txt").write_text("lips")
    parameters = peer.write_diffposetalk(tmp_path / "p.npz", np.zeros((9, 2)), np.zeros((9, 3)), np.zeros(3))
    curves = peer.write_emotalk(tmp_path / "level1.npy", {"jawOpen": np.zeros(9)})
    peer.write_vocaset(tmp_path / "two", SENTENCE, talking(60))
    peer.write_vocaset(tmp_path / "two", f"{SUBJECT}_sentence02", talking(60))
    (tmp_path / "text.txt").write_text("hello")
    one = tmp_path / "one.txt"
    one.write_text("1 2")
    cases = {
        f"{alone} {small} {sets}": "with 40 vertices, expected the 5023",
        f"{alone} {holed} {sets}": "holed: vertices: got NaN or infinite values",
        f"{alone} {tmp_path}/none.npy {sets}": "none.npy: got no such file or folder, expected meshes of VOCA",
        f"{alone} {tmp_path}/text.txt {sets}": "text.txt: got nothing that is known",
        f"{alone} {parameters} {sets}": "p.npz: got FLAME parameters, expected the model they belong to as well; add",
        f"{alone} {curves} {sets}": "got ARKit curves and no face, expected one with ARKit's shapes; add --face",
        f"{tmp_path}/two/vertices_npy {small} {sets}": "small.npy: got clips small, expected names of the truth",
        f"{alone} {alone}": "no word on which are the lips, expected --face or --flame",
        f"{alone} {alone} --lips {place}/lve.txt": "no word on which are the upper face",
        f"{alone} {alone} {sets} --lips {tmp_path}/none.txt": "no word on which are the lips",
        f"{alone} {alone} {sets} --lips {tmp_path}/far.txt": "got vertex 5023, expected less than the 5023",
        f"{alone} {alone} {sets} --lips {tmp_path}/words.txt": "got no vertex numbers",
        f"{small} {small} --lips {one} --upper-face {one}": "got 40 vertices and no lip pairs",
        f"{alone} {alone}@0 {sets}": "got '0' frames a second, expected a positive number, as in meshes@25",
        f"{alone} {alone}@fast {sets}": "got 'fast' frames a second",
        f"{alone} {alone}@inf {sets}": "got 'inf' frames a second",
        f"{alone} a={alone} a={small} {sets}": "got the name a twice, expected another for each",
        f"{alone} {alone} {sets} --face nobody": "face: got 'nobody'",
        f"{alone} {alone} {sets} --flame {tmp_path}/none.pkl": "none.pkl",
        f"{alone} {alone} {sets} --masks {tmp_path}/none.pkl": "none.pkl",
        f"{alone}": "PREDICTION",
    }
    for words, expected in cases.items():
        assert main(["compare", *words.split(), "-o", f"{tmp_path}/out"]) == 2, words
        out, err = capsys.readouterr()
        assert not out and err.startswith("visemo: ") and err.count("\n") == 1 and expected in err, (words, err)
        assert not list(tmp_path.glob("out/*"))


def test_masks_of_flame_say_where_it_is_compared(place, tmp_path):
    masks = {"lips": np.array([0, 1, 1, 2]), "forehead": np.arange(9), "eye_region": np.arange(5, 20)}
    (tmp_path / "FLAME_masks.pkl").write_bytes(python2.dumps(masks))
    ground = Choices(masks=tmp_path / "FLAME_masks.pkl").ground(FLAME)
    assert (ground.lips.count, ground.upper_face.count) == (3, 20)
    assert str(ground).endswith("1 lip pair")
    own = replace(Choices(masks=tmp_path / "FLAME_masks.pkl"), lips=place / "lve.txt").ground(FLAME)
    assert own.lips.count == len(LIPS)


def test_a_higher_rate_invents_no_frame_at_the_end():
    """A steady drift at 25 frames a second is a steady drift at 60, to the last frame that is compared."""
    drift = head() + np.arange(20, dtype=np.float32)[:, None, None] / 25 * np.float32([0.02, 0, 0])
    wanted = head() + np.arange(48, dtype=np.float32)[:, None, None] / 60 * np.float32([0.02, 0, 0])
    laid = lay_on(clip(drift, 25.0, template=head()), clip(wanted, 60.0, template=head()))
    np.testing.assert_allclose(laid.prediction, laid.truth, atol=1e-6)
