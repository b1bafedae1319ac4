"""Rotations: every form turns points alike, also next to no turn and half a turn."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from visemo.geometry.rotation import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    quaternion_to_matrix,
)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**31), angle=st.sampled_from([0.0, 1e-12, 1e-7, 1e-3, 1.0, 3.0, np.pi - 1e-7, np.pi]))
def test_all_forms_agree(seed, angle):
    axis = np.random.default_rng(seed).normal(size=3)
    vector = angle * axis / np.linalg.norm(axis)
    matrix = axis_angle_to_matrix(vector)
    assert np.allclose(matrix, Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)
    quaternion = matrix_to_quaternion(matrix)
    assert quaternion[0] >= 0 and np.isclose(np.linalg.norm(quaternion), 1)
    assert np.allclose(quaternion_to_matrix(3 * quaternion), matrix, atol=1e-9), "any length"
    back = matrix_to_axis_angle(matrix)
    assert np.linalg.norm(back) <= np.pi + 1e-9
    assert np.allclose(axis_angle_to_matrix(back), matrix, atol=1e-9)
    if angle < 3.1:
        assert np.allclose(back, vector, atol=1e-9)


def test_batches_of_any_shape():
    vectors = np.random.default_rng(0).normal(size=(2, 5, 3))
    matrices = axis_angle_to_matrix(vectors)
    assert matrices.shape == (2, 5, 3, 3)
    assert np.allclose(matrices[1, 3], axis_angle_to_matrix(vectors[1, 3]))
    assert matrix_to_quaternion(matrices).shape == (2, 5, 4)
    assert np.allclose(matrix_to_axis_angle(matrices), vectors, atol=1e-9)


def test_right_handed_about_z():
    turned = axis_angle_to_matrix(np.array([0, 0, np.pi / 2])) @ [1, 0, 0]
    assert np.allclose(turned, [0, 1, 0])
    assert np.allclose(matrix_to_quaternion(np.eye(3)), [1, 0, 0, 0])
