"""Forced alignment: phones where they are said, and one line when the words do not fit."""

import builtins
from itertools import pairwise

import numpy as np
import pytest

from visemo.assets import ASSETS
from visemo.data.alignment import align
from visemo.data.visemes import PHONES
from visemo.media import load_audio
from visemo.types import VisemoError, Waveform

pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed: pip install visemo[corpus]")


def test_aligned_like_the_published_alignment(shared_data):
    from visemo.evaluate.articulation import read_phones

    path = shared_data / "speech" / "librivox_sense_0890.wav"
    words = "unless to be rather cold hearted and rather selfish is to be ill disposed"
    ours, theirs = align(load_audio(path), words), read_phones(path.with_suffix(".phones.json"))
    spoken = [[p for p in phones if p.name != "pau"] for phones in (ours, theirs)]
    assert [p.name for p in spoken[0]] == [p.name for p in spoken[1]]
    apart = np.array([(a.start - b.start, a.end - b.end) for a, b in zip(*spoken)])
    assert np.abs(apart).max() < 0.05


def test_phones_follow_one_another(shared_data):
    sound = load_audio(shared_data / "speech" / "cards_005.wav")
    phones = align(sound, "Eight of spades, four of clubs, seven of hearts.")
    assert {p.name for p in phones} <= set(PHONES)
    assert all(a.end == pytest.approx(b.start) for a, b in pairwise(phones))
    assert phones[0].start == 0 and phones[-1].end == pytest.approx(sound.seconds, abs=0.1)


def test_words_that_do_not_fit_are_refused(monkeypatch):
    sound = load_audio(ASSETS / "speech.flac")
    with pytest.raises(VisemoError, match="got 'xyzzyq' that pocketsphinx cannot align; check the transcript"):
        align(sound, "xyzzyq")
    with pytest.raises(VisemoError, match="got '!' at 16000 Hz, expected words"):
        align(sound, "!")
    with pytest.raises(VisemoError, match="at 8000 Hz"):
        align(Waveform(sound.samples, 8000), "word")
    real = builtins.__import__

    def without(name, *rest):
        if name == "pocketsphinx":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(VisemoError, match="got no pocketsphinx"):
        align(sound, "word")
