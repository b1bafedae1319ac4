"""Captures become takes: motion of the face's own shapes, sound or an expression, people, and takes for testing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tiny import tone
from visemo.cli import main
from visemo.data.captures import Capture
from visemo.data.recorded import find_recordings, held_out, make_recorded, put_on
from visemo.data.store import Take
from visemo.face.arkit import ARKIT_NAMES
from visemo.media import save_wav
from visemo.types import VisemoError


def record(folder, name, *, frames=45, fps=60.0, seconds=0.7, names=ARKIT_NAMES, sound=True, **facts):
    """A capture of random curves with its sound; returns the curves (frames, n)."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = np.random.default_rng(len(name)).uniform(0, 1, (frames, len(names))).astype(np.float32)
    np.savez(folder / f"{name}.npz", names=np.array(names), weights=weights, fps=fps, **facts)
    if sound:
        save_wav(tone(seconds), folder / f"{name}.wav")
    return weights


@pytest.fixture(scope="module")
def face():
    from visemo.face.library import load_face

    return load_face("builtin")


def test_takes_show_the_curves_on_the_face(face, tmp_path):
    weights = record(tmp_path / "in" / "ann", "one")
    (tmp_path / "in" / "LICENSE").write_text("\n MIT License\nmore\n")
    store, skipped = make_recorded(tmp_path / "store", tmp_path / "in", face)
    (take,) = store.sequences
    assert (take.id, take.subject, take.kind, take.fps) == ("ann_one", "ann", "speech", 30.0) and not skipped
    assert take.frames == 21  # of 22 at 30 a second, as long as the sound
    assert store.audio(take.id).seconds == pytest.approx(take.seconds, abs=1e-3)
    shapes = np.stack([face.shape(name) for name in ARKIT_NAMES])
    expected = np.tensordot(weights[::2][: take.frames], shapes, 1)
    np.testing.assert_allclose(np.asarray(store.motion(take.id), np.float32), expected, atol=5e-5)
    np.testing.assert_array_equal(store.neutral("ann"), face.template)
    assert store.manifest["licence"] == "MIT License" and store.phones(take.id) == ()


def test_the_last_of_three_takes_is_kept_for_testing(face, tmp_path):
    for name in ("c", "a", "b"):
        record(tmp_path / "in" / "ann", name)
    record(tmp_path / "in" / "bob", "only")
    record(tmp_path / "in" / "bob", "mute", sound=False, label="speech")
    store, skipped = make_recorded(tmp_path / "store", tmp_path / "in", face)
    for name in ("faceformer", "paper", "heldout"):
        assert store.split(name) == {"train": ("ann_a", "ann_b", "bob_only"), "val": (), "test": ("ann_c",)}
    assert skipped == (("bob/mute.npz", "talk without sound", ""),)
    assert store.manifest["counts"] == {"takes": 4, "talk without sound": 1}
    assert "unknown" in store.manifest["licence"]


@pytest.mark.parametrize(
    ("name", "facts", "label"),
    [
        ("fearful_161", {}, "fear"),
        ("take_7", {"label": "anger|disgust"}, "angry"),
        ("Sad-2", {}, "sad"),
        ("x", {"label": "Happiness"}, "happy"),
        ("Smile2", {}, "smile"),
        ("42", {}, "unnamed"),
    ],
)
def test_a_capture_without_sound_is_an_expression(face, tmp_path, name, facts, label):
    weights = record(tmp_path / "in" / "ann", name, sound=False, **facts)
    store, skipped = make_recorded(tmp_path / "store", tmp_path / "in", face)
    (take,) = store.sequences
    assert (take.kind, take.label, take.frames) == ("expression", label, 22) and not skipped
    shapes = np.stack([face.shape(n) for n in ARKIT_NAMES])
    expected = np.tensordot(weights[::2][: take.frames], shapes, 1)
    np.testing.assert_allclose(np.asarray(store.motion(take.id), np.float32), expected, atol=5e-5)


def test_a_store_of_captures_is_gone_on_with(face, tmp_path):
    for name in ("a", "b", "c"):
        record(tmp_path / "in" / "ann", name, frames=12)
    whole, _ = make_recorded(tmp_path / "whole", tmp_path / "in", face)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_recorded(tmp_path / "store", tmp_path / "in", face, stop)
    first = (tmp_path / "store" / "takes" / "ann_a.npy").stat().st_mtime_ns
    store, _ = make_recorded(tmp_path / "store", tmp_path / "in", face)
    assert (tmp_path / "store" / "takes" / "ann_a.npy").stat().st_mtime_ns == first
    assert store.manifest == whole.manifest


def test_rigs_with_halves_and_without_a_tongue_are_driven_too(face):
    """ICT splits what ARKit has whole, and has no tongue: both halves follow the one curve."""
    names = [n for n in face.shape_names if n != "tongueOut"]
    shapes = np.stack([face.shape(n) for n in names])
    half = shapes[names.index("browInnerUp")] * np.float32(0.5)
    split = [n for n in names if n != "browInnerUp"]
    renamed = [n.removesuffix("Left") + "_L" if n.endswith("SmileLeft") else n for n in split]
    rest = np.stack([shapes[names.index(n)] for n in split])
    rig = replace(
        face, parts=(), shape_names=(*renamed, "browInnerUp_L", "browInnerUp_R"), shapes=np.stack([*rest, half, half])
    )
    weights = np.random.default_rng(0).uniform(0, 1, (3, 52)).astype(np.float32)
    weights[:, ARKIT_NAMES.index("tongueOut")] = 0
    moved = put_on(rig, Capture(weights, 30.0))
    np.testing.assert_allclose(moved, put_on(face, Capture(weights, 30.0)), atol=1e-6)


def test_other_curves_are_translated_by_the_guess_beside_them(face, tmp_path):
    weights = record(tmp_path / "in" / "ann", "one", names=("gape", "rest"), fps=30.0, frames=21)
    (tmp_path / "in" / "ann" / "x_guess.json").write_text(json.dumps({"gape": [["jawOpen", 0.5]]}))
    store, _ = make_recorded(tmp_path / "store", tmp_path / "in", face)
    expected = 0.5 * weights[:, 0, None, None] * face.shape("jawOpen")
    np.testing.assert_allclose(np.asarray(store.motion("ann_one"), np.float32), expected[:21], atol=5e-5)


def test_speakers_are_told_apart_by_the_whole_path(face, tmp_path, monkeypatch):
    """Two people who both have a `day1`, one who lies at the top, and a folder that only looks like a licence."""
    for place in ("ann/day1", "bob/day1", "."):
        record(tmp_path / "in" / place, "one", frames=12)
    (tmp_path / "in" / "LICENSES").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    store, _ = make_recorded(tmp_path / "store", ".", face)
    assert {take.id: take.subject for take in store.sequences} == {
        "ann_day1_one": "ann_day1", "bob_day1_one": "bob_day1", "in_one": "in",
    }  # fmt: skip


def test_a_store_s_hash_tells_how_its_curves_were_read(face, tmp_path):
    record(tmp_path / "in" / "ann", "one", names=("gape", "rest"))
    hashes = []
    for number, factor in enumerate((0.5, 0.6)):
        (tmp_path / "in" / "ann" / "x_guess.json").write_text(json.dumps({"gape": [["jawOpen", factor]]}))
        store, _ = make_recorded(tmp_path / f"store{number}", tmp_path / "in", face)
        hashes.append(store.manifest["generator"]["hash"])
    assert hashes[0] != hashes[1]


def test_real_takes_on_a_real_rig(shared_data, tmp_path):
    """ICT's head has no tongue; the take is named by its own label."""
    from visemo.face.ict import ict_face

    face = ict_face(shared_data / "ict")
    (tmp_path / "in").mkdir()
    take = shared_data / "motion" / "arkit_emotion_neurosync" / "sad_167.npz"
    with np.load(take) as arrays:
        short = {name: arrays[name][:240] if arrays[name].ndim else arrays[name] for name in arrays.files}
    np.savez(tmp_path / "in" / "take.npz", **{**short, "names": np.load(take)["names"]})
    store, _ = make_recorded(tmp_path / "store", tmp_path / "in", face)
    (row,) = store.sequences
    assert (row.kind, row.label, row.frames) == ("expression", "sad", 120)
    assert 2e-3 < np.abs(store.motion(row.id)).max() < 0.03


def test_what_is_no_captured_talk_is_refused(face, tiny_face, tmp_path):
    with pytest.raises(VisemoError, match="got no such folder, expected one with captures"):
        find_recordings(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VisemoError, match=r"got no captures, expected NAME.npz or NAME.csv"):
        find_recordings(tmp_path / "empty")
    record(tmp_path / "mute", "one", sound=False, label="speech")
    with pytest.raises(VisemoError, match="got 1 captures of talk, none with a sound"):
        make_recorded(tmp_path / "s", tmp_path / "mute", face)
    record(tmp_path / "twice", "one")
    (tmp_path / "twice" / "one.csv").write_text("")
    with pytest.raises(VisemoError, match=r"got one.csv and one.npz, two captures of one name, expected one"):
        find_recordings(tmp_path / "twice")
    bare = replace(tiny_face, shape_names=tiny_face.shape_names[:3], shapes=tiny_face.shapes[:3])
    with pytest.raises(VisemoError, match=r"got no shapes .* expected all 52 ARKit shapes"):
        put_on(bare, Capture(np.zeros((2, 52), np.float32), 30.0))


def test_the_command_line_prepares_captures(tmp_path, capsys):
    record(tmp_path / "in" / "ann", "one")
    record(tmp_path / "in" / "ann", "two", sound=False, label="speech")
    record(tmp_path / "in" / "ann", "grin", sound=False)
    assert main(["prepare", "captures", f"{tmp_path}/in", "-o", f"{tmp_path}/store"]) == 0
    said = capsys.readouterr().out
    assert "2 takes, 1 of talk, 1 of expressions" in said
    assert "passed over 1, talk without sound: ann/two.npz" in said


def test_what_is_held_out_leaves_its_like_behind():
    def takes(*labels):
        return [Take(f"{n}", "ann", "expression", 1, 30.0, label=label) for n, label in enumerate(labels)]

    assert held_out(takes("fear", "fear", "sad", "sad", "joy")) == ["3", "1"]
    assert held_out(takes("", "", "")) == ["2"]
    assert held_out(takes("", "")) == []
    assert held_out(takes("fear", "sad", "joy", "anger")) == []
