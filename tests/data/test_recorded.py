"""Captured talk becomes speech takes: motion of the face's own shapes, sound, speakers, and a take kept for testing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tiny import tone
from visemo.cli import main
from visemo.data.captures import Capture
from visemo.data.recorded import find_recordings, make_recorded, put_on
from visemo.face.arkit import ARKIT_NAMES
from visemo.media import save_wav
from visemo.types import VisemoError


def record(folder, name, *, frames=45, fps=60.0, seconds=0.7, names=ARKIT_NAMES, sound=True):
    """A capture of random curves with its sound; returns the curves (frames, n)."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = np.random.default_rng(len(name)).uniform(0, 1, (frames, len(names))).astype(np.float32)
    np.savez(folder / f"{name}.npz", names=np.array(names), weights=weights, fps=fps)
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
    store, silent = make_recorded(tmp_path / "store", tmp_path / "in", face)
    (take,) = store.sequences
    assert (take.id, take.subject, take.kind, take.fps) == ("ann_one", "ann", "speech", 30.0) and not silent
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
    record(tmp_path / "in" / "bob", "mute", sound=False)
    store, silent = make_recorded(tmp_path / "store", tmp_path / "in", face)
    for name in ("faceformer", "paper", "heldout"):
        assert store.split(name) == {"train": ("ann_a", "ann_b", "bob_only"), "val": (), "test": ("ann_c",)}
    assert [path.name for path in silent] == ["mute.npz"]
    assert "unknown" in store.manifest["licence"]


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


def test_what_is_no_captured_talk_is_refused(face, tiny_face, tmp_path):
    with pytest.raises(VisemoError, match="got no such folder, expected one with captures"):
        find_recordings(tmp_path / "none")
    record(tmp_path / "mute", "one", sound=False)
    with pytest.raises(VisemoError, match="got 1 captures, none with a sound"):
        find_recordings(tmp_path / "mute")
    record(tmp_path / "twice", "one")
    (tmp_path / "twice" / "one.csv").write_text("")
    with pytest.raises(VisemoError, match=r"got one.csv and one.npz for one sound, expected one capture of it"):
        find_recordings(tmp_path / "twice")
    bare = replace(tiny_face, shape_names=tiny_face.shape_names[:3], shapes=tiny_face.shapes[:3])
    with pytest.raises(VisemoError, match=r"got no shapes .* expected all 52 ARKit shapes"):
        put_on(bare, Capture(np.zeros((2, 52), np.float32), 30.0))


def test_the_command_line_prepares_captures(tmp_path, capsys):
    record(tmp_path / "in" / "ann", "one")
    record(tmp_path / "in" / "ann", "two", sound=False)
    assert main(["prepare", "captures", f"{tmp_path}/in", "-o", f"{tmp_path}/store"]) == 0
    assert "1 takes; passed over 1 without sound, such as two.npz" in capsys.readouterr().out
