"""The log-mel encoder: what it hears, how far ahead, at which loudness, and in blocks."""

import math

import pytest
import torch
from torch.nn import functional as F

from visemo.assets import ASSETS
from visemo.media import load_audio
from visemo.models import audio_encoder
from visemo.models.audio_encoder import AudioEncoderConfig, MelEncoder, mel_filters
from visemo.models.speech_motion import build_audio_encoder
from visemo.types import VisemoError

RATE = 16_000


def make(**changes):
    torch.manual_seed(0)
    return build_audio_encoder(AudioEncoderConfig(**{"width": 32} | changes)).eval()


def speechlike(seconds, seed=0):
    """Noise in syllables of varying colour, with pauses."""
    torch.manual_seed(seed)
    time = torch.arange(int(seconds * RATE)) / RATE
    syllables = torch.sin(2 * math.pi * 2.3 * time).clamp(min=0) * (torch.sin(2 * math.pi * 0.3 * time) > -0.5)
    tone = torch.sin(2 * math.pi * (300 + 200 * torch.sin(time)) * time)
    return 0.2 * syllables * (tone + 0.3 * torch.randn(len(time)))


@torch.no_grad()
def test_shape_and_rate():
    encoder = make()
    out = encoder(torch.stack([speechlike(2), speechlike(2, 1)]), 60)
    assert out.shape == (2, 60, 32)
    assert out.std(dim=1).min() > 0.01


@torch.no_grad()
def test_clips_of_a_batch_do_not_meet():
    encoder = make()
    quiet, loud = speechlike(2) * 0.01, speechlike(2, 1)
    both = encoder(torch.stack([quiet, loud]), 60)
    assert torch.allclose(both[0], encoder(quiet[None], 60)[0], atol=1e-5)
    assert torch.allclose(both[1], encoder(loud[None], 60)[0], atol=1e-5)


def test_a_tone_sounds_in_its_own_band():
    encoder = make(bands=80)
    for hertz in (200, 440, 1000, 3000, 6000):
        tone = torch.sin(2 * math.pi * hertz * torch.arange(RATE) / RATE)[None]
        band = int(encoder._log_mel(tone).mean(dim=1).argmax())
        centre = 700 * (math.exp((band + 1) * 1127 * math.log1p(8000 / 700) / 81 / 1127) - 1)
        assert centre == pytest.approx(hertz, rel=0.06, abs=40)


def test_the_bands_add_up_to_the_energy():
    torch.manual_seed(0)
    frames = 0.1 * torch.randn(400, audio_encoder.WINDOW)
    hann = torch.hann_window(audio_encoder.WINDOW)
    power = torch.fft.rfft(frames * hann, n=audio_encoder.FFT).abs().square() @ mel_filters(80)
    assert float(power.sum(dim=1).mean()) == pytest.approx(0.01, rel=0.03)


@torch.no_grad()
@pytest.mark.parametrize("decibels", [0, -10, -20, -30])
def test_loudness_does_not_matter(decibels):
    encoder = make()
    clip = speechlike(4)[None]
    assert torch.allclose(encoder(clip * 10 ** (decibels / 20), 120), encoder(clip, 120), atol=1e-3)


@torch.no_grad()
def test_the_colour_of_a_microphone_hardly_matters():
    encoder = make(bands=80)
    clip = torch.from_numpy(load_audio(ASSETS / "speech.flac").samples)[None].repeat(1, 5)  # long enough to be sure
    dull = clip + 0.6 * F.pad(clip, (1, -1))  # high frequencies 12 dB down

    def apart(prepare) -> float:
        colours = [encoder._log_mel(prepare(samples)).mean(dim=1) for samples in (clip, dull)]
        return float((colours[0] - colours[1]).abs().mean())

    level_only = apart(lambda samples: samples * audio_encoder._speech_level(samples).rsqrt()[:, None])
    assert apart(encoder.normalise) < 0.5 * level_only


@torch.no_grad()
def test_a_short_clip_keeps_its_own_colour():
    """A lone vowel is coloured by what it is, not by the microphone."""
    encoder, clip = make(), speechlike(4)[None]
    gains = [encoder._missing_colour(encoder.normalise(clip[:, : round(RATE * s)])).abs().max() for s in (0.2, 4.0)]
    assert gains[0] < 2.0
    assert not encoder._missing_colour(torch.zeros(1, 100)).any()


@torch.no_grad()
def test_pauses_around_the_speech_do_not_change_its_level():
    encoder = make()
    clip = speechlike(4)[None]
    padded = F.pad(clip, (0, 20 * RATE))
    plain = encoder.normalise(clip)
    assert (encoder.normalise(padded)[:, : clip.shape[1]] - plain).abs().max() < 5e-3 * plain.abs().max()


@torch.no_grad()
def test_silence_stays_silent():
    encoder = make()
    silent = torch.zeros(1, 2 * RATE)
    assert (encoder._log_mel(encoder.normalise(silent)) == -1).all()
    still = encoder(silent, 60)
    assert torch.allclose(still, still[:, :1].expand_as(still), atol=1e-6)
    hiss = 10 ** (-90 / 20) * torch.randn(1, 2 * RATE)
    speech = encoder._log_mel(encoder.normalise(speechlike(2)[None])).amax()
    assert encoder._log_mel(encoder.normalise(hiss)).amax() < speech - 0.8  # 24 dB


@torch.no_grad()
@pytest.mark.parametrize("phonetic", [False, True])
@pytest.mark.parametrize("look_ahead", [0.1, 0.25])
def test_no_output_knows_more_of_its_future_than_promised(look_ahead, phonetic):
    encoder = make(look_ahead=look_ahead, phonetic=phonetic)
    assert encoder.look_ahead <= look_ahead
    clip = encoder.normalise(speechlike(4)[None])
    for frame in (20, 47, 90):
        change = round((frame / 30 + look_ahead) * RATE)
        other = clip.clone()
        other[:, change:] = torch.randn_like(other[:, change:])
        moved = (encoder.encode(other, 120) - encoder.encode(clip, 120)).abs().amax(dim=2)[0]
        assert not moved[: frame + 1].any()
        assert moved[frame + 4 :].min() > 0, "the change was not heard at all"


@torch.no_grad()
def test_a_click_is_heard_at_its_own_time():
    encoder = make()
    clip = torch.zeros(1, 4 * RATE)
    clip[:, 2 * RATE] = 1
    heard = encoder.encode(clip, 120) - encoder.encode(torch.zeros_like(clip), 120)
    frames = heard.abs().amax(dim=2)[0].nonzero().flatten() / 30
    assert 2 - encoder.look_ahead <= frames.min() < 2
    assert 2 < frames.max() <= 2 + encoder.past * audio_encoder.STEP + 0.05


@torch.no_grad()
@pytest.mark.parametrize(("fps", "phonetic"), [(30.0, False), (25.0, False), (60.0, False), (30.0, True)])
def test_blocks_equal_the_whole(monkeypatch, fps, phonetic):
    encoder = make(fps=fps, phonetic=phonetic)
    clip = speechlike(5)[None]
    whole = encoder(clip, 150)
    monkeypatch.setattr(audio_encoder, "BLOCK", 37)
    assert torch.allclose(encoder(clip, 150), whole, atol=1e-5)  # same sums; products of other sizes round anew


@torch.no_grad()
def test_phones_are_heard_at_their_own_time():
    """What the acoustic model says of an instant stands in the step of that instant, beside the bands around it."""
    encoder = make(phonetic=True)
    encoder.acoustic.measure([encoder.normalise(speechlike(4)[None])[0]])
    clip = encoder.normalise(speechlike(4)[None])
    heard = encoder.hear(clip, 30, 60)[0, :, -encoder.acoustic.width :]
    step = encoder.past + 7  # of the step grid, seven after the first
    centre = audio_encoder.STRIDE * audio_encoder.HOP * (round(30 / 30 / audio_encoder.STEP) + 7)
    margin = encoder.acoustic.margin
    alone = encoder.acoustic(clip[:, centre - margin : centre + margin])[0, 0]
    assert torch.allclose(heard[step], (alone / 10).clamp(min=-3) + 1.5, atol=1e-4)
    assert heard.min() >= -1.5 and heard.max() <= 1.5


def test_a_phonetic_encoder_learns_but_its_acoustic_model_does_not():
    encoder = make(phonetic=True).train()
    before = {name: value.clone() for name, value in encoder.acoustic.named_buffers()}
    assert not list(encoder.acoustic.parameters())
    encoder(speechlike(1)[None], 30).square().mean().backward()
    assert encoder.stem.weight.grad[:, -encoder.acoustic.width :].any()
    assert all(torch.equal(value, before[name]) for name, value in encoder.acoustic.named_buffers())
    assert {name for name in encoder.state_dict() if name.startswith("acoustic")} == {"acoustic.mean"}


@torch.no_grad()
def test_frames_past_the_end_hear_silence():
    encoder = make()
    clip = speechlike(1)[None]
    assert torch.allclose(encoder.encode(clip, 90), encoder.encode(F.pad(clip, (0, 4 * RATE)), 90), atol=1e-5)
    assert encoder(clip[:, :1], 1).isfinite().all()


def test_everything_learns():
    encoder = make(phone_classes=5).train()
    features = encoder(speechlike(2)[None], 60)
    logits = encoder.phone_logits(features)
    assert logits.shape == (1, 60, 5)
    (features.square().mean() + logits.square().mean()).backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.parameters())


def test_phones_need_a_head():
    encoder = make()
    with pytest.raises(VisemoError, match="phone_classes=0"):
        encoder.phone_logits(torch.zeros(1, 3, 32))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "hubert"}, "expected mel or wav2vec2"),
        ({"fps": 0.0}, "expected a positive number"),
        ({"overlap": 300}, "at most a quarter"),
        ({"look_ahead": 0.01}, "expected at least"),
    ],
)
def test_impossible_configs_are_refused(changes, words):
    with pytest.raises(VisemoError, match=words):
        MelEncoder(AudioEncoderConfig(**changes))


@pytest.mark.parametrize(("shape", "frames"), [((RATE,), 30), ((1, 0), 30), ((1, RATE), 0)])
def test_wrong_input_is_refused(shape, frames):
    with pytest.raises(VisemoError, match="expected"):
        make()(torch.zeros(shape), frames)


def test_filtering_in_blocks_is_one_convolution(monkeypatch):
    torch.manual_seed(0)
    samples, gains = torch.randn(2, 9000), torch.rand(2, audio_encoder.TAPS // 2 + 1) + 0.5
    taps = torch.fft.irfft(gains).roll(audio_encoder.TAPS // 2, dims=1) * torch.hann_window(audio_encoder.TAPS)
    half = audio_encoder.TAPS // 2
    whole = [
        F.conv1d(F.pad(x, (half - 1, half))[None, None], t.flip(0)[None, None])[0, 0] for x, t in zip(samples, taps)
    ]
    monkeypatch.setattr(audio_encoder, "FILTER_BLOCK", 2000)
    assert torch.allclose(audio_encoder._filtered(samples, gains), torch.stack(whole), atol=1e-5)
