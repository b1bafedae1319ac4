"""A published data set becomes a store whose takes are what was planted, on the face; and what is bad stays out."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.published import (
    IDENTITIES,
    RATE,
    SPEAKERS,
    flame_head,
    hum,
    nodding,
    people,
    small_head,
    smile,
    talk,
    write_expression_meshes,
    write_florence4d,
    write_vocaset,
)
from visemo.data import unposing
from visemo.data.checks import unit_of
from visemo.data.expression_meshes import read_expression_meshes
from visemo.data.florence4d import read_florence4d
from visemo.data.frames import frames_at
from visemo.data.journal import JOURNAL
from visemo.data.prepare import PrepareConfig, prepare
from visemo.data.source import Sequence, Source
from visemo.data.splits import shared_splits
from visemo.data.store import TRANSFER, StoreWriter, Take, open_store
from visemo.data.unposing import close_lips, lay_on
from visemo.data.vocaset import read_vocaset
from visemo.face.library import load_face
from visemo.geometry.align import rigid_align
from visemo.types import VisemoError, Waveform

HEAD = small_head()
ROWS = HEAD.face.cut.rows
PEOPLE = people(HEAD.mesh, SPEAKERS)
LENGTHS = {(who, f"sentence{n:02d}"): 20 + 3 * n for who in SPEAKERS for n in (1, 21)}
MOTIONS = {name: talk(HEAD.mesh, frames, k) for k, (name, frames) in enumerate(LENGTHS.items())}
SOUNDS = {name: (hum(len(motion) / 60), RATE) for name, motion in MOTIONS.items()}
SMILES = {(IDENTITIES[who], "Smile2"): smile(HEAD.mesh, 9 + k, k) for k, who in enumerate(SPEAKERS)}
AT_REST = {IDENTITIES[who]: rest for who, rest in PEOPLE.items()}


@pytest.fixture(scope="module")
def vocaset(tmp_path_factory):
    return write_vocaset(tmp_path_factory.mktemp("vocaset"), HEAD.mesh, PEOPLE, MOTIONS, SOUNDS)


@pytest.fixture(scope="module")
def florence(tmp_path_factory):
    frames = {key: AT_REST[key[0]] + motion for key, motion in SMILES.items()}
    moved = {key: nodding(vertices, n) for n, (key, vertices) in enumerate(frames.items())}
    return write_florence4d(tmp_path_factory.mktemp("florence"), HEAD.mesh, AT_REST, moved)


def source_of(*sequences, **changes):
    return Source("made up", "none", 30.0, HEAD.mesh, PEOPLE, sequences, **changes)


def sequence(frames, id="take", **changes):
    return Sequence(id, SPEAKERS[0], "expression", len(frames), lambda a, b: frames[a:b], **changes)


# ---------------------------------------------------------------- what comes out


def test_speech_is_what_was_planted(vocaset, tmp_path):
    made = prepare(tmp_path / "store", read_vocaset(vocaset), HEAD.face, PrepareConfig(block=7))
    store = made.store
    store.check_face(HEAD.face)
    assert store.fps == 60 and store.subjects == SPEAKERS and made.skipped == () and made.cut == 0
    assert store.manifest["counts"] == {"takes": 24, "cut to a common length": 0}
    assert store.manifest["registration"]["kind"] == "exact rows" and "non-commercial" in store.manifest["licence"]
    for take in store.sequences:
        motion = MOTIONS[take.subject, take.sentence][:, ROWS]
        np.testing.assert_allclose(store.motion(take.id), motion, atol=1e-5)
        assert store.audio(take.id).seconds == pytest.approx(take.seconds, abs=1e-3)
    for who in SPEAKERS:
        np.testing.assert_allclose(store.neutral(who), PEOPLE[who][ROWS], atol=1e-7)


def test_expressions_are_held_still_and_their_apex_is_found(florence, tmp_path):
    store = prepare(tmp_path / "store", read_florence4d(florence), HEAD.face).store
    assert set(store.subjects) == set(SPEAKERS)
    for (identity, label), motion in SMILES.items():
        take = next(t for t in store.sequences if t.notes["identity"] == identity)
        assert (take.kind, take.label) == ("expression", label)
        np.testing.assert_allclose(store.motion(take.id), motion[:, ROWS], atol=5e-5)
        size = np.linalg.norm(motion[:, ROWS], axis=2).mean(axis=1)
        assert size[take.notes["apex"]] == size.max()
        assert take.notes["apex_mean_mm"] == pytest.approx(1e3 * size.max(), rel=0.02)


def test_nobody_is_trained_on_in_one_data_set_and_tested_on_in_the_other(vocaset, florence, tmp_path):
    stores = [
        prepare(tmp_path / name, source, HEAD.face).store
        for name, source in [("v", read_vocaset(vocaset)), ("f", read_florence4d(florence))]
    ]
    for split in ("faceformer", "paper", "heldout"):
        who = {
            part: {store.sequence(id).subject for store in stores for id in store.split(split)[part]}
            for part in ("train", "val", "test")
        }
        assert not who["train"] & who["test"] and not who["train"] & who["val"] and not who["val"] & who["test"]
        assert len(who["test"]) == (3 if split == "paper" else 2)
    assert len(stores[0].split("faceformer")["test"]) == 2 and len(stores[0].split("paper")["test"]) == 6
    stranger = Take("x", "Daz_Anna", "expression", 1, 30.0)
    assert all(split["train"] == ("x",) for split in shared_splits([stranger]).values())


def test_apex_meshes_start_from_closed_lips(tmp_path):
    face = HEAD.face
    upper, lower = face.lip_pairs.T
    parted = np.zeros_like(HEAD.mesh.vertices)
    parted[ROWS[lower], 1] = -0.003
    labels = "abcd"
    apexes = {
        ("COMA_CH02", label): AT_REST["COMA_CH02"] + parted + smile(HEAD.mesh, 3, n)[1] * (n - 1.5)
        for n, label in enumerate(labels)
    }
    moved = {key: nodding(vertices[None], n)[0] for n, (key, vertices) in enumerate(apexes.items())}
    write_expression_meshes(tmp_path / "in", HEAD.mesh, moved)
    store = prepare(tmp_path / "store", read_expression_meshes(tmp_path / "in"), face).store
    (who,) = store.subjects
    assert store.manifest["subjects"][who]["rest"] == "proxy, lips closed"
    neutral = store.neutral(who)
    np.testing.assert_allclose(neutral[lower] - neutral[upper], 0, atol=1e-6)
    for take in store.sequences:
        motion = np.asarray(store.motion(take.id), np.float32)
        assert not motion[[0, -1]].any() and take.notes["apex"] in range(18, 36)
        apex = neutral + motion[take.notes["apex"]]
        turned = lay_on(apex[None], apexes["COMA_CH02", take.label][ROWS], np.arange(len(ROWS)))[0]
        np.testing.assert_allclose(turned, apexes["COMA_CH02", take.label][ROWS], atol=2e-4)


def registered(face, **facts):
    """A face in another frame of reference, and a registration that knows where it lies on the head."""
    turn, shift = Rotation.from_euler("xyz", (5, 20, -10), degrees=True).as_matrix(), np.array([0.1, -0.2, 0.05])
    template = (face.template @ turn.T + shift).astype(np.float32)
    other = replace(face, triangles=face.triangles[:, [1, 2, 0]].copy(), template=template, cut=None)
    calls = []

    def register(mesh, asked, landmarks):
        calls.append((mesh, asked, landmarks))
        return SimpleNamespace(vertices=mesh.vertices[ROWS], distance_mean=0.02, distance_max=0.5)

    return other, register, turn, shift, calls


def test_another_topology_is_registered_once_and_turned_into_the_face_s_frame(vocaset, tmp_path):
    face, register, turn, shift, calls = registered(HEAD.face)
    store = prepare(tmp_path / "store", read_vocaset(vocaset), face, register=register).store
    assert len(calls) == 1 and store.manifest["registration"]["mean_mm"] == 0.02
    for take in store.sequences[:5]:
        np.testing.assert_allclose(
            store.motion(take.id), MOTIONS[take.subject, take.sentence][:, ROWS] @ turn.T, atol=1e-5
        )
        np.testing.assert_allclose(store.neutral(take.subject), PEOPLE[take.subject][ROWS] @ turn.T + shift, atol=1e-5)


def test_the_same_topology_in_another_place_is_turned_too(tmp_path):
    frames = PEOPLE[SPEAKERS[0]] + smile(HEAD.mesh, 5)
    turn = Rotation.from_euler("y", 30, degrees=True).as_matrix()
    face = replace(HEAD.face, template=(HEAD.face.template @ turn.T).astype(np.float32))
    store = prepare(tmp_path / "s", source_of(sequence(frames)), face).store
    np.testing.assert_allclose(store.motion("take"), smile(HEAD.mesh, 5)[:, ROWS] @ turn.T, atol=1e-5)


def test_single_precision_keeps_more(tmp_path):
    frames = PEOPLE[SPEAKERS[0]] + smile(HEAD.mesh, 5)
    errors = {}
    for precision in ("float16", "float32"):
        config = PrepareConfig(precision=precision)
        store = prepare(tmp_path / precision, source_of(sequence(frames)), HEAD.face, config).store
        assert store.motion("take").dtype == precision == store.manifest["precision"]
        errors[precision] = np.abs(store.motion("take") - smile(HEAD.mesh, 5)[:, ROWS]).max()
    assert errors["float32"] < 2e-8 < errors["float16"] < 5e-6
    with pytest.raises(VisemoError, match="got precision 'float8' and blocks of 64"):
        PrepareConfig(precision="float8")


# ---------------------------------------------------------------- what stays out


def test_damaged_sequences_are_listed_and_the_others_kept(tmp_path):
    rest = PEOPLE[SPEAKERS[0]]
    good = rest + smile(HEAD.mesh, 6)
    torn, mixed = good.copy(), good.copy()
    torn[4, 7, 1] = np.nan
    mixed[0] = mixed[0][::-1]
    source = source_of(
        sequence(torn, "torn"), sequence(good, "good"), sequence(mixed, "mixed"), sequence(1000 * good, "mm"),
        sequence(good[:, :-1], "short"), sequence(good, "deaf", sound=lambda: Waveform(np.zeros(0, np.int8))),
    )  # fmt: skip
    made = prepare(tmp_path / "s", source, HEAD.face, PrepareConfig(block=3))
    assert [take.id for take in made.store.sequences] == ["good"]
    details = {what: detail for what, why, detail in made.skipped if why == "damaged data"}
    assert "NaN or infinite vertices in frame 4" in details["torn"]
    assert "vertices in another order" in details["mixed"]
    assert "1e+03 times the size of its neutral" in details["mm"]
    assert "got 603 vertices, those of no mesh that visemo knows, expected 604" in details["short"]
    assert "waveform: got int8" in details["deaf"]
    assert made.store.manifest["counts"]["damaged data"] == 5 == len(made.store.manifest["skipped"])
    assert sorted(path.name for path in (tmp_path / "s" / "takes").iterdir()) == ["good.npy"]


def test_nothing_usable_is_no_store(tmp_path):
    frames = np.full((3, len(HEAD.mesh.vertices), 3), np.nan, np.float32)
    with pytest.raises(VisemoError, match="got no usable sequence, expected some; the last: take: got NaN"):
        prepare(tmp_path / "s", source_of(sequence(frames)), HEAD.face)
    assert list((tmp_path / "s").iterdir()) == []
    with pytest.raises(VisemoError, match="got two sequences named take"):
        source_of(sequence(frames), sequence(frames))


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(vocaset, tmp_path, monkeypatch):
    source = read_vocaset(vocaset)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e6))
    with pytest.raises(VisemoError, match=r"got 0.0 GB free on its disk, expected 0.2 GB; free some"):
        prepare(tmp_path / "s", source, HEAD.face)
    assert not (tmp_path / "s").exists()
    with pytest.raises(VisemoError, match="got no folder"):
        prepare(tmp_path / "no" / "s", source, HEAD.face)


# ---------------------------------------------------------------- broken off and gone on with


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_broken_off_store_is_gone_on_with_to_the_same_bytes(vocaset, tmp_path):
    face, register, _, _, calls = registered(HEAD.face)
    source = read_vocaset(vocaset)
    prepare(tmp_path / "whole", source, face, register=register)

    def stop(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "s", source, face, register=register, progress=stop)
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "s" / "takes").glob("*.npy")}
    assert 0 < len(finished) < 24 and len(calls) == 2
    with pytest.raises(VisemoError, match=r"half-written store.*go on where it stopped"):
        open_store(tmp_path / "s")
    with pytest.raises(VisemoError, match="half-written store of another precision, expected one of the same"):
        prepare(tmp_path / "s", source, face, PrepareConfig("float32"), register=register)
    with pytest.raises(VisemoError, match="half-written store of another face"):
        prepare(tmp_path / "s", source, HEAD.face)
    (tmp_path / "s" / "takes" / ".cut.off.npy").write_bytes(b"half")
    prepare(tmp_path / "s", source, face, register=register)
    assert len(calls) == 2, "the registration is kept"
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items()), "finished takes are kept"
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")
    with pytest.raises(VisemoError, match="finished store"):
        prepare(tmp_path / "s", source, face, register=register)


def test_what_a_crash_leaves_behind(vocaset, tmp_path):
    """A journal whose last line breaks off, a take that is gone, a journal and a transfer of nonsense."""
    face, register, *_ = registered(HEAD.face)
    source = read_vocaset(vocaset)

    def stop(done, total):
        if done > 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "s", source, face, register=register, progress=stop)
    journal = tmp_path / "s" / JOURNAL
    whole = journal.read_bytes()
    (tmp_path / "s" / TRANSFER).write_bytes(b"PK nonsense")
    with pytest.raises(VisemoError, match="got no usable transfer"):
        prepare(tmp_path / "s", source, face, register=register)
    (tmp_path / "s" / TRANSFER).unlink()
    journal.write_bytes(b"nonsense\n" + whole)
    with pytest.raises(VisemoError, match="damaged journal"):
        prepare(tmp_path / "s", source, face, register=register)
    journal.write_bytes(whole[:-10])
    gone = source.sequences[1].id
    (tmp_path / "s" / "takes" / f"{gone}.npy").unlink()
    store = prepare(tmp_path / "s", source, face, register=register).store
    assert sorted(take.id for take in store.sequences) == sorted(s.id for s in source.sequences)
    assert not journal.exists()


def test_a_plain_writer_refuses_a_half_written_store(tmp_path):
    (tmp_path / "s" / "takes").mkdir(parents=True)
    with pytest.raises(VisemoError, match="half-written store, expected a new folder; delete it first"):
        StoreWriter(tmp_path / "s", HEAD.face, source="x", fps=30, licence="").__enter__()


def test_the_writer_takes_blocks_and_refuses_what_does_not_fit(tmp_path):
    motion = smile(HEAD.mesh, 10)[:, ROWS]
    with StoreWriter(tmp_path / "s", HEAD.face, source="x", fps=30, licence="") as writer:
        writer.add_subject("ann", HEAD.face.template)
        writer.add_take(Take("a", "ann", "expression", 10, 30.0), (motion[n : n + 3] for n in range(0, 10, 3)))
        assert "a" in writer and "b" not in writer
        for blocks in ([motion[:4]], [motion, motion], [motion[:, 1:]], [np.full_like(motion, np.inf)]):
            with pytest.raises(VisemoError, match="take b: got motion of shape"):
                writer.add_take(Take("b", "ann", "expression", 10, 30.0), iter(blocks))
        with pytest.raises(VisemoError, match="got facts splits, expected names that no store uses"):
            writer.add_facts(splits={})
    np.testing.assert_allclose(open_store(tmp_path / "s").motion("a"), motion, atol=1e-5)


# ---------------------------------------------------------------- reading a few frames of much


@pytest.fixture(scope="module", params=["float16", "float32"])
def stored(request, vocaset, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "s"
    return prepare(folder, read_vocaset(vocaset), HEAD.face, PrepareConfig(request.param)).store


@pytest.mark.parametrize("fps", [None, 30.0, 20.0, 60.0, 25.0, 90.0])
def test_scattered_frames_are_those_of_the_whole_motion(stored, fps):
    store = stored
    for take in store.sequences[:3]:
        motion = np.asarray(store.motion(take.id, fps), np.float32)
        slow = np.asarray(np.load(store.folder / "takes" / f"{take.id}.npy"), np.float32)
        rate = fps or 60.0
        expected = frames_at(slow, np.arange(max(1, round(take.frames * rate / 60))) * (60 / rate))
        np.testing.assert_allclose(motion, expected, atol=1e-9)
        chosen = np.random.default_rng(0).integers(len(motion), size=9)
        np.testing.assert_allclose(store.frames(take.id, chosen, fps), motion[chosen], atol=1e-9)


def test_a_take_that_breaks_off_is_named(stored):
    store, id = stored, stored.sequences[5].id
    path = store.folder / "takes" / f"{id}.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(VisemoError, match="got a file that breaks off in frame 82; prepare the data again"):
        store.frames(id, np.array([0, 82]))


# ---------------------------------------------------------------- heads and lips


def test_heads_are_held_still_though_features_move():
    rest = PEOPLE[SPEAKERS[3]]
    frames = nodding(rest + smile(HEAD.mesh, 8, size=2.0), seed=5, degrees=8, metres=0.05)
    laid = lay_on(frames, rest, np.arange(len(rest), dtype=np.int32))
    np.testing.assert_allclose(laid - rest, smile(HEAD.mesh, 8, size=2.0), atol=1e-4)


def test_many_heads_at_once_are_laid_like_each_alone():
    random = np.random.default_rng(0)
    source, target = random.normal(size=(5, 30, 3)), random.normal(size=(30, 3))
    weights = random.uniform(0.1, 1, (5, 30))
    rotations, shifts = unposing._rigid(source, target, weights)
    for points, rotation, shift, w in zip(source, rotations, shifts, weights):
        slow = rigid_align(points, target, w)
        np.testing.assert_allclose(rotation, slow[0], atol=1e-12)
        np.testing.assert_allclose(shift[0], slow[1], atol=1e-12)


@pytest.mark.parametrize("name", ["tiny", "builtin"])
def test_closed_lips_touch_as_in_the_template_and_nothing_far_away_moves(name, tiny_face):
    face = tiny_face if name == "tiny" else load_face("builtin")
    parted = (face.template + 0.25 * face.shape("jawOpen")).astype(np.float32)
    closed = close_lips(face, parted)
    upper, lower = face.lip_pairs.T
    gap = np.linalg.norm(closed[lower] - closed[upper], axis=1)
    wanted = np.linalg.norm(face.template[lower] - face.template[upper], axis=1)
    np.testing.assert_allclose(gap, wanted, atol=2e-6)
    rim = face.template[face.lip_pairs.ravel()]
    far = np.linalg.norm(face.template[:, None] - rim, axis=2).min(axis=1) > 0.036
    np.testing.assert_array_equal(closed[far], parted[far])
    assert np.abs(closed - parted).max() <= np.abs(parted[lower] - parted[upper]).max() + 1e-6


@pytest.mark.parametrize(("factor", "unit"), [(1, "m"), (100, "cm"), (1000, "mm")])
def test_units_are_told_by_the_size_of_a_head(factor, unit):
    assert unit_of("head", HEAD.mesh.vertices * factor) == (unit, pytest.approx(1 / factor))


def test_the_real_topology_goes_the_same_way(tmp_path):
    """FLAME's own 5023 vertices on the frontal face cut out of them, and the same with its vertices shuffled."""
    head = flame_head()
    if head is None:
        pytest.skip("real data not present: set VISEMO_SHARED_DATA to its folder")
    neutrals, who = people(head.mesh, SPEAKERS[:1]), SPEAKERS[0]
    motion, name = talk(head.mesh, 9), (SPEAKERS[0], "sentence01")
    sounds = {name: (hum(0.15), RATE)}
    source = read_vocaset(write_vocaset(tmp_path / "in", head.mesh, neutrals, {name: motion}, sounds, layout="unposed"))
    assert source.mesh.vertices.shape == (5023, 3)
    store = prepare(tmp_path / "s", source, head.face).store
    rows = head.face.cut.rows
    np.testing.assert_allclose(store.motion(store.sequences[0].id), motion[:, rows], atol=1e-5)
    np.testing.assert_allclose(store.neutral(who), neutrals[who][rows], atol=1e-7)
    shuffled = {who: neutrals[who][np.random.default_rng(0).permutation(5023)]}
    write_vocaset(tmp_path / "bad", head.mesh, shuffled, {name: motion}, sounds, layout="unposed")
    with pytest.raises(VisemoError, match="vertices in another order"):
        read_vocaset(tmp_path / "bad")


def test_real_apex_meshes_end_up_with_shut_lips_at_rest(shared_data, tmp_path):
    head = flame_head()
    assert head is not None
    source = read_expression_meshes(shared_data / "emovoca_expressions")
    store = prepare(tmp_path / "s", replace(source, sequences=source.sequences[:10]), head.face).store
    upper, lower = head.face.lip_pairs.T
    for who in store.subjects:
        rest = store.neutral(who)
        assert np.linalg.norm(rest[lower] - rest[upper], axis=1).max() < 1e-5
    apexes = [store.motion(take.id)[take.notes["apex"]] for take in store.sequences]
    sizes = [float(np.linalg.norm(np.asarray(apex, np.float32), axis=1).mean() * 1e3) for apex in apexes]
    assert 0.5 < min(sizes) and max(sizes) < 3, "real expressions move a face by a millimetre or two on average"
