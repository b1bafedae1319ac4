"""Every rival on motion whose parts are planted, and asked for them back."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tiny import make_tiny_model
from toy_corpus import LABELS, make_toy_store
from visemo.evaluate.rivals import field_of_rivals
from visemo.evaluate.rivals.blends import NAIVE, blends
from visemo.evaluate.rivals.closed_form import ClosedForm
from visemo.evaluate.rivals.double_encoder import DoubleEncoder, DoubleEncoders, encoder_parameters, width_for
from visemo.evaluate.rivals.lessons import Lessons
from visemo.evaluate.rivals.modules import modules_of
from visemo.evaluate.rivals.offsets import Offsets
from visemo.evaluate.rivals.one_third import HOLD, one_third_rules, speaking
from visemo.evaluate.rivals.patterns import Patterns, speech_projection
from visemo.evaluate.rivals.rival import TRIALS
from visemo.evaluate.rivals.scene import named_pairs, read_scene, some, validation_pairs
from visemo.models.fusion import FusionConfig, MapEncoder
from visemo.training.corpus import Corpus
from visemo.training.group import Group
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def corpus(tiny_face, tmp_path_factory):
    store = make_toy_store(tmp_path_factory.mktemp("rivals") / "toy", tiny_face, subjects=8, takes=4)
    return Corpus([store], tiny_face, "faceformer")


@pytest.fixture(scope="module")
def lessons(corpus):
    return Lessons(corpus)


@pytest.fixture(scope="module")
def scenes(corpus):
    return [read_scene(*pair) for pair in some(named_pairs(corpus), 6)]


def errors(rival, scenes) -> float:
    """As a share of the naive sum's."""
    off = [np.linalg.norm(rival.fuse(s.talk, s.face, s.label) - s.truth, axis=2).mean() for s in scenes]
    return float(np.sum(off) / np.sum([np.linalg.norm(s.talk + s.face - s.truth, axis=2).mean() for s in scenes]))


def test_everybody_tries_no_more_than_all_others_and_has_a_name_of_its_own():
    schools = field_of_rivals()
    assert all(1 <= len(school.settings) <= TRIALS for school in schools)
    assert len({school.name for school in schools}) == len(schools) and NAIVE in {school.name for school in schools}


def test_blends_are_weighted_sums(lessons, scenes):
    scene = scenes[0]
    naive, half, best = (school.fit(lessons, school.settings[0]) for school in blends())
    assert np.array_equal(naive.fuse(scene.talk, scene.face, ""), scene.talk + scene.face)
    assert np.allclose(half.fuse(scene.talk, scene.face, ""), 0.5 * scene.talk + 0.5 * scene.face)
    assert np.allclose(best.fuse(scene.talk, scene.face, ""), 0.3 * scene.talk + 0.7 * scene.face)


def test_one_third_of_the_lower_face_is_left_while_somebody_speaks(tiny_face, lessons):
    frames, jaw = 150, tiny_face.shape("jawOpen")
    said = np.zeros(frames, np.float32)
    said[60:90] = 0.5  # 3 s of silence around one second of speech
    talk = said[:, None, None] * jaw
    shown = np.ones((frames, 1, 1), np.float32) * np.ones_like(tiny_face.template)
    rule = one_third_rules()[0]
    fused = rule.fit(lessons, rule.settings[0]).fuse(talk, shown, "happy")
    added = fused - talk
    lower, upper = tiny_face.lip_pairs[:, 1], tiny_face.region("brows")
    assert np.allclose(added[70:80][:, lower], 1 / 3, atol=1e-6), "scaled exactly at the lips"
    assert np.allclose(added[:, upper], 1.0), "not above the eyes"
    assert np.allclose(added[: 60 - 2 * HOLD], 1.0) and np.allclose(added[90 + 2 * HOLD :], 1.0), "not in silence"
    falling = np.diff(added[:75, lower[0], 0])
    assert (falling <= 1e-6).all() and falling.min() > -0.2, "faded in, not switched"
    assert speaking(tiny_face, talk[:1]).tolist() == [0.0]


def test_offsets_give_a_label_s_own_shape_back(lessons):
    shape = lessons.displacements(np.eye(len(lessons.motion.directions))[:1])[0]
    envelope = np.linspace(0, 2, 21).astype(np.float32)
    taught = SimpleNamespace(
        faces=Group([np.outer(envelope, np.eye(len(lessons.motion.directions))[0])] * 2, ["happy"] * 2),
        displacements=lessons.displacements,
    )
    constant, worn = (Offsets(which).fit(taught, {"strength": 0.5}) for which in (False, True))
    talk, face = np.zeros((21, *shape.shape), np.float32), envelope[:, None, None] * shape
    assert np.allclose(constant.fuse(talk, face, "happy"), 0.5 * shape, atol=1e-8)  # their mean frame
    assert np.allclose(worn.fuse(talk, face, "happy"), 0.5 * face, atol=1e-8)
    with pytest.raises(VisemoError, match="got expression 'bored', expected one of happy"):
        worn.fuse(talk, face, "bored")


def test_patterns_find_what_is_fast_and_what_is_slow():
    random = np.random.default_rng(0)
    mixing = np.linalg.qr(random.standard_normal((6, 6)))[0][:5]  # three fast and two slow directions, not orthogonal
    mixing[3] += 0.6 * mixing[0]
    takes, fast = [], []
    for _ in range(40):
        keys = random.standard_normal((26, 3))
        quick = np.stack([np.interp(np.arange(100) / 4, np.arange(26), k) for k in keys.T], axis=1)
        lasting = np.ones((100, 1)) * random.standard_normal(2)
        takes.append(np.concatenate([quick, lasting], axis=1) @ mixing)
        fast.append(quick @ mixing[:3])
    spoken, slow = speech_projection(Group(takes, ["anna"] * 40), 0.5, 1e-5)
    truth = np.concatenate(fast)
    assert np.linalg.norm(np.concatenate(takes) @ spoken - truth) < 0.1 * np.linalg.norm(truth)
    assert np.allclose(np.concatenate(takes) @ (spoken + slow), np.concatenate(takes), atol=1e-6)
    with pytest.raises(VisemoError, match="got no talk of more than 4 frames"):
        speech_projection(Group([takes[0][:4]], ["anna"]), 0.5, 1e-5)


def test_patterns_better_the_naive_sum_where_speech_is_fast(lessons, scenes):
    setting = {"threshold": 0.5, "ridge": 1e-5}
    plain, projected = (Patterns(which).fit(lessons, setting) for which in (False, True))
    assert errors(projected, scenes) < errors(plain, scenes) < 1
    scene = scenes[0]
    kept = plain.fuse(scene.speech, np.zeros_like(scene.face), "")
    assert np.linalg.norm(kept - scene.speech) < 0.1 * np.linalg.norm(scene.speech), "pure speech is let through"


def test_the_closed_form_is_better_still(lessons, scenes):
    school = ClosedForm()
    assert errors(school.fit(lessons, school.settings[0]), scenes) < 0.75


def test_a_double_encoder_has_as_many_parameters_as_the_two_encoders_of_the_module():
    budget = encoder_parameters()
    assert budget == 2 * sum(p.numel() for p in MapEncoder(FusionConfig.default(9660)).parameters())
    for setting in DoubleEncoders().settings:
        latent = int(setting["latent"])
        network = DoubleEncoder(64, latent, width_for(budget, 64, latent))
        assert abs(sum(p.numel() for p in network.parameters()) / budget - 1) < 0.01
    with pytest.raises(VisemoError, match="double encoder: got 100 parameters, expected at least"):
        width_for(100, 64, 8)


def test_one_kind_alone_is_the_other_at_its_neutral():
    torch.manual_seed(0)
    network, talk, face = DoubleEncoder(6, 3, 10), torch.randn(4, 6), torch.randn(4, 6)
    rest = torch.zeros(4, 6)
    assert torch.allclose(network.alone(talk, face), torch.cat([network(talk, rest), network(rest, face)]), atol=1e-6)


def test_a_double_encoder_learns_each_kind_and_the_same_twice(lessons, scenes):
    school = DoubleEncoders(steps=300, parameters=20_000)
    first, second = (school.fit(lessons, {"rate": 3e-3, "latent": 16}) for _ in range(2))
    scene, still = scenes[0], np.zeros_like(scenes[0].talk)
    said, shown = first.fuse(scene.talk, still, ""), first.fuse(still, scene.face, "")
    for made, given in ((said, scene.talk), (shown, scene.face)):
        assert np.linalg.norm(made - given) < 0.25 * np.linalg.norm(given)
    assert np.array_equal(said, second.fuse(scene.talk, still, ""))


def test_a_module_in_its_three_forms(tiny_face, scenes):
    model = make_tiny_model(tiny_face)
    model = replace(model, config={"training": {"fusion": {"steps": 7}}})
    basis, residual, naive = modules_of({"ours": model})
    assert [school.name for school in (basis, residual, naive)] == ["ours", "ours, residual", "ours, naive"]
    assert basis.steps == 7 and model.hash in repr(basis), "a school says which module it is"
    scene, fusion = scenes[0], model.fusion
    with torch.inference_mode():
        w_a, eps_a = fusion.encode_speech(torch.from_numpy(scene.talk))
        eps_e, w_e = fusion.encode_expression(torch.from_numpy(scene.face))
        decode = fusion.decode
        wanted = {
            basis: decode(torch.cat([w_a, w_e], 1)),
            naive: decode(torch.cat([w_a + eps_e, w_e + eps_a], 1)),
            residual: torch.from_numpy(scene.talk + scene.face) - decode(torch.cat([eps_e, eps_a], 1)),
        }
    for school, motion in wanted.items():
        assert np.allclose(school.fit(None, {}).fuse(scene.talk, scene.face, ""), motion.numpy(), atol=1e-7)
    other = scenes[1]
    assert not np.allclose(basis.fuse(other.talk, other.face, "")[:20], wanted[basis].numpy()[:20]), "asked anew"
    with pytest.raises(VisemoError, match="ours: got a model without a fusion module"):
        modules_of({"ours": replace(model, fusion=None)})


def test_pairs_come_from_the_part_they_should(corpus, tiny_face):
    held = {r.take.id for kind in ("speech", "expression") for r in corpus.takes("test", kind)}
    assert {id for _, pair in named_pairs(corpus) for id in pair} <= held
    pairs = validation_pairs(corpus, 0)
    talks = corpus.takes("val", "speech")
    assert len(pairs) == 2 * len(talks) and {pair.speech for _, pair in pairs} == {talk.take.id for talk in talks}
    assert all(pair.speech.split("_")[0] == pair.expression.split("_")[0] for _, pair in pairs)
    assert len({pair.expression for _, pair in pairs}) >= 2 * len(LABELS), "expressions take turns"
    assert validation_pairs(corpus, 0) == pairs
    assert len(some(pairs, 3)) == 3 and some(pairs, 0) == pairs


def test_a_corpus_without_pairs_is_refused(tiny_face, corpus):
    store = corpus.stores[0]
    bare = SimpleNamespace(takes=corpus.takes, stores=[SimpleNamespace(folder=store.folder, pairs=())])
    with pytest.raises(VisemoError, match="got no pairs to compare on"):
        named_pairs(bare)
    strangers = {"speech": corpus.takes("val", "speech"), "expression": corpus.takes("train", "expression")}
    with pytest.raises(VisemoError, match="got no speaker among"):
        validation_pairs(SimpleNamespace(takes=lambda part, kind: strangers[kind]), 0)


def test_a_scene_adds_up(scenes):
    for scene in scenes:
        assert scene.talk.shape == scene.face.shape == scene.speech.shape == scene.expression.shape
        assert np.array_equal(scene.truth, scene.speech + scene.expression)
