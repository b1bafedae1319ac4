"""The recipes on a toy corpus: they learn, resume to the bit, refuse what they cannot use, and make a model."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from toy_corpus import LABELS, make_toy_store
from visemo.data.dataset import open_store
from visemo.face.maps import geometry_map
from visemo.models.audio_encoder import STEP
from visemo.models.checkpoint import load_model, load_parts
from visemo.models.fusion import Fusion, FusionConfig
from visemo.training.corpus import Corpus
from visemo.training.fusion import FusionTask, expression_library
from visemo.training.hearing import Hearing, at_tempo
from visemo.training.recipes import FusionRecipe, SpeechRecipe, assemble, train_fusion, train_speech
from visemo.training.speech import UNNAMED, SequenceTask, WindowTask
from visemo.types import VisemoError
from visemo.units import FPS, M_PER_MM, SAMPLE_RATE

SMALL_WAV2VEC = {
    "kind": "wav2vec2",
    "sizes": {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
        "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
        "mask_time_prob": 0.2, "mask_time_length": 2,
    },
}  # fmt: skip

RECIPES = {
    "speech default": (
        train_speech,
        replace(
            SpeechRecipe.default(20), batch=3, window=30, context=5, basis_size=6, validate_takes=2,
            encoder={"kind": "mel", "width": 16, "bands": 20, "dilations": (1, 2)},
        ),
    ),
    "speech phonetic": (
        train_speech,
        replace(
            SpeechRecipe.default(20), batch=3, window=30, context=5, basis_size=6, validate_takes=2,
            encoder={"kind": "mel", "phonetic": True, "width": 16, "bands": 20, "dilations": (1, 2)},
        ),
    ),
    "speech paper": (train_speech, replace(SpeechRecipe.paper(20), encoder=SMALL_WAV2VEC, validate_takes=1)),
    "fusion default": (
        train_fusion,
        replace(FusionRecipe.default(20), speech_shapes=4, expression_shapes=4, batch=8, pool=300, vertices=200),
    ),
    "fusion paper": (
        train_fusion, replace(FusionRecipe.paper(20), speech_shapes=4, expression_shapes=4, batch=4, shrink=0.3),
    ),
    "fusion without a map": (
        train_fusion,
        replace(FusionRecipe.default(20), geometry_map=False, speech_shapes=4, expression_shapes=4, batch=8, pool=300),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small products on a busy machine: threads would wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tiny_face, tmp_path_factory):
    return make_toy_store(tmp_path_factory.mktemp("toy") / "store", tiny_face)


@pytest.fixture(scope="module")
def little_store(tiny_face, tmp_path_factory):
    return make_toy_store(tmp_path_factory.mktemp("toy") / "little", tiny_face, subjects=3, takes=1)


def losses(run):
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


@pytest.mark.parametrize("name", RECIPES)
def test_twenty_steps_equal_ten_and_ten_resumed(name, little_store, tiny_face, tmp_path):
    (train, recipe), store = RECIPES[name], little_store
    recipe = replace(recipe, validate_every=8, save_every=6)
    train(recipe, [store], tiny_face, tmp_path / "whole", device="cpu")
    train(replace(recipe, steps=10), [store], tiny_face, tmp_path / "parts", device="cpu")
    train(recipe, [store], tiny_face, tmp_path / "parts", resume=True, device="cpu")
    runs = tmp_path / "whole", tmp_path / "parts"
    first, second = (torch.load(run / "checkpoint.pt", weights_only=True) for run in runs)
    for key, value in first["model"].items():
        assert torch.equal(value, second["model"][key]), key
    for key, state in first["optimizer"]["state"].items():
        assert all(torch.equal(value, second["optimizer"]["state"][key][n]) for n, value in state.items())
    assert losses(runs[0]) == losses(runs[1]) and len(losses(runs[0])) == 20
    assert np.isfinite([loss for _, loss in losses(runs[0])]).all()
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]


@pytest.fixture(scope="module")
def runs(store, tiny_face, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("speech default", "fusion default"):
        train, recipe = RECIPES[name]
        train(replace(recipe, steps=60), [store], tiny_face, folder / name.split()[0], device="cpu")
    return folder


def test_two_runs_become_a_model(runs, store, tiny_face, tmp_path):
    assemble(runs / "speech", runs / "fusion", tiny_face, tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert set(model.expressions.names) == {"neutral", *LABELS}
    assert model.speech.config.subjects == ("S00", "S01")  # of six, two validate and two test
    facts = model.config["training"]
    assert facts["speech"]["steps"] == 60 and facts["fusion"]["data"][0]["licence"] == "Apache-2.0"
    opened = open_store(store)
    train = opened.split("faceformer")["train"]
    with torch.no_grad():
        for id in train:
            motion = torch.from_numpy(np.array(opened.motion(id))).float()
            spoken = opened.sequence(id).kind == "speech"
            encode = model.fusion.encode_speech if spoken else model.fusion.encode_expression
            assert torch.cat(encode(motion), dim=1).abs().max() < 1.01  # engines clamp weights at 1
    held = model.expressions.sample("happy", 90)[0]
    smile = torch.from_numpy(held) @ model.fusion.basis[4:].detach().flatten(1)
    smile = smile.view(90, -1, 3)[45].numpy()
    truth = tiny_face.shape("mouthSmileLeft") + tiny_face.shape("mouthSmileRight")
    assert np.corrcoef(smile.ravel(), truth.ravel())[0, 1] > 0.95


def test_the_library_leaves_out_takes_that_blink_or_talk():
    """One shape each: a smile, a blink, and one of speech; every second take blinks, at its apex, and so is largest."""
    basis = torch.eye(3)[:, None, :].expand(3, 4, 3) * M_PER_MM
    model = SimpleNamespace(config=SimpleNamespace(speech_shapes=1, expression_shapes=2), basis=basis)
    course = np.sin(np.linspace(0, np.pi, 60)) ** 2
    blink = np.exp(-((np.arange(60) - 30.0) ** 2) / 4)
    encoded = []
    for n in range(12):
        own = np.stack([(0.8 + 0.01 * n) * course, (n % 2) * 1.5 * blink], axis=1)
        encoded.append(torch.from_numpy(np.concatenate([0.05 * (n % 3) * course[:, None], own], axis=1)).float())
    recordings = [SimpleNamespace(take=SimpleNamespace(label="happy", fps=60.0)) for _ in encoded]  # read at 30
    library = expression_library(model, recordings, encoded)  # type: ignore[arg-type]
    chosen = library.takes["happy"]
    assert len(chosen) == 3 and all(not take.weights[:, 1].any() for take in chosen)
    assert {round(take.weights.max() * 100) for take in chosen} == {86, 88, 90}  # the calm half's strongest
    assert [take.leak.max() for take in chosen] == sorted(take.leak.max() for take in chosen)


def test_assembling_the_wrong_runs_is_refused(runs, tiny_face, tmp_path):
    from visemo.face.library import load_face

    with pytest.raises(VisemoError, match="got runs of other kinds, expected a speech run and a fusion run"):
        assemble(runs / "fusion", runs / "speech", tiny_face, tmp_path / "model")
    with pytest.raises(VisemoError, match="got a run on face tiny, expected builtin"):
        assemble(runs / "speech", runs / "fusion", load_face("builtin"), tmp_path / "model")
    with pytest.raises(VisemoError, match=r"got no config.json, expected a model folder"):
        assemble(tmp_path, runs / "fusion", tiny_face, tmp_path / "model")


def test_the_speech_model_learns_to_open_the_mouth(runs):
    rows = [json.loads(line) for line in (runs / "speech" / "log.jsonl").read_text().splitlines()]
    scores = [row["val_score"] for row in rows if "val_score" in row]
    assert scores[-1] < 0.8 * scores[0]  # the first is a face at rest


def test_the_split_separates_better_than_the_published_objective(store, tiny_face, tmp_path_factory):
    """Planted truth: the sum of two pure parts of a person never met; 1 is the error of adding the recordings."""
    from visemo.evaluate.metrics import fused_ratio

    opened = open_store(store)
    ratios = {}
    for objective in ("split", "paper"):
        recipe = replace(RECIPES["fusion default"][1], objective=objective, steps=1)
        run = tmp_path_factory.mktemp("ratio") / objective
        train_fusion(recipe, [store], tiny_face, run, device="cpu")
        fusion = load_parts(run / "model").fusion
        found = []
        for pair in [pair for pair in opened.pairs if pair.speech in opened.split("faceformer")["test"]]:
            truth = opened.fused(pair)
            speech = torch.from_numpy(np.array(opened.motion(pair.speech))).float()
            worn = torch.from_numpy(np.array(opened.motion(pair.expression))).float()[truth.expression_frames]
            with torch.no_grad():
                weights = fusion.fuse(fusion.encode_speech(speech), fusion.encode_expression(worn), "fused")
                fused = fusion.decode(weights).numpy()
            found.append(fused_ratio(fused, (speech + worn).numpy(), truth.displacements))
        ratios[objective] = float(np.mean(found))
    assert ratios["split"] < 0.6
    assert ratios["paper"] > 0.9


@torch.no_grad()
def test_a_window_is_heard_as_a_piece_of_its_take(little_store, tiny_face):
    """A take is heard once and then cut: the same as hearing the piece, but for half precision."""
    _, recipe = RECIPES["speech phonetic"]
    recipe = replace(recipe, window=6, hearing=replace(recipe.hearing, versions=2), phonetic_share=0.0)
    task = WindowTask(recipe, Corpus([little_store], tiny_face, "faceformer"), torch.device("cpu"))
    for row, number in ((0, 0), (0, 1)):
        tempo, heard = task._version(row, number)
        assert abs(tempo - 1) <= recipe.hearing.speed
        random = np.random.default_rng([recipe.seed, row, number])
        assert recipe.hearing.tempo(random) == tempo
        sound = recipe.hearing.hear(at_tempo(task.sounds[row], tempo), random, task.sounds, task._normalised)
        before = torch.zeros(round(recipe.context / FPS * SAMPLE_RATE))
        for start in (9, 12):
            alone = task.encoder.hear(torch.cat([before, sound])[None], start, start + recipe.context + recipe.window)[
                0
            ]
            step = round(start / (FPS * STEP))
            assert torch.allclose(heard[step : step + task.steps].float(), alone, atol=2e-3)
        assert torch.equal(task._version(row, number)[1], heard)
    # targets follow the tempo: a window's truth is the take's, read between its frames
    heard, targets, _, valid, _ = task._batch(0)
    assert heard.shape[:2] == (3, task.steps) and valid.any()
    assert targets.abs().max() <= max(t.abs().max() for t in task.targets) + 1e-6


def test_versions_over_a_wire_and_in_company():
    """A wire takes the treble, company adds what is not there; neither moves the sound or its level."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    plain = torch.from_numpy(np.sin(2 * np.pi * 500 * time) + np.sin(2 * np.pi * 7500 * time)).float()
    other = torch.from_numpy(np.sin(2 * np.pi * 900 * time)).float()
    still = Hearing(formants=0, voices=0, channels=0, gain=0, hiss=0, tilt=0, wires=0, babble=0)

    def heard(hearing: Hearing) -> np.ndarray:
        """Amplitudes at 500, 900 and 7500 Hz."""
        samples = hearing.hear(plain, np.random.default_rng(0), [other])
        return 2 * np.abs(np.fft.rfft(samples.numpy()))[[500, 900, 7500]] / len(time)

    np.testing.assert_allclose(heard(still), [1, 0, 1], atol=1e-3)
    # what the encoder does with every clip comes after the wire, and before the level
    twice = still.hear(plain, np.random.default_rng(0), normalise=lambda samples: 2 * samples)
    assert torch.equal(twice, 2 * still.hear(plain, np.random.default_rng(0)))
    louder = replace(still, gain=20.0).hear(plain, np.random.default_rng(0), normalise=torch.sign)
    assert louder.abs().unique().numel() <= 2 and louder.abs().max() != 1
    wired, accompanied = heard(replace(still, wires=1.0)), heard(replace(still, babble=1.0))
    assert wired[2] < 0.1 * wired[0] and wired[0] > 0.9
    assert 0.02 < accompanied[1] < 0.6 and accompanied[0] == pytest.approx(accompanied[2], rel=0.1)


def test_some_windows_are_heard_by_phones_alone(little_store, tiny_face):
    _, recipe = RECIPES["speech phonetic"]
    task = WindowTask(
        replace(recipe, batch=40, phonetic_share=0.5), Corpus([little_store], tiny_face, "faceformer"),
        torch.device("cpu"),
    )  # fmt: skip
    width = task.encoder.acoustic.width
    bands = task._batch(0)[0][:, :, :-width].unflatten(2, (-1, task.encoder.config.bands))
    deaf = ((bands - bands[..., :1]).abs().flatten(1).amax(dim=1) < 1e-5).float()
    assert 8 <= int(deaf.sum()) <= 32 and bands.mean(dim=3).std(dim=1).min() > 0  # loudness is left


def test_talk_that_nobody_labelled_is_learned_from_too(little_store, tiny_face):
    _, recipe = RECIPES["speech phonetic"]
    task = WindowTask(recipe, Corpus([little_store], tiny_face, "faceformer"), torch.device("cpu"))
    task.recordings[0].store.phones = lambda id: ()  # type: ignore[method-assign]
    task.labels = [task._labels(recording) for recording in task.recordings]
    assert all((labels == UNNAMED).all() for labels in task.labels)
    losses = task.losses(0)
    assert torch.isfinite(losses["loss"]) and losses["phones"] == 0


def test_half_precision_learns_nearly_the_same(store, tiny_face, tmp_path):
    train, recipe = RECIPES["speech default"]
    found = {}
    for half in (False, True):
        run = tmp_path / str(half)
        train(replace(recipe, half=half), [store], tiny_face, run, device="cpu")
        found[half] = np.array([loss for _, loss in losses(run)])
    assert (found[True] != found[False]).any()  # it does compute otherwise
    np.testing.assert_allclose(found[True], found[False], rtol=0.02)
    assert (tmp_path / "True" / "model" / "model.safetensors").stat().st_size == (
        tmp_path / "False" / "model" / "model.safetensors"
    ).stat().st_size  # and keeps its weights in full


def test_speakers_of_two_stores_who_share_a_name_have_styles_of_their_own(tiny_face, tmp_path):
    stores = [make_toy_store(tmp_path / name, tiny_face, count, 1, count) for name, count in (("a", 3), ("b", 6))]
    corpus = Corpus(stores, tiny_face, "faceformer")
    task = WindowTask(RECIPES["speech default"][1], corpus, torch.device("cpu"))
    assert task.model.config.subjects == ("a/S00", "b/S00", "b/S01")
    held = {corpus.style_name(r): r for r in corpus.takes("val", "speech")}
    assert torch.equal(task.style(held["a/S01"]), torch.full((3,), 1 / 3))  # b/S01 is somebody else
    assert torch.equal(task.style(task.recordings[1]), torch.tensor([0.0, 1.0, 0.0]))
    assert Corpus(stores[1:], tiny_face, "faceformer").style_name(task.recordings[1]) == "S00"


def test_impossible_recipes_are_refused(store, tiny_face, tmp_path):
    with pytest.raises(VisemoError, match="got network 'huge' and objective 'paper'"):
        FusionRecipe(1, network="huge")  # type: ignore[arg-type]
    with pytest.raises(VisemoError, match="shrink: got 2"):
        FusionRecipe(1, shrink=2)
    with pytest.raises(VisemoError, match="got batch 4, window 0, basis_size 0, expected whole sequences"):
        SpeechRecipe(1, batch=4)
    with pytest.raises(VisemoError, match="got batch 32, window 90, basis_size 0, expected whole sequences"):
        replace(SpeechRecipe.default(), basis_size=0)
    with pytest.raises(VisemoError, match="validate_takes: got 0, expected 1 or more"):
        replace(SpeechRecipe.default(), validate_takes=0)
    for wrong in ({"versions": 0}, {"speed": 1.0}):
        with pytest.raises(VisemoError, match=r"hearing: got .* expected at least one, and 0 to 1"):
            Hearing(**wrong)
    with pytest.raises(VisemoError, match="got half with whole sequences"):
        SpeechRecipe(1, half=True)
    recipe = RECIPES["speech default"][1]
    with pytest.raises(VisemoError, match="basis_size: got 5000, expected at most the"):
        train_speech(replace(recipe, basis_size=5000), [store], tiny_face, tmp_path / "a", device="cpu")
    with pytest.raises(VisemoError, match="with windows, expected kind mel"):
        train_speech(replace(recipe, encoder=SMALL_WAV2VEC), [store], tiny_face, tmp_path / "b", device="cpu")
    with pytest.raises(VisemoError, match="model: got 'x', expected a folder or one of"):
        train_speech(replace(recipe, pretrained="x"), [store], tiny_face, tmp_path / "c", device="cpu")


def test_unfit_data_is_refused(store, tiny_model, tiny_face, tmp_path):
    from visemo.face.library import load_face

    recipe = RECIPES["fusion default"][1]
    with pytest.raises(VisemoError, match="data: got no store"):
        train_fusion(recipe, [], tiny_face, tmp_path / "a")
    with pytest.raises(VisemoError, match="prepare the data anew"):
        train_fusion(recipe, [store], load_face("builtin"), tmp_path / "b")
    with pytest.raises(VisemoError, match="got split 'none', expected one of"):
        train_fusion(replace(recipe, split="none"), [store], tiny_face, tmp_path / "c")
    assert not any(tmp_path.iterdir())  # nothing was begun


def test_more_frames_than_memory_holds_are_refused_before_any_is_read(store, tiny_face, tmp_path, monkeypatch):
    frame = 2 * 3 * (len(tiny_face.template) + 128**2)
    recipe = replace(FusionRecipe.paper(1), batch=2, shrink=1.0)
    monkeypatch.setattr("visemo.training.frames.physical_memory", lambda: round(2 * 300 * frame / 0.7) + 1000)
    with pytest.raises(VisemoError, match=r"expected at most 300 for .* give --pool 300"):
        train_fusion(recipe, [store], tiny_face, tmp_path / "large")
    assert train_fusion(replace(recipe, pool=300), [store], tiny_face, tmp_path / "fits")["step"] == 1


def test_the_paper_recipes_are_the_published_ones():
    speech, fusion = SpeechRecipe.paper(), FusionRecipe.paper()
    assert (speech.batch, speech.window, speech.rate, speech.horizon, speech.basis_size) == (1, 0, 1e-4, 0, 0)
    assert (fusion.batch, fusion.rate, fusion.objective, fusion.network) == (128, 3e-4, "paper", "paper")
    assert fusion.network_config(10857) == FusionConfig.paper(10857)


def test_the_published_speech_loss_is_the_mean_square_over_vertices(store, tiny_face):
    from visemo.training.corpus import Corpus

    corpus = Corpus([store], tiny_face, "faceformer")
    task = SequenceTask(RECIPES["speech paper"][1], corpus, torch.device("cpu"))
    task.model.eval()
    names = {recording.take.id: recording for recording in task.recordings}
    expected = {id: float(np.square(np.asarray(r.motion(), np.float32)).mean()) for id, r in names.items()}
    found = [task.losses(step)["loss"].item() for step in range(len(names))]  # at first the network says nothing
    np.testing.assert_allclose(sorted(found), sorted(expected.values()), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["paper", "default"])
def test_scale_of_the_input_is_the_scale_of_the_output(network, store, tiny_face):
    """A half-size face is encoded as half the face, and noise is not blown up."""
    from visemo.training.corpus import Corpus

    recipe = replace(
        FusionRecipe.paper(400), network=network, horizon=400, rate=1e-3, batch=16, speech_shapes=4,
        expression_shapes=4, laplace=0.0, regularisation=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    task = FusionTask(recipe, Corpus([store], tiny_face, "faceformer"), torch.device("cpu"))
    for step in range(recipe.steps):
        for group in task.optimizer.param_groups:
            group["lr"] = task.rate(step) * group.get("share", 1.0)
        loss = task.losses(step)["loss"]
        task.optimizer.zero_grad()
        loss.backward()
        task.optimizer.step()
    model = task.model.eval()
    frames = task.pools["speech"].frames[::7].float()
    frames = frames[frames.norm(dim=(1, 2)) > frames.norm(dim=(1, 2)).median()]

    def faces(motion):
        with torch.no_grad():
            return model.decode(torch.cat(model.encode_speech(motion), dim=1))

    whole = faces(frames)
    for k in (0.25, 0.5, 1.5):
        error = (faces(k * frames) - k * whole).norm(dim=(1, 2)) / (k * whole).norm(dim=(1, 2))
        assert error.mean() < 0.05, f"at {k}: {error.mean():.3f}"
    noise = 2e-5 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    for motion in (torch.zeros_like(frames), frames):
        moved = (faces(motion + noise) - faces(motion)).norm(dim=2)
        assert moved.max() < 1e-4, f"noise of 0.02 mm moves {1e3 * moved.max():.3f} mm"


def test_begin_linear_is_exact_where_everything_is_linear(store, tiny_face):
    """Frames made of few shapes come back through the linear start as they went in."""
    from visemo.training.corpus import Corpus

    recipe = replace(RECIPES["fusion default"][1], objective="paper", speech_shapes=12, expression_shapes=12)
    task = FusionTask(recipe, Corpus([store], tiny_face, "faceformer"), torch.device("cpu"))
    assert isinstance(task.model, Fusion) and task.model.geomap.size == geometry_map(tiny_face, 64).size
    with torch.no_grad():
        measured = task.validate()
    assert measured["speech_lips_mm"] < 0.1 and measured["expression_lips_mm"] < 0.1


def test_every_second_held_out_take_comes_from_elsewhere(store, tiny_face):
    _, recipe = RECIPES["speech default"]
    recipe = replace(recipe, hearing=replace(recipe.hearing, wires=1.0))
    task = WindowTask(recipe, Corpus([store], tiny_face, "faceformer"), torch.device("cpu"))
    recorded = torch.from_numpy(task.held[0].audio().samples)
    assert torch.equal(task._heard(task.held[0], 0), recorded)
    elsewhere = task._heard(task.held[0], 1)
    assert elsewhere.shape == recorded.shape and not torch.allclose(elsewhere, recorded, atol=1e-3)
    assert torch.equal(elsewhere, task._heard(task.held[0], 1))  # every validation hears the same
