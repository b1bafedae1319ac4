"""Gaussians carried by a mesh: from the frames of its triangles to the world.

Source: Qian et al., "GaussianAvatars", CVPR 2024, section 3.2. A triangle's frame has its origin at the mean of the
corners, its axes along the first side, the normal, and across the side in the plane; its size is the mean of that side
and the height on it. Spherical harmonics stay in the world's axes, as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visemo.avatar.gaussians import Gaussians
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
    used, parent = np.unique(gaussians.binding, return_inverse=True)
    origins, axes, sizes = triangle_frames(vertices, triangles[used])
    turn = matrix_to_quaternion(axes)[parent]
    local = np.einsum("nij,nj->ni", axes[parent], gaussians.centres.astype(np.float64))
    centres = sizes[parent, None] * local + origins[parent]
    rotations = _product(turn, gaussians.rotations.astype(np.float64))
    rotations /= np.linalg.norm(rotations, axis=1, keepdims=True)
    return Splats(
        centres.astype(np.float32),
        (np.exp(gaussians.scales) * sizes[parent, None]).astype(np.float32),
        rotations.astype(np.float32),
        (1 / (1 + np.exp(-gaussians.opacity.astype(np.float64)))).astype(np.float32),
        gaussians.sh,
    )


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
