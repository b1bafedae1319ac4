"""Gaussians carried by a mesh: from the frames of its triangles to the world.

Source: Qian et al., "GaussianAvatars", CVPR 2024, section 3.2. A triangle's frame has its origin at the mean of the
corners, its axes along the first side, the normal, and across the side in the plane; its size is the mean of that side
and the height on it. Spherical harmonics stay in the world's axes, as there.
"""

# ruff: noqa: PLR0917  (compiled kernels take plain arrays, one by one)

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from visemo.avatar.gaussians import Gaussians
from visemo.compiled import compiled
from visemo.geometry.rotation import matrix_to_quaternion
from visemo.types import FloatArray, IntArray, VisemoError, check_array

_FLAT = 1e-12  # m^2, of twice a triangle's area: below this it has no normal


class TriangleFrames(NamedTuple):
    """What `triangle_frames` returns."""

    origins: NDArray[np.float64]  # (..., F, 3) m
    rotations: NDArray[np.float64]  # (..., F, 3, 3), columns are the axes in the world
    sizes: NDArray[np.float64]  # (..., F) m


@dataclass(frozen=True, eq=False)
class Splats:
    """Gaussians in the world, ready to be drawn."""

    centres: FloatArray  # (N, 3) m
    scales: FloatArray  # (N, 3) standard deviations along their own axes, m
    rotations: FloatArray  # (N, 4) unit quaternions wxyz
    opacity: FloatArray  # (N,) 0..1
    sh: FloatArray  # (N, 16, 3) as in Gaussians


def triangle_frames(vertices: NDArray, triangles: IntArray) -> TriangleFrames:
    """The frame of every triangle (F, 3) on vertices (..., V, 3) m; those without area get the world's axes."""
    corners = np.asarray(vertices, np.float64)[..., triangles, :]
    first, second, third = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    side, other = second - first, third - first
    normal = np.cross(side, other)
    area, length = np.linalg.norm(normal, axis=-1, keepdims=True), np.linalg.norm(side, axis=-1, keepdims=True)
    sound = (area > _FLAT)[..., None]
    along = side / np.where(sound[..., 0], length, 1.0)
    upward = normal / np.where(sound[..., 0], area, 1.0)
    across = -np.cross(upward, along)
    axes = np.where(sound, np.stack([along, upward, across], axis=-1), np.eye(3))
    height = np.abs((across * other).sum(axis=-1))
    return TriangleFrames((first + second + third) / 3, axes, 0.5 * (length[..., 0] + height))


def pose(gaussians: Gaussians, vertices: NDArray, triangles: IntArray) -> Splats:
    """Gaussians in the world, on one frame's vertices (V, 3) m of the mesh they are bound to, triangles (F, 3).

    Raises VisemoError for vertices of another shape, and bindings beyond the triangles.
    """
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise VisemoError(f"vertices: got shape {vertices.shape}, expected (any, 3)")
    gaussians.check_triangles(len(triangles), f"a mesh of {len(triangles)}")
    centres, scales, rotations, opacity = _pose(
        gaussians.centres, gaussians.scales, gaussians.rotations, gaussians.opacity, gaussians.binding,
        np.ascontiguousarray(vertices), np.ascontiguousarray(triangles),
    )  # fmt: skip
    return Splats(centres, scales, rotations, opacity, gaussians.sh)


def bind(splats: Splats, binding: IntArray, vertices: NDArray, triangles: IntArray) -> Gaussians:
    """The inverse of `pose`: Gaussians that lie where `splats` do when the mesh is posed as `vertices` (V, 3) m.

    Raises VisemoError for a binding (N,) that does not fit the splats, and what `Gaussians` refuses.
    """
    check_array("binding", binding, (len(splats.centres),), np.int32)
    origins, axes, sizes = (part[binding] for part in triangle_frames(vertices, triangles))
    back = matrix_to_quaternion(axes) * [1, -1, -1, -1]
    local = np.einsum("nji,nj->ni", axes, splats.centres - origins) / sizes[:, None]
    opacity = np.clip(splats.opacity.astype(np.float64), 1e-6, 1 - 1e-6)
    return Gaussians(
        local.astype(np.float32),
        splats.sh,
        np.log(opacity / (1 - opacity)).astype(np.float32),
        np.log(splats.scales / sizes[:, None]).astype(np.float32),
        _product(back, splats.rotations.astype(np.float64)).astype(np.float32),
        binding,
    )


def _product(first: NDArray, second: NDArray) -> NDArray:
    """Quaternions (N, 4) wxyz: rotate by `second`, then by `first`."""
    a, b, c, d = first.T
    w, x, y, z = second.T
    return np.stack(
        [a * w - b * x - c * y - d * z, a * x + b * w + c * z - d * y,
         a * y - b * z + c * w + d * x, a * z + b * y - c * x + d * w], axis=1,
    )  # fmt: skip


@njit
def _minus(p, q):
    return p[0] - q[0], p[1] - q[1], p[2] - q[2]


@njit
def _cross(p, q):
    return p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]


@njit
def _dot(p, q):
    return p[0] * q[0] + p[1] * q[1] + p[2] * q[2]


@njit
def _over(p, length):
    return p[0] / length, p[1] / length, p[2] / length


@njit
def _frame(first, second, third):
    """One triangle's axes and size, as `triangle_frames` has them."""
    side, other = _minus(second, first), _minus(third, first)
    normal = _cross(side, other)
    length, area = np.sqrt(_dot(side, side)), np.sqrt(_dot(normal, normal))
    if area <= _FLAT:
        return (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), 0.5 * length
    along, upward = _over(side, length), _over(normal, area)
    across = _cross(along, upward)
    return along, upward, across, 0.5 * (length + abs(_dot(across, other)))


@njit
def _turn(x, y, z):
    """A quaternion of some length for the rotation whose columns are x, y, z: the longest row of q q^T."""
    trace = x[0] + y[1] + z[2]
    if trace > 0:
        return 1 + trace, y[2] - z[1], z[0] - x[2], x[1] - y[0]
    if x[0] >= y[1] and x[0] >= z[2]:
        return y[2] - z[1], 1 + x[0] - y[1] - z[2], y[0] + x[1], z[0] + x[2]
    if y[1] >= z[2]:
        return z[0] - x[2], y[0] + x[1], 1 - x[0] + y[1] - z[2], z[1] + y[2]
    return x[1] - y[0], z[0] + x[2], z[1] + y[2], 1 - x[0] - y[1] + z[2]


@compiled(parallel=False)  # takes as long as calling other threads does where something else is running
def _pose(centres, scales, rotations, opacity, binding, vertices, triangles):
    """Centres, scales, rotations and opacity in the world, one Gaussian after the other."""
    count = len(centres)
    places, widths = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    turns, shares = np.empty((count, 4), np.float32), np.empty(count, np.float32)
    for i in range(count):
        corners = triangles[binding[i]]
        first, second = _point(vertices, corners[0]), _point(vertices, corners[1])
        third = _point(vertices, corners[2])
        along, upward, across, size = _frame(first, second, third)
        for k in range(3):
            local = along[k] * centres[i, 0] + upward[k] * centres[i, 1] + across[k] * centres[i, 2]
            places[i, k] = size * local + (first[k] + second[k] + third[k]) / 3
            widths[i, k] = size * np.exp(scales[i, k])
        p, q, r, s = _turn(along, upward, across)
        w, x, y, z = rotations[i, 0], rotations[i, 1], rotations[i, 2], rotations[i, 3]
        turned = (
            p * w - q * x - r * y - s * z, p * x + q * w + r * z - s * y,
            p * y - q * z + r * w + s * x, p * z + q * y - r * x + s * w,
        )  # fmt: skip
        length = np.sqrt(turned[0] ** 2 + turned[1] ** 2 + turned[2] ** 2 + turned[3] ** 2)
        for k in range(4):
            turns[i, k] = turned[k] / length
        shares[i] = 1 / (1 + np.exp(-np.float64(opacity[i])))
    return places, widths, turns, shares


@njit
def _point(vertices, v):
    return np.float64(vertices[v, 0]), np.float64(vertices[v, 1]), np.float64(vertices[v, 2])
