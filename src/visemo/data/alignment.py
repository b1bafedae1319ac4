"""When which phone is said: forced alignment of a recording with its words, by pocketsphinx (extra `corpus`)."""

from __future__ import annotations

import re

import numpy as np

from visemo.data.store import Segment
from visemo.data.visemes import SILENCE
from visemo.types import VisemoError, Waveform
from visemo.units import SAMPLE_RATE

FRAMES_PER_SECOND = 100  # of pocketsphinx


def align(sound: Waveform, words: str) -> tuple[Segment, ...]:
    """Phones of `words` as said in `sound` (16 kHz), in order, silences between them included.

    Raises VisemoError when pocketsphinx is missing, does not know a word, or does not find the words in the sound.
    """
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise VisemoError(
            "alignment: got no pocketsphinx, expected it installed; pip install visemo[corpus]"
        ) from error
    plain = " ".join(re.findall(r"[a-z']+", words.lower()))
    if sound.sample_rate != SAMPLE_RATE or not plain:
        raise VisemoError(
            f"alignment: got {words!r} at {sound.sample_rate} Hz, expected words and sound at {SAMPLE_RATE} Hz"
        )
    spoken = (sound.samples / max(float(np.abs(sound.samples).max()), 1e-6) * 30_000).astype("<i2").tobytes()
    decoder = Decoder(lm=None, loglevel="FATAL")
    try:
        decoder.set_align_text(plain)
        _run(decoder, spoken)
        decoder.set_alignment()
        _run(decoder, spoken)
        return tuple(
            Segment(_name(p.name), p.start / FRAMES_PER_SECOND, (p.start + p.duration) / FRAMES_PER_SECOND)
            for word in decoder.get_alignment()
            for p in word
        )
    except (RuntimeError, TypeError) as error:  # TypeError: there is no alignment
        raise VisemoError(f"alignment: got {plain!r} that pocketsphinx cannot align; check the transcript") from error


def _run(decoder, spoken: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(spoken, full_utt=True)
    decoder.end_utt()


def _name(name: str) -> str:
    """pocketsphinx' upper case without stress to the corpus' names; silence and noise are silence."""
    return SILENCE if name == "SIL" or name.startswith("+") else name.lower()
