"""The planted corpus: what was planted is what is stored, and has the properties that make it a fair test."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from planted_face import planted_face

from visemo.assets import sha256
from visemo.data import planted
from visemo.data.acting import APEX_FRAMES, BELOW_EYES, apex_weights, energies, expression_take, secondary_expression
from visemo.data.emotions import BASIC, EMOTIONS, FLORENCE, OTHER_OPENINGS, weights
from visemo.data.people import draw_person, lip_opening
from visemo.data.planted import PlantedConfig, make_planted
from visemo.data.sentences import SENTENCES
from visemo.data.visemes import BILABIALS
from visemo.face.arkit import ARKIT_NAMES
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def face():
    return planted_face()


@pytest.fixture(scope="module")
def store(tmp_path_factory, face):
    seen = []
    store = make_planted(
        tmp_path_factory.mktemp("planted") / "store", PlantedConfig.tiny(), face, lambda *p: seen.append(p)
    )
    assert len(seen) == len(store.sequences)
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    return store


def gap(face, subject_neutral, motion):
    upper, lower = face.lip_pairs.T
    vertices = subject_neutral + motion
    return np.linalg.norm(vertices[:, upper] - vertices[:, lower], axis=2).mean(axis=1) * 1e3


def test_motion_is_the_sum_of_its_pure_parts(store):
    for take in store.sequences:
        total = store.truth(take.id, "speech_pure") + store.truth(take.id, "expression_pure")
        np.testing.assert_allclose(store.motion(take.id), total, atol=2e-5)
        assert take.truth == ("speech_pure", "expression_pure")


def test_fused_pairs_are_of_test_people_and_all_labels(store):
    test = store.split("heldout")["test"]
    assert store.pairs
    assert all(pair.speech in test and pair.expression in test for pair in store.pairs)
    fused = store.fused(store.pairs[0])
    worn = store.truth(store.pairs[0].expression, "expression_pure")[fused.expression_frames]
    np.testing.assert_allclose(fused.displacements - worn, store.truth(store.pairs[0].speech, "speech_pure"), atol=1e-7)


def test_people_sentences_and_voices_are_held_out_at_once(store):
    seen = {
        part: [
            {getattr(store.sequence(id), key) for id in ids if store.sequence(id).kind == "speech"}
            for key in ("subject", "voice")
        ]
        + [{s for id in ids for s in store.sequence(id).sentence.split("+") if s}]
        for part, ids in store.split("heldout").items()
    }
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert all(a and b and not a & b for a, b in zip(seen[one], seen[other]))


def test_lips_seal_for_bilabials_in_what_was_recorded(store, face):
    for take in store.sequences:
        if take.kind == "speech":
            gaps = gap(face, store.neutral(take.subject), np.asarray(store.motion(take.id), np.float32))
            for phone in store.phones(take.id):
                if phone.name in BILABIALS:
                    frames = slice(int(phone.start * 30), int(phone.end * 30) + 2)
                    assert gaps[frames].min() < 0.5, (take.id, phone)


def test_the_same_seed_gives_the_same_bytes(store, face, tmp_path):
    again = make_planted(tmp_path / "again", PlantedConfig.tiny(), face)
    files = sorted(path.relative_to(store.folder) for path in store.folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again.folder) for path in again.folder.rglob("*") if path.is_file())
    for name in files:
        assert (store.folder / name).read_bytes() == (again.folder / name).read_bytes(), name


def test_another_seed_gives_another_corpus(store, face, tmp_path):
    config = replace(PlantedConfig.tiny(), seed=1, minutes=0.1)
    other = make_planted(tmp_path / "other", config, face)
    assert other.manifest["generator"]["hash"] != store.manifest["generator"]["hash"]
    assert other.manifest["generator"]["version"] == planted.VERSION
    assert not np.array_equal(other.neutral("S01"), store.neutral("S01"))


def test_too_few_voices_are_shared(face, tmp_path):
    config = replace(PlantedConfig.tiny(), minutes=0.1, voices=("hum:low",))
    store = make_planted(tmp_path / "one", config, face)
    assert store.manifest["generator"]["voices"] == {part: ["hum:low"] for part in ("train", "val", "test")}


def test_twelve_people_are_divided_as_the_published_splits(face, tmp_path):
    config = replace(PlantedConfig.tiny(), subjects=12, minutes=0.2, expressions=("happy",))
    store = make_planted(tmp_path / "twelve", config, face)
    people = {
        name: {part: len({store.sequence(id).subject for id in ids}) for part, ids in store.split(name).items()}
        for name in ("heldout", "faceformer", "paper")
    }
    assert people["heldout"] == people["faceformer"] == {"train": 8, "val": 2, "test": 2}
    assert people["paper"] == {"train": 8, "val": 1, "test": 3}


# --- people -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_person_moves_in_a_way_of_its_own_and_still_shuts_its_lips(face, seed):
    person = draw_person("S01", face, (seed,))
    common = np.stack([face.shape(name) for name in ARKIT_NAMES])
    share = np.linalg.norm(person.shapes - common, axis=(1, 2)) / np.linalg.norm(common, axis=(1, 2))
    assert share.min() > 0.2
    assert share.max() < 0.4
    jaw, close = (person.shapes[ARKIT_NAMES.index(name)] for name in ("jawOpen", "mouthClose"))
    assert lip_opening(face, jaw) > 10e-3
    assert lip_opening(face, jaw + close) < 0.05e-3
    for emotion in EMOTIONS.values():
        shut = weights(emotion.recipe) * [lip_opening(face, shape) < 0.25e-3 for shape in common]
        assert lip_opening(face, np.tensordot(shut, person.shapes, axes=1)) < 0.5e-3
    upper, lower = person.neutral[face.lip_pairs].transpose(1, 0, 2)
    assert np.linalg.norm(upper - lower, axis=1).mean() < 0.5e-3


def test_two_people_differ_in_direction_not_only_in_size(face):
    one, two = (draw_person("x", face, (seed,)).shapes.reshape(52, -1) for seed in (1, 2))
    cosine = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert np.median(cosine) < 0.98
    assert cosine.min() > 0.7


# --- performances -------------------------------------------------------------------------------------


def test_expression_takes_rise_and_fall_and_part_the_lips_by_their_label(face):
    person = draw_person("S01", face, (5,))
    for label in ("happy", "fear", "Moody"):
        gaps, sizes = [], []
        apex = apex_weights(label, (5, 1))
        for seed in range(40):
            take = expression_take(face, person, label, apex, np.random.default_rng(seed))
            size = np.abs(take.expression).sum(axis=1)
            assert take.expression.shape == take.speech.shape == (APEX_FRAMES, 52)
            assert max(np.abs(take.expression[[0, -1]]).max(), np.abs(take.speech[[0, -1]]).max()) < 0.02
            assert 12 < size.argmax() < 50
            moved = np.tensordot(take.speech, person.shapes, axes=1)
            assert lip_opening(face, moved).max() * 1e3 == pytest.approx(take.notes["lips_mm"], rel=0.25, abs=0.3)
            gaps.append(take.notes["lips_mm"])
            sizes.append(size.max())
        gaps = np.array(gaps)
        assert (gaps < 0.1 * EMOTIONS[label].gap + 1e-6).sum() >= 2  # sometimes nearly absent
        assert gaps.max() <= 18
        assert np.median(gaps[gaps > 2]) == pytest.approx(EMOTIONS[label].gap, rel=0.3)
        assert max(sizes) / min(sizes) > 1.3


def test_a_speakers_expression_is_faint_and_mostly_below_the_eyes(face):
    person = draw_person("S01", face, (6,))
    below_eyes = planted._below_eyes(face)
    forms = energies(person, below_eyes)
    for seed, label in enumerate(planted.CARRIED):
        apex = apex_weights(label, (6, seed))
        curves, share = secondary_expression(apex, 240, forms, np.random.default_rng(seed))
        moved = np.tensordot(curves, person.shapes, axes=1)
        energy = np.square(moved).sum(axis=(0, 2))
        assert energy[below_eyes].sum() >= (BELOW_EYES - 0.01) * energy.sum()
        assert 0.10 <= share <= 0.40
        lower = [k for k, name in enumerate(ARKIT_NAMES) if not name.startswith(("eye", "brow"))]
        assert (curves[:, lower] <= 0.401 * apex[lower] + 1e-6).all()


def test_an_expression_of_the_eyes_alone_yields(face):
    person = draw_person("S01", face, (6,))
    apex = weights({"eyeWide": 1.0, "browInnerUp": 1.0})
    curves, _ = secondary_expression(apex, 90, energies(person, planted._below_eyes(face)), np.random.default_rng(0))
    assert not curves.any()


def test_names():
    assert BASIC == ("neutral", "happy", "sad", "angry", "disgust", "fear", "surprise")
    assert len(FLORENCE) == 10


# --- what is refused ----------------------------------------------------------------------------------


def test_bad_requests(face, tmp_path):
    with pytest.raises(VisemoError, match="got 2 subjects"):
        PlantedConfig(subjects=2)
    with pytest.raises(VisemoError, match="got expression 'bored'"):
        PlantedConfig(expressions=("bored",))
    with pytest.raises(VisemoError, match="got shape 'earWiggle'"):
        weights({"earWiggle": 1.0})
    shapeless = replace(face, shape_names=(), shapes=None)
    with pytest.raises(VisemoError, match="expected all 52"):
        make_planted(tmp_path / "a", PlantedConfig.tiny(), shapeless)
    with pytest.raises(VisemoError, match="no region lids or eyes"):
        make_planted(tmp_path / "a", PlantedConfig.tiny(), replace(face, regions={}))
    assert not (tmp_path / "a").exists()


def test_the_other_manner_parts_lips_otherwise_and_raises_brows_on_stressed_vowels(face):
    person = draw_person("S01", face, (0,))
    apex = apex_weights("happy", (1,))
    usual, other = (
        expression_take(face, person, "happy", apex, np.random.default_rng(2), manner=manner)
        for manner in ("usual", "other")
    )
    np.testing.assert_array_equal(usual.expression, other.expression)
    for performed, opening in ((usual, EMOTIONS["happy"].opening), (other, OTHER_OPENINGS[1])):
        moved = performed.speech.max(axis=0) > 0
        np.testing.assert_array_equal(moved, weights(opening) > 0)
    assert usual.notes == pytest.approx(other.notes)  # the lips part as far

    forms = energies(person, planted._below_eyes(face))
    stresses = np.array([40.0, 70.0, 100.0, 130.0])
    apex[ARKIT_NAMES.index("browOuterUpLeft")] = 0
    curves, _ = secondary_expression(apex, 150, forms, np.random.default_rng(5), stresses)
    brow = curves[:, ARKIT_NAMES.index("browOuterUpLeft")]
    peaks = [k for k in range(1, 149) if brow[k] > max(brow[k - 1], brow[k + 1])]
    assert peaks
    assert set(peaks) <= {int(frame) for frame in stresses}


def test_the_usual_manner_keeps_the_hash_of_older_corpora(face):
    config = PlantedConfig.tiny()
    roles = planted._cast(config, face)
    hashes = [planted._generator(replace(config, manner=m), face, roles)["hash"] for m in ("usual", "other")]
    assert hashes[0] != hashes[1]
    settings = {k: v for k, v in asdict(config).items() if k != "manner"}
    used = {role.part: [v.id for v in role.voices] for role in roles}
    asked = json.dumps({"version": planted.VERSION, **settings, "used": used}, sort_keys=True)
    arrays = [] if face.identities is None else [face.identities]
    assert (
        hashes[0]
        == sha256(asked.encode(), "\n".join(SENTENCES).encode(), face.hash.encode(), face.shapes, *arrays)[:16]
    )
