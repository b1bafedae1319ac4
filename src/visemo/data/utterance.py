"""Something said: its sound and the phones in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visemo.data.store import Segment
from visemo.types import FloatArray, Waveform
from visemo.units import SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Utterance:
    """Sound (16 kHz mono) and its phones, which tile it from 0 to its end."""

    sound: Waveform
    phones: tuple[Segment, ...]


def silence(seconds: float) -> Utterance:
    """Nothing said for a while."""
    count = round(seconds * SAMPLE_RATE)
    return Utterance(Waveform(np.zeros(count, np.float32)), (Segment("pau", 0.0, count / SAMPLE_RATE),))


def join(utterances: list[Utterance]) -> Utterance:
    """One after the other; neighbouring pauses become one."""
    sound: FloatArray = np.concatenate([u.sound.samples for u in utterances])
    phones: list[Segment] = []
    offset = 0.0
    for utterance in utterances:
        for segment in utterance.phones:
            moved = Segment(segment.name, segment.start + offset, segment.end + offset)
            if phones and moved.name == phones[-1].name == "pau":
                phones[-1] = phones[-1]._replace(end=moved.end)
            else:
                phones.append(moved)
        offset += utterance.sound.seconds
    return Utterance(Waveform(sound), tuple(phones))
