"""The global search for a face on a scan: its relief, looked for at every place, at several sizes, from 27 directions.

No start has to be guessed, so none can mislead; what is found is a few places, to be refined and judged by others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.signal import fftconvolve
from scipy.spatial import KDTree

from visemo.geometry.rotation import axis_angle_to_matrix

Float64 = NDArray[np.float64]

Tilt = tuple[float, float, float]
# degrees that the scan is turned by about each axis in the search
STRAIGHT: tuple[Tilt, ...] = ((0.0, 0.0, 0.0),)
_TURNS = (-25.0, 0.0, 25.0)
ALL_TILTS: tuple[Tilt, ...] = tuple((x, y, z) for x, y, z in product(_TURNS, _TURNS, _TURNS))
SIZES = tuple(0.95 * 0.8**k for k in range(9))  # of the face's patch, by the larger extent of the scan
PIXELS = 96  # of the relief, over that extent
STARTS = 3  # places of every size that are tried: a small patch finds something like it on any surface


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points with unit normals."""

    points: Float64  # (N, 3)
    normals: Float64  # (N, 3)

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, eq=False)
class Pose:
    """Similarity: known face -> scan, x -> size * rotation @ x + shift."""

    size: float
    rotation: Float64
    shift: Float64

    def __call__(self, points: Float64) -> Float64:
        return self.size * points @ self.rotation.T + self.shift

    def back(self, points: Float64) -> Float64:
        return (points - self.shift) @ self.rotation / self.size

    def then(self, twist: Float64) -> Pose:
        """After a small change in the known face's frame: rotation vector, shift, logarithm of the size."""
        turn, size = axis_angle_to_matrix(twist[:3]), float(np.exp(np.clip(twist[6], -0.2, 0.2)))
        return Pose(self.size * size, self.rotation @ turn, self.shift + self.size * (self.rotation @ twist[3:6]))


def search(patch: Cloud, scan: Cloud, tilts: Sequence[Tilt] = ALL_TILTS) -> list[Pose]:
    """The most promising places of the known face: STARTS of every size."""
    stamps = [_stamp(patch.points * _scale(patch, size)) for size in SIZES]
    found: list[list[tuple[float, Pose]]] = [[] for _ in SIZES]
    for tilt in tilts:
        rotation = axis_angle_to_matrix(np.radians(tilt))
        seen = Cloud(scan.points @ rotation, scan.normals @ rotation)  # as it is seen by a face turned by `tilt`
        low, high = seen.points.min(axis=0), seen.points.max(axis=0)
        pixel = float(max(high[0] - low[0], high[1] - low[1])) / PIXELS
        relief, hidden = _relief(seen, low, pixel)
        for size, stamp, places in zip(SIZES, stamps, found):
            scale = _scale(patch, size)
            for cost, *place in _places(stamp, scale, relief, hidden):
                shift = rotation @ (np.array(place) * pixel + low)
                places.append((cost, Pose(scale * pixel, rotation, shift)))
    return [pose for places in found for pose in _apart(sorted(places, key=lambda each: each[0]))]


def _scale(patch: Cloud, size: float) -> float:
    """Pixels per span at one of the SIZES."""
    return size * PIXELS / np.ptp(patch.points[:, :2], axis=0).max()


def _apart(places: list[tuple[float, Pose]]) -> list[Pose]:
    """The first STARTS places, each at most twice: two directions of one place may lead to different ends."""
    kept: list[Pose] = []
    for _, pose in places:
        if sum(np.linalg.norm(other.shift - pose.shift) < 0.25 * pose.size for other in kept) < 2:
            kept.append(pose)
        if len(kept) == STARTS:
            break
    return kept


def _relief(seen: Cloud, low: Float64, pixel: float) -> tuple[Float64, NDArray[np.bool_]]:
    """Height of the frontmost point in every pixel over the rearmost of all, in pixels; and where there is none."""
    front = seen.normals[:, 2] > 0
    cells = np.floor((seen.points[front] - low) / pixel)
    column, row = cells[:, 0].astype(int), cells[:, 1].astype(int)
    relief = np.full((row.max(initial=0) + 1, column.max(initial=0) + 1), -np.inf)
    np.maximum.at(relief, (row, column), (seen.points[front, 2] - low[2]) / pixel)
    grown = maximum_filter(relief, 3, mode="constant", cval=-np.inf)
    relief = np.where(np.isfinite(relief), relief, grown)
    return relief, ~np.isfinite(relief)


def _places(
    stamp: tuple[Float64, Float64, NDArray], scale: float, relief: Float64, hidden: NDArray[np.bool_]
) -> Iterator[tuple[float, float, float, float]]:
    """Where the known face's relief fits best: cost in spans, and x, y, z in pixels of its origin.

    The cost is the root mean square difference of the two reliefs once their mean heights are the same.
    """
    mask, shape, corner = stamp
    floor = relief[~hidden].max(initial=0.0) - 1.2 * scale
    pad = max(mask.shape) // 3
    ground = np.pad(np.where(hidden, floor, np.maximum(relief, floor)), pad, constant_values=floor)
    if ground.shape[0] < mask.shape[0] or ground.shape[1] < mask.shape[1]:
        return
    count, turned = mask.sum(), (slice(None, None, -1),) * 2
    total = fftconvolve(ground, mask[turned], "valid")
    square = fftconvolve(ground**2, mask[turned], "valid")
    cross = fftconvolve(ground, shape[turned], "valid")
    lift = (total - shape.sum()) / count
    cost = (square - 2 * cross + (shape**2).sum()) / count - lift**2
    for _ in range(2):
        row, column = np.unravel_index(cost.argmin(), cost.shape)
        least = float(np.sqrt(max(cost[row, column], 0.0)) / scale)
        if not np.isfinite(least):
            return
        yield least, column - pad - corner[0], row - pad - corner[1], float(lift[row, column])
        reach = max(2, round(0.3 * scale))
        cost[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = np.inf


def _stamp(points: Float64) -> tuple[Float64, Float64, NDArray]:
    """The known face as a picture: where it is (1 or 0), its height there (else 0), and its first pixel's place."""
    corner = np.floor(points[:, :2].min(axis=0)).astype(int)
    wide, high = (np.ceil(points[:, :2].max(axis=0)).astype(int) - corner) + 1
    x, y = np.meshgrid(np.arange(wide) + 0.5, np.arange(high) + 0.5)
    grid = np.stack([x.ravel(), y.ravel()], axis=1) + corner
    distance, near = KDTree(points[:, :2]).query(grid, k=4)
    distance, near = np.asarray(distance), np.asarray(near)
    inside = distance[:, 0] < 0.09 * max(wide, high)
    weight = 1 / (distance + 0.3)
    height = (points[near, 2] * weight).sum(axis=1) / weight.sum(axis=1)
    mask = inside.astype(np.float64).reshape(high, wide)
    return mask, mask * height.reshape(high, wide), corner
