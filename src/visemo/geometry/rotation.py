"""Rotations as axis-angle vectors (rad), 3x3 matrices and unit quaternions (wxyz); all batched over leading axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def axis_angle_to_matrix(axis_angle: NDArray) -> Float64:
    """(..., 3) rad -> (..., 3, 3) float64: right-handed rotation about the vector by its length."""
    return quaternion_to_matrix(_axis_angle_to_quaternion(axis_angle))


def matrix_to_axis_angle(matrix: NDArray) -> Float64:
    """(..., 3, 3) -> (..., 3) rad, of length 0 to pi."""
    quaternion = matrix_to_quaternion(matrix)
    sine = np.linalg.norm(quaternion[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternion[..., :1])
    per_sine = np.divide(angle, sine, out=np.full_like(sine, 2.0), where=sine > 1e-12)  # angle / sin(angle / 2) -> 2
    return quaternion[..., 1:] * per_sine


def _axis_angle_to_quaternion(axis_angle: NDArray) -> Float64:
    vector = np.asarray(axis_angle, np.float64)
    half = 0.5 * np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.concatenate([np.cos(half), 0.5 * np.sinc(half / np.pi) * vector], axis=-1)


def quaternion_to_matrix(quaternion: NDArray) -> Float64:
    """(..., 4) wxyz of any length but zero -> (..., 3, 3) float64."""
    q = np.asarray(quaternion, np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]]  # fmt: skip
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_quaternion(matrix: NDArray) -> Float64:
    """(..., 3, 3) rotations -> (..., 4) unit quaternions wxyz with w >= 0.

    The quaternion times itself, q q^T, is linear in the matrix; its longest row never divides by little.
    """
    m = np.asarray(matrix, np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    rows = [[1 + xx + yy + zz, wx, wy, wz],
            [wx, 1 + xx - yy - zz, xy, xz],
            [wy, xy, 1 - xx + yy - zz, yz],
            [wz, xz, yz, 1 - xx - yy + zz]]  # fmt: skip
    outer = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    longest = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)[..., None, None]
    q = np.take_along_axis(outer, longest, axis=-2)[..., 0, :]
    return q / np.linalg.norm(q, axis=-1, keepdims=True) * np.where(q[..., :1] < 0, -1.0, 1.0)
