"""Rigid alignment: a planted motion comes back, whatever the points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visemo.geometry.align import rigid_align, similarity_align
from visemo.geometry.rotation import axis_angle_to_matrix
from visemo.types import VisemoError


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(4, 40), flat=st.booleans())
def test_a_planted_motion_is_found(seed, count, flat):
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(count, 3)) * (1, 1, 0 if flat else 1)
    rotation, shift = axis_angle_to_matrix(rng.normal(size=3)), rng.normal(size=3)
    found, t = rigid_align(source, source @ rotation.T + shift, rng.uniform(0.1, 1, count))
    assert np.allclose(found, rotation, atol=1e-6)
    assert np.allclose(t, shift, atol=1e-6)


def test_a_mirror_image_gives_a_rotation_all_the_same():
    source = np.random.default_rng(1).normal(size=(20, 3))
    rotation, _ = rigid_align(source, source * (-1, 1, 1))
    assert np.isclose(np.linalg.det(rotation), 1)
    assert np.allclose(rotation @ rotation.T, np.eye(3))


def test_weights_choose_which_points_are_met():
    rng = np.random.default_rng(2)
    source = rng.normal(size=(10, 3))
    target = source.copy()
    target[5:] += rng.normal(size=(5, 3))
    rotation, t = rigid_align(source, target, np.repeat([1.0, 0.0], 5))
    assert np.allclose(rotation, np.eye(3), atol=1e-9) and np.allclose(t, 0, atol=1e-9)


def test_what_does_not_correspond_is_refused():
    with pytest.raises(VisemoError, match=r"got shapes \(4, 3\) and \(5, 3\)"):
        rigid_align(np.zeros((4, 3)), np.zeros((5, 3)))
    for weights in (np.zeros(4), -np.ones(4), np.ones(3)):
        with pytest.raises(VisemoError, match="expected 4 non-negative ones"):
            rigid_align(np.zeros((4, 3)), np.zeros((4, 3)), weights)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.floats(0.001, 1000))
def test_a_planted_change_of_size_is_found(seed, size):
    rng = np.random.default_rng(seed)
    source, weights = rng.normal(size=(12, 3)), rng.uniform(0.1, 1, 12)
    rotation, shift = axis_angle_to_matrix(rng.normal(size=3)), rng.normal(size=3)
    target = size * source @ rotation.T + shift
    found, turned, t = similarity_align(source, target, weights)
    assert found == pytest.approx(size, rel=1e-6)
    assert np.allclose(turned, rotation, atol=1e-6)
    assert np.allclose(found * source @ turned.T + t, target, atol=1e-6 * max(size, 1))


def test_points_without_a_size_are_refused():
    with pytest.raises(VisemoError, match="alignment: got points in one place"):
        similarity_align(np.ones((4, 3)), np.random.default_rng(3).normal(size=(4, 3)))
