"""How a picture of splats changes with their places and sizes: the derivative of `splat.draw_splats`, on the CPU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from visemo.avatar.rig import Splats
from visemo.compiled import compiled
from visemo.geometry.rotation import quaternion_to_matrix
from visemo.render.camera import Camera
from visemo.render.splat import NEAR, OPAQUE, SOLID, TILE, WIDEST, backdrop, listed

_X, _Y, _XX, _XY, _YY = range(5)  # columns of what `_slopes` gives


class Slopes(NamedTuple):
    """Derivatives of a loss by what splats are, in the world."""

    centres: NDArray[np.float64]  # (N, 3) per m
    log_scales: NDArray[np.float64]  # (N, 3) along their own axes


def slopes(splats: Splats, camera: Camera, wanted: NDArray, background: NDArray | None = None) -> Slopes:
    """Derivatives of the sum over a picture's light (H, W, 3) times `wanted` (H, W, 3); with wanted = 2 (picture -
    target) they are those of the squared error.

    Where a Gaussian ends, how its projection is straightened and which side of it is seen count as fixed; for those as
    small as triangles that is next to nothing.
    """
    height, width = wanted.shape[:2]
    ellipses, starts, members = listed(splats, camera, (width, height))
    behind = backdrop((width, height), background)
    entries = _slopes(ellipses, starts, members, np.ascontiguousarray(wanted, np.float64), behind)
    totals = [np.bincount(members, column, len(ellipses)).astype(np.float64) for column in entries.T]
    by = np.stack(totals, axis=1)
    return _of_splats(splats, camera, (width, height), ellipses, by)


def _of_splats(
    splats: Splats, camera: Camera, size: tuple[int, int], ellipses: NDArray, by: NDArray[np.float64]
) -> Slopes:
    """From the ellipses on the picture to the Gaussians in the world."""
    width, height = size
    focal = 0.5 * height / np.tan(np.radians(camera.field_of_view) / 2)
    axes = np.asarray(camera.rotation, np.float64)
    seen = (splats.centres.astype(np.float64) - camera.position) @ axes.T
    far = np.maximum(-seen[:, 2], NEAR)
    slope = seen[:, :2] / far[:, None]
    to_column = (focal / far)[:, None] * (axes[0] + slope[:, :1] * axes[2])
    to_row = -(focal / far)[:, None] * (axes[1] + slope[:, 1:] * axes[2])
    centres = by[:, _X, None] * to_column + by[:, _Y, None] * to_row
    # covariance = low pass + sum of v v^T over the own axes; its inverse Q is what the ellipse has: dC = -Q dQ Q
    wide, high = WIDEST * 0.5 * width / focal, WIDEST * 0.5 * height / focal
    held = np.clip(slope, [-wide, -high], [wide, high])
    own = quaternion_to_matrix(splats.rotations.astype(np.float64)) * splats.scales[:, None, :]  # columns
    turned = np.einsum("ij,njk->nik", axes, own)
    across = (focal / far)[:, None] * (turned[:, 0] + held[:, :1] * turned[:, 2])
    down = -(focal / far)[:, None] * (turned[:, 1] + held[:, 1:] * turned[:, 2])
    inverse = np.stack([ellipses[:, [2, 3]], ellipses[:, [3, 4]]], axis=1).astype(np.float64)
    growth = np.stack([by[:, [_XX, _XY]], by[:, [_XY, _YY]]], axis=1)
    by_covariance = -inverse @ growth @ inverse
    spread = np.stack([across, down], axis=1)  # (N, 2, 3)
    log_scales = 2 * np.einsum("nik,nij,njk->nk", spread, by_covariance, spread)
    return Slopes(centres, log_scales)


@compiled(parallel=True)
def _slopes(ellipses, starts, members, wanted, background):
    """For every entry of the lists (M, 5): derivatives by x, y, and by the ellipse's xx, xy (half), yy."""
    height, width = background.shape[:2]
    columns = -(-width // TILE)
    sums = np.zeros((len(members), 5))
    for tile in prange(len(starts) - 1):
        top, left = tile // columns * TILE, tile % columns * TILE
        for row in range(top, min(top + TILE, height)):
            for column in range(left, min(left + TILE, width)):
                total = np.zeros(3)
                for again in range(2):  # all the light first, then what stands behind each
                    through, shown = 1.0, np.zeros(3)
                    for m in range(starts[tile], starts[tile + 1]):
                        s = members[m]
                        dx, dy = column + 0.5 - ellipses[s, 0], row + 0.5 - ellipses[s, 1]
                        a, b, c = ellipses[s, 2], ellipses[s, 3], ellipses[s, 4]
                        power = a * dx * dx + 2 * b * dx * dy + c * dy * dy
                        if power >= ellipses[s, 5]:
                            continue
                        hidden = ellipses[s, 6] * np.exp(-0.5 * power)
                        solid = hidden >= SOLID
                        hidden = min(hidden, SOLID)
                        for k in range(3):
                            shown[k] += through * hidden * ellipses[s, 7 + k]
                        if again and not solid:
                            change = 0.0  # of the loss with what it hides
                            for k in range(3):
                                behind = (total[k] - shown[k]) / (1 - hidden)
                                change += wanted[row, column, k] * (through * ellipses[s, 7 + k] - behind)
                            change *= -0.5 * hidden  # with the power
                            sums[m, 0] -= change * 2 * (a * dx + b * dy)
                            sums[m, 1] -= change * 2 * (b * dx + c * dy)
                            sums[m, 2] += change * dx * dx
                            sums[m, 3] += change * dx * dy
                            sums[m, 4] += change * dy * dy
                        through -= through * hidden
                        if through < OPAQUE:
                            break
                    if not again:
                        for k in range(3):
                            total[k] = shown[k] + through * background[row, column, k]
    return sums
