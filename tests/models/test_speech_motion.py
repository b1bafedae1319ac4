"""The speech model against FaceFormer as it is written down: the whole past decoded anew, per frame."""

import dataclasses
import json
import math
from resource import RUSAGE_SELF, getrusage

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tiny import WAV2VEC2
from visemo.models import speech_motion
from visemo.models.audio_encoder import AudioEncoderConfig
from visemo.models.speech_motion import SpeechMotion, SpeechMotionConfig, default_config, paper_config
from visemo.types import VisemoError

SUBJECTS = ("ann", "bob", "eve")


@pytest.fixture(autouse=True)
def one_thread():
    """Steps of a few thousand numbers: threads cost more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(seed=0, vertices=12, **changes):
    """A small model of the paper's decoder with every weight random and not small."""
    audio = AudioEncoderConfig(width=16, bands=20)
    torch.manual_seed(seed)
    model = SpeechMotion(SpeechMotionConfig(vertices, SUBJECTS, audio, **changes))
    for name, parameter in model.named_parameters():
        if name.startswith(("vertice_map_r", "transformer_decoder")):
            nn.init.normal_(parameter, std=0.3)
    if model.config.basis_size:
        nn.init.normal_(model.motion_basis, std=0.1)
    return model.eval()


def sound(seconds, seed=1):
    torch.manual_seed(seed)
    loudness = torch.sin(torch.arange(int(16000 * seconds)) / 3000) ** 2
    return torch.randn(len(loudness)) * loudness * 0.1


# --- the slow twin ------------------------------------------------------------------------------------


def biased_mask(model, frames):
    """FaceFormer's (heads, T, T): -slope * floor(age / period), nothing of the future, nor too old."""
    config = model.config
    slopes = torch.tensor([2.0 ** (-8 * (h + 1) / config.heads) for h in range(config.heads)])
    age = torch.arange(frames)[:, None] - torch.arange(frames)
    bias = -slopes[:, None, None] * (age // config.period)
    return bias.masked_fill((age < 0) | (age >= config.max_frames), -math.inf)


def periodic_table(model, frames):
    size, period = model.config.feature_dim, model.config.period
    table = torch.zeros(period, size)
    rate = torch.exp(torch.arange(0, size, 2).float() * (-math.log(10000.0) / size))
    table[:, 0::2] = torch.sin(torch.arange(period)[:, None] * rate)
    table[:, 1::2] = torch.cos(torch.arange(period)[:, None] * rate)
    return table.repeat(frames // period + 1, 1)[:frames]


def predict_slowly(model, features, style):
    """FaceFormer's `predict`: torch's own decoder over the whole prefix with both masks, every step."""
    audio = model.audio_feature_map(features)
    frames = audio.shape[1]
    mask = biased_mask(model, frames).to(audio)
    positions = periodic_table(model, frames).to(audio)
    elsewhere = ~torch.eye(frames, dtype=torch.bool)
    style_token = model.obj_vector(style)[:, None]
    tokens = style_token
    for t in range(1, frames + 1):
        past = {"tgt_mask": mask[:, :t, :t], "memory_mask": elsewhere[:t, :t]}
        out = model.transformer_decoder(tokens + positions[:t], audio[:, :t], **past)
        motion = model.vertice_map_r(out)
        tokens = torch.cat([tokens, model.vertice_map(motion[:, -1:]) + style_token], dim=1)
    return motion


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


@torch.no_grad()
def test_fast_decoding_equals_the_published_one_for_600_frames():
    model = make(vertices=4)
    style = model.style_of("bob")
    slow = predict_slowly(model, model.audio_encoder(sound(20)[None], 600), style[None])[0]
    fast = model.generate(sound(20), style, 600).flatten(1)
    assert slow.std(dim=0).min() > 0.05, "nothing moves: the comparison would prove nothing"
    assert relative(fast, slow) < 1e-5  # 1e-6 seen


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"basis_size": 5}, {"feature_dim": 32, "heads": 2, "period": 7}])
def test_training_unroll_and_inference_agree_with_the_twin(changes):
    model = make(**changes)
    style = torch.tensor([[0.0, 1, 0], [0.5, 0, 0.5]])
    clips = torch.stack([sound(2, seed=1), sound(2, seed=2)])
    unrolled = model(clips, style, 60)
    for i in range(2):
        slow = predict_slowly(model, model.audio_encoder(clips[i : i + 1], 60), style[i : i + 1])
        assert relative(unrolled[i : i + 1], slow) < 1e-5
        fast = model.vertice_map_r(model.latents(clips[i], style[i], 60))
        assert relative(fast, slow[0]) < 1e-5


def test_gradients_of_the_unroll_equal_the_twins():
    model = make(vertices=3).double()
    features = torch.randn(1, 15, 16, dtype=torch.float64)
    style = torch.tensor([[0.0, 0, 1]], dtype=torch.float64)
    names, parameters = zip(*[(n, p) for n, p in model.named_parameters() if not n.startswith("audio_encoder")])
    fast = torch.autograd.grad(model.unroll(features, style).square().sum(), parameters)
    slow = torch.autograd.grad(predict_slowly(model, features, style).square().sum(), parameters)
    for name, a, b in zip(names, fast, slow):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6 * float(b.abs().max() + 1)), name


@torch.no_grad()
def test_memory_slides_and_decoding_carries_over_blocks(monkeypatch):
    monkeypatch.setattr(speech_motion, "DECODE_BLOCK", 37)
    model = make(max_frames=16, period=5)
    style = model.style_of("ann")
    slow = predict_slowly(model, model.audio_encoder(sound(5)[None], 150), style[None])[0]
    far = dataclasses.replace(model.config, max_frames=600)
    assert relative(model.vertice_map_r(model.latents(sound(5), style, 150)), slow) < 1e-5
    assert relative(model.unroll(model.audio_encoder(sound(5)[None], 150), style[None])[0], slow) < 1e-5
    unlimited = SpeechMotion(far).eval()
    unlimited.load_state_dict(model.state_dict())
    assert relative(unlimited.vertice_map_r(unlimited.latents(sound(5), style, 150)), slow) > 1e-3


# --- what the model promises ----------------------------------------------------------------------------


@torch.no_grad()
def test_a_fresh_model_rests():
    model = SpeechMotion(SpeechMotionConfig(7, SUBJECTS, AudioEncoderConfig(width=16, bands=20))).eval()
    motion = model.generate(sound(1), model.style_of("eve"), 30)
    assert motion.shape == (30, 7, 3)
    assert not motion.any()


@torch.no_grad()
def test_a_motion_basis_turns_coordinates_into_metres():
    model = make(basis_size=5)
    style = model.style_of("ann")
    coordinates = model(sound(1)[None], style[None], 30)[0]
    assert coordinates.shape == (30, 5)
    metres = (coordinates @ model.motion_basis).view(30, -1, 3)
    assert relative(model.generate(sound(1), style, 30), metres) < 1e-5
    weight, bias = model.output_basis()
    assert weight.shape == (64, 12, 3)
    assert bias.shape == (12, 3)


@torch.no_grad()
def test_the_style_changes_the_motion():
    model = make()
    ann, bob = (model.generate(sound(1), model.style_of(name), 30) for name in ("ann", "bob"))
    assert relative(ann, bob) > 0.01


@torch.no_grad()
def test_same_input_same_bytes():
    model = make()
    style = model.style_of("ann")
    assert torch.equal(model.latents(sound(3), style, 90), model.latents(sound(3), style, 90))


def test_dropout_strikes_in_training_only():
    model = make().train()
    style = torch.eye(3)[:1]
    features = torch.randn(1, 20, 16)
    assert not torch.equal(model.unroll(features, style), model.unroll(features, style))
    model.eval()
    assert torch.equal(model.unroll(features, style), model.unroll(features, style))


def test_training_moves_all_that_may_move():
    config = SpeechMotionConfig(4, SUBJECTS, AudioEncoderConfig(kind="wav2vec2", sizes=WAV2VEC2))
    torch.manual_seed(0)
    model = SpeechMotion(config)
    nn.init.normal_(model.vertice_map_r.weight)
    (model(torch.randn(2, 16000), torch.eye(3)[:2], 30) - 1).square().mean().backward()
    still = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    frozen = {n for n, _ in model.named_parameters() if n.startswith("audio_encoder.feature_extractor")}
    unused = {"audio_encoder.masked_spec_embed"}  # strikes at random
    assert still - unused == frozen
    assert all(not p.requires_grad for n, p in model.named_parameters() if n in frozen)


def test_progress_grows_to_the_end():
    for kind in ("mel", "wav2vec2"):
        config = SpeechMotionConfig(
            2, SUBJECTS, AudioEncoderConfig(kind=kind, width=16, sizes=WAV2VEC2, window=60, overlap=9)
        )
        model = SpeechMotion(config).eval()
        seen = []
        model.latents(sound(6), model.style_of("ann"), 180, seen.append)
        assert len(seen) >= 2
        assert seen == sorted(seen)
        assert seen[0] > 0
        assert seen[-1] == pytest.approx(1)


@torch.no_grad()
def test_time_grows_with_the_length_not_faster():
    model = SpeechMotion(default_config(4, SUBJECTS)).eval()
    style = model.style_of("ann")
    clips = {minutes: sound(60).repeat(minutes) for minutes in (1, 10)}
    taken = dict.fromkeys(clips, float("inf"))
    for _ in range(10):  # another program may disturb a round, but not ten; growth with the square would be 100
        for minutes, clip in clips.items():
            start = getrusage(RUSAGE_SELF).ru_utime  # its own work, without the system clearing memory for large arrays
            model.latents(clip, style, 1800 * minutes)
            taken[minutes] = min(taken[minutes], getrusage(RUSAGE_SELF).ru_utime - start)
        if taken[10] / taken[1] <= 11:
            break
    assert taken[10] / taken[1] <= 11


def test_presets():
    default = default_config(100, SUBJECTS)
    assert (default.audio.kind, default.basis_size, default.outputs) == ("mel", 48, 48)
    paper = paper_config(10857, SUBJECTS)
    assert (paper.audio.kind, paper.outputs, paper.period, paper.heads) == ("wav2vec2", 32571, 30, 4)


def test_config_survives_json():
    config = dataclasses.replace(default_config(100, SUBJECTS), audio=AudioEncoderConfig(phone_classes=40))
    assert SpeechMotionConfig.from_dict(json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize("damage", [{"colour": 1}, {"audio": None}])
def test_a_config_of_another_version_is_refused(damage):
    values = dataclasses.asdict(default_config(100, SUBJECTS)) | damage
    with pytest.raises(VisemoError, match="expected one of this version"):
        SpeechMotionConfig.from_dict(values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vertices": 0}, "at least one vertex"),
        ({"subjects": ()}, "distinct subjects"),
        ({"subjects": ("ann", "ann")}, "distinct subjects"),
        ({"heads": 3}, "power of two"),
        ({"feature_dim": 60}, "power of two"),
        ({"period": 0}, "1 or more"),
        ({"basis_size": -1}, "0 or more"),
    ],
)
def test_impossible_sizes_are_refused(changes, words):
    with pytest.raises(VisemoError, match=words):
        SpeechMotionConfig(**{"vertices": 4, "subjects": SUBJECTS} | changes)


def test_an_unknown_subject_is_answered_with_the_list():
    with pytest.raises(VisemoError, match="'zoe', expected one of ann, bob, eve"):
        make().style_of("zoe")


def test_decoding_in_training_mode_is_refused():
    model = make().train()
    with pytest.raises(VisemoError, match="training mode"):
        model.latents(sound(1), model.style_of("ann"), 30)


def test_the_cross_attention_claim_itself():
    """With one frame allowed each, attention is a linear map of that frame."""
    attention = nn.MultiheadAttention(16, 4, batch_first=True)
    query, audio = torch.randn(1, 9, 16), torch.randn(1, 9, 16)
    out, _ = attention(query, audio, audio, attn_mask=~torch.eye(9, dtype=torch.bool))
    value = F.linear(audio, attention.in_proj_weight[32:], attention.in_proj_bias[32:])
    assert torch.allclose(out, attention.out_proj(value), atol=1e-6)
