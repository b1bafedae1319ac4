"""Training that goes on from an earlier model: where it begins, on the same data and on others."""

from dataclasses import replace

import pytest
import torch

from toy_corpus import make_toy_store
from visemo.models.checkpoint import load_parts
from visemo.models.speech_motion import SpeechMotion
from visemo.training.corpus import Corpus
from visemo.training.recipes import FusionRecipe, SpeechRecipe, train_fusion, train_speech
from visemo.training.speech import WindowTask
from visemo.training.start import start_from
from visemo.types import VisemoError

RECIPE = replace(
    SpeechRecipe.default(4), batch=2, window=30, context=5, basis_size=6, validate_takes=1,
    encoder={"kind": "mel", "width": 16, "bands": 20, "dilations": (1, 2)},
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tiny_face, tmp_path_factory):
    return make_toy_store(tmp_path_factory.mktemp("toy") / "store", tiny_face, subjects=3, takes=1)


@pytest.fixture(scope="module")
def run(store, tiny_face, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "speech"
    train_speech(RECIPE, [store], tiny_face, run, device="cpu")
    return run


def task(recipe, *stores, face) -> WindowTask:
    return WindowTask(recipe, Corpus(stores, face, "faceformer"), torch.device("cpu"))


def test_a_run_begins_where_another_ended(run, store, tiny_face):
    fresh, begun = (task(recipe, store, face=tiny_face) for recipe in (RECIPE, replace(RECIPE, start=str(run))))
    kept = load_parts(run / "model").speech.state_dict()
    assert all(torch.allclose(value, kept[key], rtol=1e-5) for key, value in begun.model.state_dict().items())
    # the basis of an earlier run is its own dual again: the same data have the same coordinates
    for own, again in zip(fresh.targets, begun.targets):
        assert ((own - again) * fresh.variance.sqrt()).abs().max() < 5e-3  # mm
    assert torch.allclose(fresh.variance, begun.variance, rtol=1e-3)


def test_new_speakers_begin_with_the_mean_style(run, store, tiny_face, tmp_path):
    more = make_toy_store(tmp_path / "more", tiny_face, subjects=3, takes=1)
    begun = task(replace(RECIPE, start=str(run / "model")), store, more, face=tiny_face).model
    known = load_parts(run / "model").speech
    styles, before = begun.state_dict()["obj_vector.weight"], known.state_dict()["obj_vector.weight"]
    assert styles.shape[1] == 2 * before.shape[1]
    for name, style in zip(begun.config.subjects, styles.T):
        known_column = known.config.subjects.index(name) if name in known.config.subjects else None
        wanted = before.mean(dim=1) if known_column is None else before[:, known_column]
        assert torch.equal(style, wanted)


def test_other_phones_begin_anew(run):
    earlier = load_parts(run / "model").speech
    config = earlier.config
    model = SpeechMotion(replace(config, audio=replace(config.audio, phone_classes=5)))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    start_from(model, run)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key] if "phones" in key else earlier.state_dict()[key]), key


def test_only_the_ears_are_taken_to_another_face(run, store, tiny_face):
    """Another basis, other speakers: the encoder is the earlier one's, everything else is as without it."""
    other = replace(RECIPE, basis_size=4)
    torch.manual_seed(3)
    fresh = task(other, store, face=tiny_face).model.state_dict()
    torch.manual_seed(3)
    begun = task(replace(other, pretrained=str(run)), store, face=tiny_face).model.state_dict()
    earlier = load_parts(run / "model").speech.state_dict()
    for key, value in begun.items():
        assert torch.equal(value, earlier[key] if key.startswith("audio_encoder") else fresh[key]), key


def test_frozen_ears_stay_what_they_were(run, store, tiny_face, tmp_path):
    recipe = replace(RECIPE, start=str(run), freeze=True)
    train_speech(recipe, [store], tiny_face, tmp_path / "more", device="cpu")
    last = torch.load(tmp_path / "more" / "checkpoint.pt", weights_only=True)["model"]
    before = load_parts(run / "model").speech.state_dict()
    moved = {key for key, value in last.items() if not torch.allclose(value, before[key], rtol=1e-5)}
    assert moved and not any(key.startswith("audio_encoder") for key in moved)


def test_the_folder_says_what_went_before(run, store, tiny_face, tmp_path):
    train_speech(replace(RECIPE, start=str(run), steps=1), [store], tiny_face, tmp_path / "more", device="cpu")
    facts, before = (load_parts(folder / "model").config["training"]["speech"] for folder in (tmp_path / "more", run))
    assert facts["start"] == before and facts["start"]["data"][0]["licence"] == "Apache-2.0" and facts["steps"] == 1


def test_a_start_that_does_not_fit_is_refused(run, store, tiny_face, tmp_path):
    with pytest.raises(VisemoError, match=r"start: got .* for .*expected \(.*train with"):
        task(replace(RECIPE, start=str(run), basis_size=5), store, face=tiny_face)
    fusion = replace(FusionRecipe.default(1), speech_shapes=2, expression_shapes=2, batch=4, pool=60, vertices=100)
    train_fusion(fusion, [store], tiny_face, tmp_path / "fusion", device="cpu")
    with pytest.raises(VisemoError, match=r"pretrained: got default with .* for stem.weight.*with the encoder that"):
        task(replace(RECIPE, pretrained="default"), store, face=tiny_face)
    with pytest.raises(VisemoError, match="without a speech model"):
        task(replace(RECIPE, start=str(tmp_path / "fusion")), store, face=tiny_face)
