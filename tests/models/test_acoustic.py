"""The acoustic model against readable twins, its own recogniser's front end, and sounds whose phones are known."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from visemo.models import acoustic
from visemo.models.acoustic import (
    CEPSTRA,
    DENSITIES,
    HOP,
    PHONES,
    STATES,
    STREAMS,
    WINDOW,
    AcousticModel,
    Densities,
    read_densities,
)
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def model():
    return AcousticModel()


def random_sound(seconds: float, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    envelope = np.repeat(random.uniform(0.3, 1, round(seconds * 10) + 1), 1600)[: round(seconds * 16000)]
    return torch.from_numpy((envelope * random.normal(size=len(envelope))).astype(np.float32))


def likelihoods(model: AcousticModel, sound: torch.Tensor) -> np.ndarray:
    """(n, phones * states) log likelihood of each state, written out in double precision."""
    means, variances, weights = acoustic._installed()
    cepstra = (model.cepstra(sound[None])[0] - model.mean).double().numpy()
    rows = []
    for t in range(3, len(cepstra) - 3):
        streams = (
            cepstra[t],
            cepstra[t + 2] - cepstra[t - 2],
            (cepstra[t + 3] - cepstra[t - 1]) - (cepstra[t + 1] - cepstra[t - 3]),
        )
        total = np.zeros((len(PHONES), STATES))
        for s, x in enumerate(streams):
            logs = -0.5 * ((x - means[:, s]) ** 2 / variances[:, s] + np.log(2 * np.pi * variances[:, s])).sum(-1)
            highest = logs.max()
            total += highest + np.log(np.einsum("pd,psd->ps", np.exp(logs - highest), weights[:, s]) + 1e-300)
        rows.append(total.ravel())
    return np.array(rows)


def test_posteriors_equal_the_formula_written_out(model):
    sound = random_sound(0.6)
    wanted = likelihoods(model, sound)
    wanted -= np.logaddexp.reduce(wanted, axis=1, keepdims=True)
    for stride in (1, 2):
        found = model(sound[None], stride)[0].double().numpy()
        expected = wanted[::stride]
        assert found.shape == expected.shape
        near = expected > -25  # what is less likely is cut off where it cannot matter
        assert np.abs(found - expected)[near].max() < 0.02
        assert (found[~near] < -20).all()
        np.testing.assert_allclose(np.exp(found).sum(1), 1, atol=1e-4)


def test_an_instant_depends_on_the_margin_and_no_more(model):
    sound = random_sound(1.0)
    at = 30
    centre = model.margin + at * HOP
    changed = sound.clone()
    changed[: centre - model.margin] = 0
    changed[centre + model.margin :] = 0
    assert torch.allclose(model(sound[None])[0, at], model(changed[None])[0, at], atol=1e-3)
    assert model(torch.zeros(1, 2 * model.margin)).shape == (1, 1, len(PHONES) * STATES)
    assert model.margin == WINDOW // 2 + 3 * HOP + 1  # and the sample before, which pre-emphasis takes off


def test_cepstra_are_those_of_the_recogniser(model, tmp_path):
    """pocketsphinx writes down the cepstra of what it hears; ours are the same but for loudness and its dither."""
    pocketsphinx = pytest.importorskip("pocketsphinx")
    pcm = (random_sound(1.0).numpy() * 3000).astype(np.int16)
    plain = tmp_path / "model"
    shutil.copytree(Path(pocketsphinx.__file__).parents[1] / acoustic.FOLDER, plain)
    options = (plain / "feat.params").read_text()
    (plain / "feat.params").write_text(options.replace("-remove_noise yes", "-remove_noise no"))
    (tmp_path / "log").mkdir()
    decoder = pocketsphinx.Decoder(
        hmm=str(plain), lm=None, loglevel="FATAL", mfclogdir=str(tmp_path / "log"), cmn="none", dither=False
    )
    decoder.set_align_text("word")
    decoder.start_utt()
    decoder.process_raw(pcm.tobytes(), full_utt=True)
    try:
        decoder.end_utt()
    except RuntimeError:
        pass  # nobody said "word"
    (path,) = (tmp_path / "log").iterdir()
    theirs = np.fromfile(path, ">f4")[1:].reshape(-1, CEPSTRA)
    ours = model.cepstra(torch.from_numpy(np.append(0, pcm).astype(np.float32) / 3000)[None])[0].numpy()
    count = min(len(theirs), len(ours))
    loudness = theirs[:count, 0] - ours[:count, 0]
    assert count >= 95 and np.abs(ours[:count, 1:] - theirs[:count, 1:]).max() < 0.3
    assert np.ptp(loudness) < 0.3


def test_loudness_is_taken_off_with_the_mean():
    model = AcousticModel()
    sounds = [random_sound(0.5, seed) for seed in range(3)]
    model.measure(sounds)
    every = torch.cat([model.cepstra(sound[None])[0] for sound in sounds])
    assert torch.allclose(model.mean, every.mean(0), atol=1e-4)
    quiet, loud = model.cepstra(sounds[0][None]), model.cepstra(4 * sounds[0][None])
    assert torch.allclose(quiet[..., 1:].mean(1), loud[..., 1:].mean(1), atol=0.7)  # a hiss is always there


def test_phones_of_a_voice_are_the_likely_ones(model):
    """What flite's recorded voice says is found far more often than by chance, and /m/ among the lips' phones."""
    from visemo.data.voices import SPOKEN

    voice = next((v for v in SPOKEN if v.id == "flite:rms" and v.installed), None)
    if voice is None:
        pytest.skip("no flite on this machine")
    spoken = voice.speak("my mother may move many more moments to mend the map")
    samples = torch.from_numpy(spoken.sound.samples)
    samples = samples / samples.square().mean().sqrt()
    heard = AcousticModel()
    heard.measure([samples])
    best = [PHONES[k // STATES] for k in heard(samples[None])[0].argmax(1).tolist()]
    names = []
    for n in range(len(best)):
        time = (heard.margin + n * HOP) / 16000
        names.append(next((s.name for s in spoken.phones if s.start <= time < s.end), "pau"))
    hits = [said == name.upper() for said, name in zip(best, names) if name != "pau"]
    nasal = [said in ("M", "N", "NG", "B", "V") for said, name in zip(best, names) if name == "m"]
    assert np.mean(hits) > 0.3 and np.mean(nasal) > 0.7


def test_digital_silence_is_a_sound_like_another(model):
    assert torch.isfinite(model(torch.zeros(1, 16000))).all()


def write_model(folder, phones=42, states=130):
    """A model of random numbers in the published layout; returns its Gaussians' means and stored weights."""
    random = np.random.default_rng(0)
    values = {}
    for name in ("means", "variances"):
        values[name] = random.uniform(0.5, 2, len(PHONES) * STREAMS * DENSITIES * CEPSTRA).astype("<f4")
        head = b"s3\nversion 1.0\nchksum0 yes\n      endhdr\n"
        sizes = struct.pack("<I7i", 0x11223344, phones, STREAMS, DENSITIES, *[CEPSTRA] * STREAMS, values[name].size)
        (folder / name).write_bytes(head + sizes + values[name].tobytes() + b"\0\0\0\0")
    stored = random.integers(0, 255, (STREAMS, DENSITIES, states), np.uint8)
    remarks = b"".join(struct.pack("<i", len(text) + 1) + text + b"\0" for text in (b"a title", b"cluster_count 0"))
    sizes = struct.pack("<3i", 0, DENSITIES, states)
    (folder / "sendump").write_bytes(remarks + sizes + stored.tobytes())
    return values["means"], stored


def test_files_in_the_published_layout_are_read(tmp_path):
    means, stored = write_model(tmp_path)
    found = read_densities(tmp_path)
    assert isinstance(found, Densities)
    np.testing.assert_array_equal(found.means.ravel(), means)
    ratio = found.weights[5, 1, 2, 7] / found.weights[5, 1, 2, 9]
    column = 5 * STATES + 2
    expected = 1.0001 ** (1024.0 * (int(stored[1, 9, column]) - int(stored[1, 7, column])))
    assert ratio == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(found.weights.sum(-1), 1)
    assert torch.isfinite(AcousticModel(found)(random_sound(0.3)[None])).all()


def test_other_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(VisemoError, match=r"means: cannot read .* expected a file of pocketsphinx's model"):
        read_densities(tmp_path)
    write_model(tmp_path, phones=41)
    with pytest.raises(VisemoError, match="means: got something else, expected 42 codebooks"):
        read_densities(tmp_path)
    write_model(tmp_path)
    whole = (tmp_path / "sendump").read_bytes()
    for damaged in (whole[:-1], whole[:6], b""):
        (tmp_path / "sendump").write_bytes(damaged)
        with pytest.raises(VisemoError, match="sendump: got something else, expected weights of 128 densities"):
            read_densities(tmp_path)
    acoustic._installed.cache_clear()
    monkeypatch.setattr(acoustic, "DIGEST", "0" * 16)
    with pytest.raises(VisemoError, match=r"got an acoustic model with digest .*, expected 0000"):
        AcousticModel()
    monkeypatch.setattr(acoustic, "find_spec", lambda name: None)
    with pytest.raises(VisemoError, match="acoustic model: got no pocketsphinx package"):
        AcousticModel()
