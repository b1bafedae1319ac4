"""Leaps of the speech become steps that the eye can follow; closures and calm motion stay as they are."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visemo.animation.pace import FASTEST, at_pace

SHAPES = np.zeros((2, 3, 3), np.float32)
SHAPES[0, 0, 1], SHAPES[1, 1, 0] = -0.01, 0.004  # a jaw of 10 mm at vertex 0, a cheek of 4 mm at vertex 1
LIPS = SimpleNamespace(template=np.zeros((3, 3), np.float32), lip_pairs=np.array([[2, 0]]))  # a gap of 10 mm times jaw
MOST = FASTEST / 30


def leap(rows: np.ndarray) -> float:
    return float(np.linalg.norm(np.tensordot(np.diff(rows, axis=0), SHAPES, 1), axis=2).max())


def paced(rows: np.ndarray, fps: float = 30.0):
    return at_pace(rows, 2 * rows, SHAPES, LIPS, fps)


def test_calm_speech_is_not_touched():
    calm = np.stack([0.3 * np.sin(np.arange(60) / 4) ** 2, np.zeros(60)], axis=1).astype(np.float32)
    assert leap(calm) < MOST
    speech, leak = paced(calm)
    np.testing.assert_array_equal(speech, calm)
    np.testing.assert_array_equal(leak, 2 * calm)


def test_lips_that_snap_shut_begin_earlier_and_part_later():
    rows = np.ones((40, 2), np.float32)
    rows[20] = 0  # shut for one frame only
    speech, leak = paced(rows)
    assert leap(speech) <= MOST * 1.002
    np.testing.assert_array_equal(speech[20], [0, 0])
    wanted = np.minimum(1, np.abs(np.arange(40) - 20) * MOST / 0.01)  # the widest that keeps both
    np.testing.assert_allclose(speech[:, 0], wanted, atol=2e-3)
    np.testing.assert_allclose(leak, 2 * speech, atol=1e-6)


def test_a_faster_film_allows_less_from_frame_to_frame():
    rows = np.ones((60, 2), np.float32)
    rows[30] = 0
    assert leap(paced(rows, 60.0)[0]) <= MOST / 2 * 1.002


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_nothing_leaps_and_lips_open_no_further(seed, frames):
    random = np.random.default_rng(seed)
    rows = random.uniform(0, 1, (frames, 2)).astype(np.float32)
    rows[:, 1] *= 0.9  # of the 3.6 mm that the cheek may move: a jaw that gives way may take it further
    speech, _ = paced(rows)
    assert frames == 1 or leap(speech) <= MOST * 1.002
    assert (speech[:, 0] <= rows[:, 0] + 1e-6).all()
    lowest = rows[:, 0].argmin()
    assert speech[lowest, 0] == pytest.approx(rows[lowest, 0])
