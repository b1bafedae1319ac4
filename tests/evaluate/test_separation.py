"""Each measure of separation against a number worked out by hand."""

import numpy as np
import pytest

from visemo.evaluate import separation
from visemo.types import VisemoError


def test_leakage_is_a_share_of_energy():
    own = np.array([[[3.0, 0, 0], [0, 4, 0]]])
    assert separation.leakage(own[:, :1], own) == pytest.approx(9 / 25)
    assert separation.leakage(0 * own, own) == 0
    with pytest.raises(VisemoError, match="leakage: got a motion of nothing"):
        separation.leakage(own, 0 * own)


def test_region_leak_is_an_rms_and_its_share():
    moved = np.zeros((2, 3, 3), np.float32)
    moved[0, 0] = (0.003, 0.004, 0)  # 5 mm in one of two frames
    moved[:, 1, 2] = 0.010
    brow, face = np.array([0], np.int32), np.array([0, 1], np.int32)
    rms = (25 / 2) ** 0.5
    assert separation.region_leak(moved, brow) == pytest.approx((rms, rms / ((25 + 200) / 6) ** 0.5))
    assert separation.region_leak(moved, brow, face) == pytest.approx((rms, rms / ((25 + 200) / 4) ** 0.5))
    with pytest.raises(VisemoError, match="region leak: got a motion of nothing"):
        separation.region_leak(0 * moved, brow)


def test_lips_parted_takes_opening_and_shutting_alike():
    template = np.zeros((4, 3), np.float32)
    template[2, 1] = 0.004  # the second pair is 4 mm apart at rest: a gap of 2
    pairs = np.array([[0, 1], [2, 3]], np.int32)
    moved = np.zeros((3, 4, 3), np.float32)
    moved[1, 0, 1] = 0.006  # gap 5
    moved[2, 2, 1] = -0.004  # gap 0
    assert separation.lips_parted(moved, template, pairs) == pytest.approx((0 + 3 + 2) / 3, abs=1e-5)
    assert separation.lips_parted(moved + np.float32(0.01), template, pairs) == pytest.approx(5 / 3, abs=1e-5)


def test_linearity_finds_the_planted_deviation():
    take = np.random.default_rng(1).normal(size=(6, 4))
    factors = np.array([0.5, 1, 2])
    in_proportion = factors[:, None, None] * take
    assert separation.linearity(in_proportion, factors) == pytest.approx(0, abs=1e-15)
    in_proportion[2] *= 0.9
    in_proportion[0] *= 1.02
    assert separation.linearity(in_proportion, factors) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("weights", "factors", "complaint"),
    [
        (np.ones((2, 3, 4)), [1, 2, 3], "expected .n, T, K."),
        (np.ones((2, 3)), [1, 2], "expected .n, T, K."),
        (np.ones((2, 3, 4)), [0.5, 2], "one of them 1"),
        (np.ones((2, 3, 4)), [1, 0], "other than 0"),
        (np.zeros((2, 3, 4)), [1, 2], "linearity: got no weights for the take itself"),
    ],
)
def test_what_says_nothing_of_linearity_is_refused(weights, factors, complaint):
    with pytest.raises(VisemoError, match=complaint):
        separation.linearity(weights, np.array(factors))
