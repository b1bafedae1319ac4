"""The store gives back what was written, and says in one line what is wrong with a bad one."""

import json
from dataclasses import replace

import numpy as np
import pytest

from visemo.data.frames import frames_at, resample, worn_frames
from visemo.data.splits import VOCASET_TEST, VOCASET_TRAIN, VOCASET_VAL, by_subject, numbered_splits, vocaset_splits
from visemo.data.store import (
    Pair,
    Segment,
    StoreWriter,
    Take,
    open_store,
)
from visemo.face.face import Face
from visemo.types import VisemoError, Waveform

VERTICES = 5


def make_face(turned: bool = False) -> Face:
    triangles = np.array([[0, 1, 2], [2, 3, 4]], np.int32)
    return Face(
        name="turned" if turned else "strip",
        template=np.arange(VERTICES * 3, dtype=np.float32).reshape(-1, 3) * 1e-3,
        triangles=triangles[:, ::-1].copy() if turned else triangles,
        regions={},
        lip_pairs=np.array([[0, 1]], np.int32),
        mirror=np.arange(VERTICES, dtype=np.int32),
        colors=np.zeros((VERTICES, 3), np.float32),
    )


def random_motion(frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, VERTICES, 3)).astype(np.float32) * 5e-3


def write(folder, fps=30.0):
    """Two subjects, a speech take and an expression take each; the truth as weights and as displacements."""
    with StoreWriter(folder, make_face(), source="test", fps=fps, licence="none", generator={"seed": 1}) as writer:
        for number, subject in enumerate(("ann", "bob")):
            shapes = random_motion(2, 100 + number)
            writer.add_subject(subject, make_face().template + number, shapes, age=7)
            weights = np.random.default_rng(number).normal(size=(20, 2)).astype(np.float32)
            sound = Waveform(np.sin(np.arange(round(20 / fps * 16000)) * 0.05).astype(np.float32) * 0.5)
            writer.add_take(
                Take(f"{subject}_s", subject, "speech", 20, fps, sentence="sentence30", text="Hello.", voice="x"),
                random_motion(20, number),
                sound,
                (Segment("pau", 0.0, 0.2), Segment("hh", 0.2, 0.3)),
                {"speech_pure": weights},
            )
            writer.add_take(
                Take(f"{subject}_e", subject, "expression", 12, fps, label="happy"),
                random_motion(12, 10 + number),
                truth={"expression_pure": random_motion(12, 20 + number)},
            )
        writer.add_split("heldout", {"train": ("ann_s", "ann_e"), "val": (), "test": ("bob_s", "bob_e")})
        writer.add_pairs((Pair("bob_s", "bob_e"),))
    return folder


@pytest.fixture
def store(tmp_path):
    return open_store(write(tmp_path / "store"))


def test_everything_written_is_read_back(store):
    assert store.manifest["generator"] == {"seed": 1}
    assert store.manifest["unit"] == "m"
    assert store.subjects == ("ann", "bob")
    assert [take.id for take in store.sequences] == ["ann_s", "ann_e", "bob_s", "bob_e"]
    take = store.sequence("bob_s")
    assert (take.text, take.voice, take.truth, take.seconds) == ("Hello.", "x", ("speech_pure",), 20 / 30)
    np.testing.assert_allclose(store.motion("bob_s"), random_motion(20, 1), atol=1e-5)
    assert isinstance(store.motion("bob_s"), np.memmap)
    np.testing.assert_array_equal(store.neutral("bob"), make_face().template + 1)
    assert store.phones("bob_s")[1] == Segment("hh", 0.2, 0.3)
    assert store.phones("bob_e") == ()
    assert store.audio("bob_s").seconds == pytest.approx(20 / 30, abs=1e-4)
    np.testing.assert_allclose(store.audio("bob_s", 0.1, 0.2).samples, store.audio("bob_s").samples[1600:4800])
    assert store.split("heldout")["test"] == ("bob_s", "bob_e")
    store.check_face(make_face())


def test_truth_as_weights_is_their_product_with_the_subjects_shapes(store):
    weights = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    expected = np.einsum("tm,mvc->tvc", weights, random_motion(2, 101))
    np.testing.assert_allclose(store.truth("bob_s", "speech_pure"), expected, atol=1e-7)
    np.testing.assert_array_equal(store.truth("bob_e", "expression_pure"), random_motion(12, 21))


def test_fused_truth_is_the_sum_over_the_frames_worn(store):
    fused = store.fused(store.pairs[0])
    assert fused.expression_frames[0] == 0
    assert fused.expression_frames[-1] == 11
    for t, worn in enumerate(fused.expression_frames):
        slow = store.truth("bob_s", "speech_pure")[t] + store.truth("bob_e", "expression_pure")[worn]
        np.testing.assert_array_equal(fused.displacements[t], slow)


def test_more_takes_than_open_maps(store, monkeypatch):
    monkeypatch.setattr(type(store), "OPEN_MAPS", 2)
    for id in ("ann_s", "ann_e", "bob_s", "bob_e", "ann_s"):
        assert store.motion(id).shape[1:] == (VERTICES, 3)
    assert len(store._maps) == 2
    monkeypatch.setattr(type(store), "OPEN_BYTES", 700)  # a speech take has 600 bytes, an expression take 360
    for id in ("bob_s", "ann_e", "bob_e"):
        store.motion(id)
    assert list(store._maps) == ["bob_e"]
    assert store._mapped == sum(map.nbytes for map in store._maps.values())


def test_resampling_keeps_times():
    times = np.arange(61) / 60
    motion = np.stack([times, 3 * times], axis=1)[:, :, None].astype(np.float32)
    half = resample(motion, 60, 30)
    np.testing.assert_allclose(half[:, 0, 0], np.arange(len(half)) / 30, atol=1e-6)
    third = resample(motion, 60, 25)
    np.testing.assert_allclose(third[:, 1, 0], 3 * np.arange(len(third)) / 25, atol=1e-6)
    assert resample(motion, 60, 60) is motion
    np.testing.assert_array_equal(frames_at(motion, np.array([-1.0, 99.0])), motion[[0, -1]])
    assert len(resample(motion[:1], 60, 30)) == 1
    assert worn_frames(1, 60).tolist() == [0]


def test_motion_at_another_rate(store):
    native = np.asarray(store.motion("ann_s"), np.float32)
    np.testing.assert_allclose(store.motion("ann_s", fps=60)[::2], native, atol=1e-7)
    assert store.motion("ann_s", fps=15).shape[0] == 10


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s.sequence("nobody"), "got sequence 'nobody'"),
        (lambda s: s.truth("ann_s", "expression_pure"), "expected one of: speech_pure"),
        (lambda s: s.audio("ann_e"), "got no sound with ann_e"),
        (lambda s: s.neutral("carl"), "expected one of ann, bob"),
        (lambda s: s.split("faceformer"), "expected one of heldout"),
        (lambda s: s.check_face(make_face(turned=True)), "got face turned"),
    ],
)
def test_wrong_questions(store, ask, message):
    with pytest.raises(VisemoError, match=message) as error:
        ask(store)
    assert "\n" not in str(error.value)


def test_no_shapes_where_the_source_has_none(store):
    (store.folder / "subjects" / "ann.shapes.npy").unlink()
    with pytest.raises(VisemoError, match="got no shapes of ann"):
        store.shapes("ann")


def damage(folder, name, text):
    path = folder / name
    path.unlink() if text is None else path.write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("manifest.json", None, "half-written store"),
        ("manifest.json", "{", "damaged manifest"),
        ("manifest.json", "{}", "damaged manifest"),
        ("manifest.json", json.dumps({"schema": "other/9"}), "got schema other/9"),
        ("takes/ann_s.npy", None, "got no takes/ann_s.npy"),
        ("subjects/bob.npy", None, "got no subjects/bob.npy"),
    ],
)
def test_bad_stores(tmp_path, name, text, message):
    damage(write(tmp_path / "store"), name, text)
    with pytest.raises(VisemoError, match=message):
        open_store(tmp_path / "store")


def test_what_is_no_store(tmp_path):
    with pytest.raises(VisemoError, match="no such folder"):
        open_store(tmp_path / "absent")
    with pytest.raises(VisemoError, match=r"no manifest\.json"):
        open_store(tmp_path)


def test_a_store_is_never_overwritten(tmp_path):
    before = (write(tmp_path / "store") / "manifest.json").read_bytes()
    with pytest.raises(VisemoError, match="a finished store"):
        write(tmp_path / "store")
    assert (tmp_path / "store" / "manifest.json").read_bytes() == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(VisemoError, match="not an empty folder"):
        write(tmp_path / "full")
    with pytest.raises(VisemoError, match="cannot make this folder"):
        write(tmp_path / "no" / "such" / "folder")


def test_a_failed_writer_leaves_nothing(tmp_path):
    def fail():
        with StoreWriter(tmp_path / "store", make_face(), source="x", fps=30, licence="") as writer:
            writer.add_subject("ann", make_face().template)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert list((tmp_path / "store").iterdir()) == []
    write(tmp_path / "store")


def test_bad_takes_are_refused(tmp_path):
    good = Take("a", "ann", "speech", 3, 30.0)
    with StoreWriter(tmp_path / "store", make_face(), source="x", fps=30, licence="") as writer:
        writer.add_subject("ann", make_face().template)
        writer.add_subject("bob", make_face().template)
        writer.add_take(good, random_motion(3, 0))
        writer.add_take(replace(good, id="b", subject="bob"), random_motion(3, 0))
        for take in (good, replace(good, id="c", subject="carl"), replace(good, id="d", kind="song")):
            with pytest.raises(VisemoError, match="an id used once"):
                writer.add_take(take, random_motion(3, 0))
        with pytest.raises(VisemoError, match="got motion of shape"):
            writer.add_take(replace(good, id="e"), random_motion(4, 0))
        with pytest.raises(VisemoError, match="8000 Hz"):
            writer.add_take(replace(good, id="e"), random_motion(3, 0), Waveform(np.zeros(8, np.float32), 8000))
        with pytest.raises(VisemoError, match=r"neutral of dan: got shape \(4, 3\)"):
            writer.add_subject("dan", make_face().template[:4])
        with pytest.raises(VisemoError, match="unknown takes"):
            writer.add_split("s", {"train": ("a",), "val": ("ghost",), "test": ()})
        with pytest.raises(VisemoError, match="in two parts"):
            writer.add_split("s", {"train": ("a",), "val": ("a",), "test": ()})
        with pytest.raises(VisemoError, match="two takes of one subject"):
            writer.add_pairs((Pair("a", "b"),))


def test_vocaset_splits_count_as_published():
    missing = {("FaceTalk_170811_03274_TA", 24), ("FaceTalk_170809_00138_TA", 32)}
    takes = [
        Take(f"{subject}_{n}", subject, "speech", 10, 60.0, sentence=f"sentence{n:02d}")
        for subject in VOCASET_TRAIN + VOCASET_VAL + VOCASET_TEST
        for n in range(1, 41)
        if (subject, n) not in missing
    ]
    splits = vocaset_splits(takes)
    assert {p: len(ids) for p, ids in splits["faceformer"].items()} == {"train": 319, "val": 40, "test": 39}
    assert len(splits["paper"]["test"]) == 119
    assert not set(splits["paper"]["test"]) & set(splits["paper"]["train"] + splits["paper"]["val"])


def test_numbered_splits():
    subjects = tuple(f"S{n}" for n in range(12))
    takes = [Take(subject, subject, "expression", 10, 30.0) for subject in subjects]
    splits = numbered_splits(takes, subjects)
    assert {p: len(ids) for p, ids in splits["faceformer"].items()} == {"train": 8, "val": 2, "test": 2}
    assert {p: len(ids) for p, ids in splits["paper"].items()} == {"train": 8, "val": 1, "test": 3}
    assert list(numbered_splits(takes[:3], subjects[:3])) == ["faceformer"]
    with pytest.raises(VisemoError, match="got 2 subjects"):
        numbered_splits(takes[:2], subjects[:2])
    with pytest.raises(VisemoError, match="in one part only"):
        by_subject(takes, ["S1"], ["S1"], [])
