"""Planted lips: articulation finds the /m/ that does not close and the vowel that does not open."""

import json
from dataclasses import replace

import numpy as np
import pytest

from visemo.data.coarticulation import predicted_gap, speech_curves
from visemo.data.store import Segment
from visemo.data.visemes import BILABIALS, CONSONANTS, LABIODENTALS
from visemo.evaluate.articulation import TOUCHING, articulation, pause_ends, quiet_spells, read_phones, teeth_gap
from visemo.evaluate.metrics import lip_gap
from visemo.face.arkit import ARKIT_NAMES
from visemo.types import VisemoError, Waveform

PHONES = (
    Segment("pau", 0.0, 0.5),
    Segment("m", 0.5, 0.6),
    Segment("aa", 0.6, 0.9),
    Segment("b", 0.9, 1.0),
    Segment("ae", 1.0, 1.3),
    Segment("t", 1.3, 1.4),
    Segment("pau", 1.4, 1.7),
)


@pytest.fixture(scope="module")
def gap(shaped_face):
    return predicted_gap(PHONES, 51, shaped_face).astype(np.float64)


@pytest.fixture(scope="module")
def shaped_face():
    from visemo.face.library import load_face

    return load_face("builtin")


def test_the_predicted_lips_are_right(gap, shaped_face):
    found = articulation(gap, PHONES, shaped_face)
    assert (found.shut, len(found.closures), found.open, len(found.vowels)) == (2, 2, 2, 2)
    assert found.correlation == pytest.approx(1.0) and found.lag == 0


def test_lips_that_stay_open_or_shut_are_found(gap, shaped_face):
    held = gap.copy()
    held[int(0.83 * 30) : int(1.08 * 30)] = 3.0  # the /b/ never shuts
    assert articulation(held, PHONES, shaped_face).shut == 1
    flat = np.minimum(gap, np.where(np.arange(51) > 28, 3.5, 99))  # the /ae/ hardly opens
    assert articulation(flat, PHONES, shaped_face).open == 1


def test_planted_labiodentals_touch_the_teeth_and_nothing_else_does(shaped_face):
    """Every consonant between two vowels: /f v/ are made with lip and teeth, those without lips are not."""
    shapes = np.stack([shaped_face.shape(name) for name in ARKIT_NAMES])
    for name in sorted(CONSONANTS - BILABIALS):
        for vowel in ("aa", "iy", "uw"):
            phones = (Segment(vowel, 0.0, 0.3), Segment(name, 0.3, 0.4), Segment(vowel, 0.4, 0.7))
            vertices = shaped_face.template + np.tensordot(speech_curves(phones, 21), shapes, 1)
            teeth, lips = teeth_gap(vertices, shaped_face), lip_gap(vertices, shaped_face.lip_pairs)
            if name not in LABIODENTALS:
                assert teeth[10] > 1.5 * TOUCHING
                continue
            found = articulation(lips, phones, shaped_face, teeth=teeth)
            assert found.bitten == 1 and lips[10] > 1.0


def test_teeth_are_measured_where_there_are_some(shaped_face):
    rest = teeth_gap(shaped_face.template[None], shaped_face)
    tooth = next(part for part in shaped_face.parts if part.name == "teeth_upper").vertices
    edge = tooth[np.abs(tooth[:, 0]) <= 0.012]
    edge = edge[edge[:, 1] <= tooth[:, 1].min() + 0.004]
    lip = shaped_face.template[shaped_face.regions["lower_lip"]]
    slow = min(np.linalg.norm(edge - point, axis=1).min() for point in lip)  # the readable twin
    assert rest == pytest.approx(1e3 * slow)
    bare = replace(shaped_face, parts=())
    with pytest.raises(VisemoError, match="no upper teeth"):
        teeth_gap(shaped_face.template[None], bare)


def test_a_late_mouth_is_a_lag(gap, shaped_face):
    late = np.concatenate([gap[:1], gap[:-1]])
    found = articulation(late, PHONES, shaped_face)
    assert found.lag == 1 and found.correlation > 0.999


def test_pauses_end_where_they_should():
    assert pause_ends(PHONES, 51) == [15]
    assert pause_ends(PHONES, 51, shortest=0.2) == [15, 50]


def test_an_alignment_is_read(tmp_path):
    path = tmp_path / "a.phones.json"
    rows = [{"phone": "SIL", "begin": 0, "dur": 0.2, "word": "<sil>"}, {"phone": "AH0", "begin": 0.2, "dur": 0.1}]
    path.write_text(json.dumps(rows))
    assert read_phones(path) == (Segment("pau", 0, 0.2), Segment("ah", 0.2, pytest.approx(0.3)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("hello", "got no alignment"),
        ('[{"phone": "AA"}]', "got no alignment"),
        ("[]", "got phones none"),
        ('[{"phone": null, "begin": 0, "dur": 1}]', "got no alignment"),
        ('[{"phone": "QX", "begin": 0, "dur": 1}]', r"got phones \['qx'\]"),
    ],
)
def test_what_is_no_alignment_is_refused(tmp_path, content, says):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(VisemoError, match=says):
        read_phones(path)
    with pytest.raises(VisemoError, match="got no alignment"):
        read_phones(tmp_path / "none.json")


@pytest.mark.parametrize("level", [1.0, 0.01])
def test_planted_pauses_are_found_at_any_level(level):
    noise = np.random.default_rng(0).normal(size=5 * 16_000) * 0.1
    for start, end in ((0.0, 0.5), (1.2, 1.5), (2.0, 2.6), (4.2, 5.0)):  # the second is too short to count
        noise[round(start * 16_000) : round(end * 16_000)] *= 1e-3
    found = quiet_spells(Waveform((level * noise).astype(np.float32)))
    np.testing.assert_allclose(found, [(0.0, 0.5), (2.0, 2.6), (4.2, 5.0)], atol=0.021)


def test_silence_and_a_click_are_one_pause_or_none():
    assert quiet_spells(Waveform(np.zeros(16_000, np.float32))) == [(0.0, 1.0)]
    assert quiet_spells(Waveform(np.zeros(100, np.float32))) == []
