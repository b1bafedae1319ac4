"""The mouth of a talker: lips that meet, bite, round early, open wide, and rest in pauses."""

import numpy as np
import pytest
from planted_face import planted_face

from visemo.data.coarticulation import Style, predicted_gap, speech_curves
from visemo.data.store import Segment
from visemo.data.visemes import BILABIALS, GESTURES, GLIDES, OPEN_VOWELS, PHONES, VISEMES
from visemo.face.arkit import ARKIT_NAMES
from visemo.types import VisemoError, Waveform


def utter(*phones: str, seconds: float = 0.1) -> list[Segment]:
    """Phones one after the other between two pauses of 0.4 s."""
    segments, end = [Segment("pau", 0.0, 0.4)], 0.4
    for name in phones:
        segments.append(Segment(name, end, end + seconds))
        end += seconds
    return [*segments, Segment("pau", end, end + 0.4)]


def curve(phones: list[Segment], name: str, **options) -> np.ndarray:
    frames = round(phones[-1].end * 30)
    return speech_curves(phones, frames, **options)[:, ARKIT_NAMES.index(name)]


def centre(phones: list[Segment], number: int) -> int:
    return round((phones[number].start + phones[number].end) / 2 * 30)


def test_every_phone_has_a_viseme():
    assert set(PHONES) == set(VISEMES) | set(GLIDES)
    assert all(len(v.targets) == len(GESTURES) and len(v.hold) == 3 for v in VISEMES.values())
    assert all({first, second} <= set(VISEMES) for first, second, _ in GLIDES.values())


@pytest.mark.parametrize("phone", sorted(BILABIALS))
@pytest.mark.parametrize("vowel", ["aa", "ae", "uw", "iy"])
@pytest.mark.parametrize("seconds", [0.03, 0.06, 0.12])
def test_bilabials_seal_between_any_vowels_at_any_tempo(phone, vowel, seconds):
    phones = utter("t", vowel, phone, vowel, "t", seconds=seconds)
    at = slice(centre(phones, 3), centre(phones, 3) + 1)
    jaw, close = curve(phones, "jawOpen"), curve(phones, "mouthClose")
    np.testing.assert_allclose(jaw[at], close[at], atol=1e-6)
    for name in ("mouthLowerDownLeft", "mouthUpperUpRight", "mouthFunnel"):
        assert curve(phones, name)[at].max() < 1e-6


def test_the_gap_of_a_face_follows():
    face = planted_face()
    phones = utter("m", "aa", "m", "aa", "p", "iy", seconds=0.14)
    gap = predicted_gap(phones, round(phones[-1].end * 30), face)
    assert max(gap[centre(phones, k)] for k in (1, 3, 5)) < 0.5
    assert min(gap[centre(phones, k)] for k in (2, 4)) > 4
    assert gap[centre(phones, 2)] > gap[centre(phones, 6)]
    assert gap[:9].max() < 0.5


def test_open_vowels_open_more_than_close_ones():
    heights = {v: curve(utter("t", v, "t", seconds=0.12), "jawOpen").max() for v in (*OPEN_VOWELS, "iy", "uw", "ih")}
    assert min(heights[v] for v in OPEN_VOWELS) > 1.4 * max(heights[v] for v in ("iy", "uw", "ih"))


def test_the_lower_lip_reaches_the_teeth():
    phones = utter("aa", "f", "aa", "v", "iy")
    roll = curve(phones, "mouthRollLower")
    assert min(roll[centre(phones, k)] for k in (2, 4)) > 0.45
    assert curve(utter("aa", "s", "aa"), "mouthRollLower").max() < 1e-6


def test_rounding_begins_before_the_vowel_and_opening_does_not():
    phones = utter("iy", "t", "s", "uw", "t", seconds=0.08)
    pucker = curve(phones, "mouthPucker")
    early = round((phones[4].start - 0.08) * 30)
    assert pucker[early] > 0.15 * pucker.max()
    assert curve(utter("iy", "t", "s", "iy", "t", seconds=0.08), "mouthPucker").max() < 0.01


def test_lips_rest_in_pauses_to_their_end():
    phones = [*utter("aa", "t", "aa"), *(s._replace(start=s.start + 1.1, end=s.end + 1.1) for s in utter("aa", "t"))]
    curves = speech_curves(phones, round(phones[-1].end * 30))
    apart = curves[:, ARKIT_NAMES.index("jawOpen")] - curves[:, ARKIT_NAMES.index("mouthClose")]
    rest = slice(round((phones[4].start + 0.2) * 30), int((phones[5].end - 0.06) * 30))
    assert np.abs(apart[rest]).max() < 1e-3
    assert curves[rest, ARKIT_NAMES.index("mouthLowerDownLeft")].max() < 1e-3


def test_long_and_loud_vowels_open_wider():
    short, long = (curve(utter("t", "ae", "t", seconds=s), "jawOpen").max() for s in (0.06, 0.2))
    assert long > 1.15 * short
    phones = utter("t", "ae", "t", "ae", "t", seconds=0.12)
    samples = np.random.default_rng(0).normal(0, 0.02, round(phones[-1].end * 16000)).astype(np.float32)
    samples[round(phones[2].start * 16000) : round(phones[2].end * 16000)] *= 8
    jaw = curve(phones, "jawOpen", sound=Waveform(samples))
    assert jaw[centre(phones, 2)] > 1.1 * jaw[centre(phones, 4)]
    empty = utter("t", "ae", "t")
    np.testing.assert_allclose(
        curve(empty, "jawOpen", sound=Waveform(np.zeros(10, np.float32))), curve(empty, "jawOpen")
    )


def test_style_scales_and_leans():
    phones = utter("t", "ae", "t")
    assert curve(phones, "jawOpen", style=Style(jaw=1.2)).max() == pytest.approx(1.2 * curve(phones, "jawOpen").max())
    left, right = (curve(phones, f"mouthLowerDown{side}", style=Style(lean=0.1)).max() for side in ("Left", "Right"))
    assert left / right == pytest.approx(1.1 / 0.9)
    drawn = Style.draw(np.random.default_rng(3))
    assert drawn == Style.draw(np.random.default_rng(3)) != Style.draw(np.random.default_rng(4))


def test_pace_and_amplitude_are_those_of_captured_talk(shared_data):
    """Within a factor of two of a real capture, shape by shape (95th percentiles of speed at 30 fps)."""
    with np.load(shared_data / "motion" / "speech_neurosync_en" / "take.npz") as take:
        names, captured = list(take["names"]), take["weights"][::2]
    words = "pau hh ax l ow m ay f r eh n d w iy m ae d s ah m b r eh d ae n d b ah t er f ao r y uw pau".split()
    phones = [Segment(name, 0.09 * k, 0.09 * (k + 1)) for k, name in enumerate(words)]
    made = speech_curves(phones, round(phones[-1].end * 30))
    for name in ("jawOpen", "mouthLowerDownLeft", "mouthUpperUpLeft"):
        speeds = [
            np.percentile(np.abs(np.diff(curves[:, k])), 95) * 30
            for curves, k in ((made, ARKIT_NAMES.index(name)), (captured, names.index(name)))
        ]
        assert 0.5 < speeds[0] / speeds[1] < 2, name


@pytest.mark.parametrize("phones", [[], [Segment("q", 0.0, 0.1)]])
def test_unknown_phones(phones):
    with pytest.raises(VisemoError, match="phones: got"):
        speech_curves(phones, 3)
