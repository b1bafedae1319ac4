"""Voices: phones tile the sound, the same words give the same bytes, absent engines say what to install."""

import time as clock

import numpy as np
import pytest
import soundfile

from visemo.data import engines, voices
from visemo.data.augmentation import change_channel, change_speaker, faster, in_room, shift_formants, with_noise
from visemo.data.hum import spell
from visemo.data.sentences import SENTENCES
from visemo.data.store import Segment
from visemo.data.utterance import Utterance, join, silence
from visemo.data.visemes import PHONES, VOWELS
from visemo.data.voices import HUMMED, SPOKEN, installed_voices, voice
from visemo.types import VisemoError, Waveform

TEXT = "We put five blue books by the window."


def check_tiles(utterance: Utterance) -> None:
    assert utterance.phones[0].start == 0
    assert utterance.phones[-1].end == pytest.approx(utterance.sound.seconds, abs=1e-4)
    for a, b in zip(utterance.phones, utterance.phones[1:]):
        assert a.end == b.start
        assert a.end > a.start
    assert {s.name for s in utterance.phones} <= set(PHONES)


@pytest.mark.parametrize("speaker", SPOKEN + HUMMED, ids=lambda v: v.id)
def test_every_voice(speaker):
    if not speaker.installed:
        pytest.skip(f"{speaker.id} is not installed")
    plain, again, slow = speaker.speak(TEXT), speaker.speak(TEXT), speaker.speak(TEXT, stretch=1.3)
    check_tiles(plain)
    np.testing.assert_array_equal(plain.sound.samples, again.sound.samples)
    assert slow.sound.seconds > 1.15 * plain.sound.seconds
    names = [s.name for s in plain.phones]
    assert names.count("p") == 1
    assert "uw" in names or "ah" in names
    energy = {
        kind: np.mean([np.abs(cut(plain, s)).mean() for s in plain.phones if (s.name in VOWELS) == (kind == "vowel")])
        for kind in ("vowel", "other")
    }
    assert energy["vowel"] > 1.5 * energy["other"]  # the times belong to the sound


def cut(utterance: Utterance, segment: Segment) -> np.ndarray:
    return utterance.sound.samples[round(segment.start * 16000) : round(segment.end * 16000)]


def test_voices_by_name(monkeypatch):
    assert voice("hum:low") == HUMMED[0]
    with pytest.raises(VisemoError, match="expected one of flite:slt"):
        voice("flite:nobody")
    monkeypatch.setattr(voices.shutil, "which", lambda _: None)
    monkeypatch.setattr(voices, "has_espeak", lambda: False)
    with pytest.raises(VisemoError, match="Debian packages flite festival"):
        voice("flite:slt")
    with pytest.raises(VisemoError, match="Debian packages flite festival"):
        installed_voices()


def test_an_engine_that_fails_is_reported(tmp_path):
    with pytest.raises(VisemoError, match=r"got exit code 3 \(no such voice\)"):
        engines.run(["sh", "-c", "echo no such voice >&2; exit 3"])
    if engines.has_espeak():
        with pytest.raises(VisemoError, match=r"got exit code 1 \(no voice nobody\)"):
            engines.espeak(TEXT, "nobody", 1.0, 1.0, tmp_path)


def test_the_clock_does_not_change_what_espeak_says():
    breathy = voice("espeak:en-us+f5")
    first = breathy.speak(TEXT)
    clock.sleep(1.1)  # the library would seed its noise by the second
    np.testing.assert_array_equal(first.sound.samples, breathy.speak(TEXT).sound.samples)


def test_phonemes_of_espeak(tmp_path, monkeypatch):
    said = [(s.name, round(s.end, 3)) for s in engines._espeak_phones("'A@", 0.0, 1.0)]
    assert said == [("aa", 0.6), ("r", 1.0)]
    assert [s.name for s in engines._espeak_phones("_:", 0.0, 1.0)] == ["pau"]
    with pytest.raises(VisemoError, match="got phoneme 'y:', expected one of American English"):
        engines._espeak_phones("y:", 0.0, 1.0)


def test_pauses_of_espeak_join_and_marks_vanish(tmp_path, monkeypatch):
    def program(command, text):
        soundfile.write(command[-1], np.zeros(22050, np.float32), 22050)
        return "0 _\n0 'aI\n4410 ;\n11025 _:\n13230 _\n17640 m\n22050 _\n"

    monkeypatch.setattr(engines, "run", program)
    said = engines.espeak("I'm", "en-us", 1.0, 1.0, tmp_path).phones
    assert [(s.name, s.start) for s in said] == [("ay", 0.0), ("pau", 0.5), ("m", 0.8)]


def test_joining_merges_pauses():
    spoken = HUMMED[0].speak("bob")
    whole = join([silence(0.5), spoken, silence(0.25), spoken])
    check_tiles(whole)
    assert [s.name for s in whole.phones] == ["pau", "b", "aa", "b", "pau", "b", "aa", "b", "pau"]
    assert whole.sound.seconds == pytest.approx(0.75 + 2 * spoken.sound.seconds)


def test_spelling():
    assert [name for name, _ in spell("Sheep, moon")] == "pau sh iy p pau m uw n pau".split()
    assert all(name in PHONES for line in SENTENCES for name, _ in spell(line))


def test_sentences_are_many_and_labial():
    assert len(set(SENTENCES)) == len(SENTENCES) >= 300
    letters = "".join(SENTENCES).lower()
    assert sum(map(letters.count, "pbmfvw")) > 0.13 * len(letters)
    assert sum("," in line for line in SENTENCES) > 50


# --- the same words elsewhere -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken() -> Utterance:
    return HUMMED[1].speak(TEXT)


def spectrum_peak(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() / len(samples) * 16000)


def test_tape_speed_moves_pitch_and_times_together():
    time = np.arange(16000) / 16000
    tone = Utterance(Waveform(np.sin(2 * np.pi * 400 * time).astype(np.float32)), (Segment("aa", 0.2, 1.0),))
    fast = faster(tone, 1.25)
    assert spectrum_peak(fast.sound.samples) == pytest.approx(500, abs=3)
    assert fast.phones[0] == Segment("aa", 0.2 / 1.25, 0.8)


def test_formants_move_and_pitch_stays():
    time = np.arange(32000) / 16000
    harmonics = [np.exp(-(((120 * k - 1000) / 300) ** 2)) * np.sin(2 * np.pi * 120 * k * time) for k in range(1, 40)]
    sound = Waveform((0.05 * np.sum(harmonics, axis=0)).astype(np.float32))
    moved = shift_formants(sound, 1.2)
    power = [np.abs(np.fft.rfft(s.samples)) ** 2 for s in (sound, moved)]
    hertz = np.fft.rfftfreq(32000, 1 / 16000)
    middle = [(p * hertz).sum() / p.sum() for p in power]
    assert middle[1] / middle[0] == pytest.approx(1.2, abs=0.08)
    teeth = [p[(hertz % 120 < 4) | (hertz % 120 > 116)].sum() / p.sum() for p in power]
    assert min(teeth) > 0.95
    short = Waveform(np.ones(100, np.float32))
    assert shift_formants(short, 1.2) is short


def test_noise_has_the_ratio_asked_for(spoken):
    noisy = with_noise(spoken.sound, 10.0, np.random.default_rng(0))
    noise = noisy.samples - spoken.sound.samples
    ratio = 10 * np.log10(np.square(spoken.sound.samples).mean() / np.square(noise).mean())
    assert ratio == pytest.approx(10, abs=0.3)


def test_a_room_keeps_the_direct_sound_in_place(spoken):
    wet = in_room(spoken.sound, np.random.default_rng(0)).samples
    lags = np.arange(-200, 201)
    match = [np.dot(np.roll(wet, -lag), spoken.sound.samples) for lag in lags]
    assert lags[int(np.argmax(match))] == 0


@pytest.mark.parametrize("seed", range(8))
def test_changes_are_seeded_and_keep_length(spoken, seed):
    one, two = (change_channel(spoken.sound, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(one.samples, two.samples)
    assert len(one.samples) == len(spoken.sound.samples)
    assert 0 < np.abs(one.samples).max() <= 1
    check_tiles(change_speaker(spoken, np.random.default_rng(seed)))


def test_silence_survives():
    quiet = silence(0.5).sound
    assert change_channel(quiet, np.random.default_rng(1)) is quiet
