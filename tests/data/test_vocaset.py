"""VOCASET in its three layouts gives back what was planted in it, and says what is wrong with a bad copy."""

import os
import pickle
import tracemalloc

import numpy as np
import pytest

from data.published import (
    RATE,
    SPEAKERS,
    hum,
    people,
    ply_bytes,
    small_head,
    talk,
    write_python2_pickle,
    write_vocaset,
)
from visemo.data.source import Source
from visemo.data.vocaset import _pickled_sounds, read_vocaset
from visemo.geometry.mesh import write_mesh
from visemo.types import Mesh, VisemoError

HEAD = small_head()
PEOPLE = people(HEAD.mesh, SPEAKERS[:2])
ANN, BOB = SPEAKERS[:2]
NAMES = [(ANN, "sentence01"), (ANN, "sentence22"), (BOB, "sentence01")]
MOTIONS = {name: talk(HEAD.mesh, 20 + n, n) for n, name in enumerate(NAMES)}
SOUNDS = {name: (hum(len(motion) / 60), RATE) for name, motion in MOTIONS.items()}
LAYOUTS = ("distributed", "faceformer", "unposed", "zipped")


def write(folder, layout="distributed", motions=MOTIONS, sounds=SOUNDS, neutrals=PEOPLE):
    return write_vocaset(folder, HEAD.mesh, neutrals, motions, sounds, layout=layout)


def frames_of(source: Source, id: str) -> np.ndarray:
    sequence = next(s for s in source.sequences if s.id == id)
    return np.concatenate([sequence.read(n, min(n + 7, sequence.frames)) for n in range(0, sequence.frames, 7)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_back_what_was_planted(tmp_path, layout):
    source = read_vocaset(write(tmp_path, layout))
    assert [s.id for s in source.sequences] == ["_".join(name) for name in NAMES]
    assert (source.fps, source.posed, source.skipped, source.remarks) == (60.0, False, (), ())
    np.testing.assert_array_equal(source.mesh.triangles, HEAD.mesh.triangles)
    for name, motion in MOTIONS.items():
        sequence = next(s for s in source.sequences if (s.subject, s.sentence) == name)
        assert (sequence.kind, sequence.frames) == ("speech", len(motion))
        np.testing.assert_allclose(frames_of(source, sequence.id), PEOPLE[name[0]] + motion, atol=1e-7)
        assert sequence.sound is not None
        sound = sequence.sound()
        assert sound.sample_rate == 16_000 and sound.seconds == pytest.approx(len(motion) / 60, abs=1e-3)
        assert np.abs(sound.samples).max() == pytest.approx(6000 / 32768, rel=0.05)
    for name, neutral in PEOPLE.items():
        np.testing.assert_allclose(source.neutrals[name], neutral, atol=1e-7)


def test_speakers_come_in_the_published_order(tmp_path):
    names = {(speaker, "sentence01"): MOTIONS[NAMES[0]] for speaker in reversed(SPEAKERS)}
    sounds = {name: SOUNDS[NAMES[0]] for name in names}
    source = read_vocaset(write(tmp_path, motions=names, sounds=sounds, neutrals=people(HEAD.mesh, SPEAKERS)))
    assert tuple(source.neutrals) == SPEAKERS == tuple(s.subject for s in source.sequences)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_has_no_partner_is_listed_and_left_out(tmp_path, layout):
    cat = (SPEAKERS[2], "sentence01")
    motions = {**MOTIONS, (BOB, "sentence02"): talk(HEAD.mesh, 9), cat: talk(HEAD.mesh, 9)}
    sounds = {**SOUNDS, (BOB, "sentence03"): SOUNDS[NAMES[0]], cat: SOUNDS[NAMES[0]]}
    source = read_vocaset(write(tmp_path, layout, motions, sounds))
    assert [s.id for s in source.sequences] == ["_".join(name) for name in NAMES]
    assert {(what, why) for what, why, _ in source.skipped} == {
        (f"{BOB}_sentence02", "mesh without sound"),
        (f"{BOB}_sentence03", "sound without mesh"),
        ("_".join(cat), "subject without template"),
    }
    assert source.counts["sequences"] == 3 and source.counts["mesh without sound"] == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_common_length_is_kept_and_said(tmp_path, layout):
    sounds = {**SOUNDS, NAMES[0]: (hum(12 / 60), RATE), NAMES[1]: (hum(1.0), RATE)}
    first, second, third = read_vocaset(write(tmp_path, layout, sounds=sounds)).sequences
    assert (first.frames, first.notes) == (12, {"cut_frames": 8})
    assert (second.frames, second.notes) == (21, {"cut_sound": 0.65})
    assert (third.frames, third.notes) == (22, {})


def test_zero_length_sequences_are_passed_over(tmp_path):
    nothing = np.zeros((0, len(HEAD.mesh.vertices), 3), np.float32)
    source = read_vocaset(write(tmp_path / "a", "faceformer", {**MOTIONS, (BOB, "sentence09"): nothing}))
    assert (f"{BOB}_sentence09", "zero-length sequence", "") in source.skipped
    write(tmp_path / "b", "unposed")
    (tmp_path / "b" / BOB / "sentence09").mkdir()
    assert (f"{BOB}_sentence09", "zero-length sequence", "") in read_vocaset(tmp_path / "b").skipped
    source = read_vocaset(write(tmp_path / "c", sounds={**SOUNDS, NAMES[0]: (hum(0), RATE)}))
    assert ("_".join(NAMES[0]), "zero-length sequence", "") in source.skipped


def test_millimetres_become_metres_with_a_word_about_it(tmp_path):
    write(tmp_path)
    rows = np.load(tmp_path / "data_verts.npy")
    np.save(tmp_path / "data_verts.npy", rows * 1000)
    write_python2_pickle(tmp_path / "templates.pkl", {name: 100.0 * rest for name, rest in PEOPLE.items()})
    source = read_vocaset(tmp_path)
    assert any("converted from mm" in remark for remark in source.remarks)
    assert any("converted from cm" in remark for remark in source.remarks)
    np.testing.assert_allclose(source.sequences[0].read(0, 1)[0], PEOPLE[ANN] + MOTIONS[NAMES[0]][0], atol=1e-6)
    np.testing.assert_allclose(source.neutrals[ANN], PEOPLE[ANN], atol=1e-6)


def test_an_index_with_holes_costs_that_sentence_only(tmp_path):
    write(tmp_path)
    index = {ANN: {"sentence01": {0: 0, 2: 1}, "sentence22": {0: 10**6}}, BOB: {"sentence01": {0: 5, 1: 4}}}
    write_python2_pickle(tmp_path / "subj_seq_to_idx.pkl", index)
    source = read_vocaset(tmp_path)
    assert [s.id for s in source.sequences] == [f"{BOB}_sentence01"]
    rows = np.load(tmp_path / "data_verts.npy")
    np.testing.assert_array_equal(source.sequences[0].read(0, 2), rows[[5, 4]])
    assert source.counts["frames missing from the index or the array"] == 2


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.int64, np.float64])
def test_sounds_of_any_number_type_are_equally_loud(tmp_path, kind):
    samples = hum(0.2).astype(kind)
    if kind == np.float64:
        samples = samples / 32767
    if kind == np.int32:
        samples = samples * 65536
    stereo = np.stack([samples, samples], axis=1)
    write_python2_pickle(
        tmp_path / "a.pkl",
        {"x": {"one": {"audio": samples, "sample_rate": RATE}, "two": {"audio": stereo, "sample_rate": RATE}}},
    )
    for sound in _pickled_sounds(tmp_path / "a.pkl").values():
        assert np.abs(sound.load().samples).max() == pytest.approx(6000 / 32768, rel=0.02)


def test_reading_the_sounds_takes_little_more_memory_than_the_file(tmp_path):
    audio = {"audio": np.tile(hum(2.0), 10).astype(np.int64), "sample_rate": RATE}
    write_python2_pickle(
        tmp_path / "a.pkl", {f"s{n}": {"one": {**audio, "audio": audio["audio"] + n}} for n in range(6)}
    )
    size = (tmp_path / "a.pkl").stat().st_size
    tracemalloc.start()
    sounds = _pickled_sounds(tmp_path / "a.pkl")
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(sounds) == 6 and peak < 1.7 * size and now < 0.3 * size


def spoil(name):
    """A change to one file of the distributed layout."""

    def pickled(folder, value):
        write_python2_pickle(folder / name, value)

    return pickled


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harm",)


def shuffled(vertices):
    return vertices[np.random.default_rng(0).permutation(len(vertices))]


BAD = {
    "code": (
        lambda f: (f / "templates.pkl").write_bytes(pickle.dumps(Harmful(), 2)),
        r"templates.pkl.*system, expected",
    ),
    "no topology": (lambda f: (f / "FLAME_sample.ply").unlink(), "FLAME_sample.ply: got no such file"),
    "no templates": (lambda f: (f / "templates.pkl").unlink(), "templates.pkl: got no such file"),
    "no sound": (lambda f: (f / "raw_audio_fixed.pkl").unlink(), "got neither raw_audio_fixed.pkl nor wav/"),
    "no layout": (lambda f: (f / "data_verts.npy").unlink(), "got none of data_verts.npy"),
    "cut off": (
        lambda f: (f / "data_verts.npy").write_bytes((f / "data_verts.npy").read_bytes()[:-9]),
        "no whole array",
    ),
    "flat": (lambda f: np.save(f / "data_verts.npy", np.zeros((4, 9))), r"got shape \(4, 9\), expected"),
    "no rows": (lambda f: np.save(f / "data_verts.npy", np.zeros((0, len(HEAD.mesh.vertices), 3))), "got no rows"),
    "split FLAME": (
        lambda f: np.save(f / "data_verts.npy", np.zeros((1, 5118, 3), np.float32)),
        "got 5118 vertices, those of FLAME split along its texture seams, expected 604",
    ),
    "unheard-of": (
        lambda f: spoil("templates.pkl")(f, {ANN: np.ones((77, 3))}),
        "got 77 vertices, those of no mesh that visemo knows, expected 604",
    ),
    "text": (lambda f: spoil("templates.pkl")(f, {ANN: "face"}), "expected vertices"),
    "order": (lambda f: spoil("templates.pkl")(f, {ANN: shuffled(PEOPLE[ANN])}), "vertices in another order"),
    "mirrored": (
        lambda f: spoil("templates.pkl")(f, {ANN: PEOPLE[ANN] * np.float32([-1, 1, -1]) @ np.diag([1, -1, 1])}),
        "vertices in another order",
    ),
    "inches": (lambda f: spoil("templates.pkl")(f, {ANN: PEOPLE[ANN] * 10}), "expected a head in m, cm or mm"),
    "nan": (lambda f: spoil("templates.pkl")(f, {ANN: PEOPLE[ANN] * np.nan}), "NaN or infinite coordinates in 604"),
    "list": (lambda f: spoil("templates.pkl")(f, [1, 2]), "got list, expected a dictionary"),
    "index": (lambda f: spoil("subj_seq_to_idx.pkl")(f, {ANN: 3}), "got no dictionary of sentences"),
    "no rate": (lambda f: spoil("raw_audio_fixed.pkl")(f, {ANN: {"a": {"audio": hum(1)}}}), "without 'sample_rate'"),
    "words": (
        lambda f: spoil("raw_audio_fixed.pkl")(f, {ANN: {"a": {"audio": "hum", "sample_rate": 1}}}),
        "without numbers",
    ),
    "rate 0": (
        lambda f: spoil("raw_audio_fixed.pkl")(f, {ANN: {"a": {"audio": hum(1), "sample_rate": 0}}}),
        "at 0 Hz, expected a positive",
    ),
    "nothing in common": (
        lambda f: spoil("raw_audio_fixed.pkl")(f, {}),
        "got no usable sentence .3 mesh without sound",
    ),
    "points": (
        lambda f: write_mesh(f / "FLAME_sample.ply", Mesh(HEAD.mesh.vertices, np.zeros((0, 3), np.int32))),
        "without triangles",
    ),
    "way out": (
        lambda f: (
            spoil("subj_seq_to_idx.pkl")(f, {ANN: {"../x": {0: 0}}}),
            spoil("raw_audio_fixed.pkl")(f, {ANN: {"../x": {"audio": hum(1), "sample_rate": RATE}}}),
        ),
        "expected letters, digits",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_copy_is_refused_in_one_line(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change, message = BAD[name]
    change(write(tmp_path / "copy"))
    with pytest.raises(VisemoError, match=message) as error:
        read_vocaset(tmp_path / "copy")
    assert "\n" not in str(error.value) and not (tmp_path / "harm").exists()


def test_bad_arrays_and_sounds_of_the_faceformer_layout(tmp_path):
    write(tmp_path, "faceformer")
    np.save(tmp_path / "vertices_npy" / "x_sentence01.npy", np.zeros((3, 10), np.float32))
    with pytest.raises(VisemoError, match=r"x_sentence01.npy: got shape \(3, 10\)"):
        read_vocaset(tmp_path)
    (tmp_path / "vertices_npy" / "x_sentence01.npy").unlink()
    (tmp_path / "wav" / "x_sentence01.wav").write_text("no sound")
    with pytest.raises(VisemoError, match=r"x_sentence01.wav: got no readable sound"):
        read_vocaset(tmp_path)


def test_two_sequences_of_one_name(tmp_path):
    write(tmp_path, "unposed")
    write(tmp_path, "zipped")
    with pytest.raises(VisemoError, match=r"got two sequences named .*/sentence01"):
        read_vocaset(tmp_path)
    write(tmp_path / "other", "unposed")
    (tmp_path / "other" / "backup").mkdir()
    (tmp_path / "other" / ANN).rename(tmp_path / "other" / "backup" / ANN)
    write(tmp_path / "other", "unposed")
    with pytest.raises(VisemoError, match="got two sequences named"):
        read_vocaset(tmp_path / "other")


def test_sounds_beside_the_meshes_and_a_topology_elsewhere(tmp_path):
    import soundfile

    write(tmp_path / "in", "unposed")
    for (speaker, sentence), (samples, rate) in SOUNDS.items():
        soundfile.write(tmp_path / "in" / speaker / f"{sentence}.wav", samples, rate)
    (tmp_path / "in" / "raw_audio_fixed.pkl").unlink()
    (tmp_path / "in" / "FLAME_sample.ply").unlink()
    (tmp_path / "head.ply").write_bytes(ply_bytes(HEAD.mesh.vertices, HEAD.mesh.triangles))
    assert len(read_vocaset(tmp_path / "in", tmp_path / "head.ply").sequences) == 3
