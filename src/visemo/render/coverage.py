"""Which triangle is nearest where: the z-buffer, compiled, with a slow readable twin.

Triangles are sorted into bands of rows and each band is covered by one thread, so that the answer is the same for
any number of threads.
"""

# ruff: noqa: PLR0917  (compiled kernels take plain arrays, one by one)

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from visemo.compiled import compiled
from visemo.types import IntArray

BAND = 16  # rows of samples that one thread works on at a time


def cover(
    points: NDArray[np.float64], triangles: IntArray, width: int, height: int
) -> tuple[IntArray, NDArray[np.float32]]:
    """Which triangle is nearest at every sample.

    Parameters
    ----------
    points : (V, 3) x, y in samples from the upper left corner, and 1 / depth; depth <= 0 is behind the camera.
    triangles : (F, 3) int32, either orientation.

    Returns
    -------
    winners (height, width) int32, -1 where nothing is; inverse depth (height, width) float32, 0 there.
    A sample at (column + 1/2, row + 1/2) belongs to a triangle when it lies inside or on its edge; of
    equally near triangles the first wins.
    """
    starts, order = _sort_into_bands(points, triangles, width, height)
    return _cover_bands(points, triangles, starts, order, width, height)


def cover_slowly(
    points: NDArray[np.float64], triangles: IntArray, width: int, height: int
) -> tuple[IntArray, NDArray[np.float32]]:
    """`cover`, triangle by triangle over the whole picture: same arguments, same result, for reading and tests."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    winners = np.full((height, width), -1, np.int32)
    nearest = np.zeros((height, width), np.float32)
    for index, corners in enumerate(points[triangles]):
        a, b, c = corners
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0 or min(a[2], b[2], c[2]) <= 0:
            continue
        if area < 0:
            b, c, area = c, b, -area
        edges = ((b, c), (c, a), (a, b))
        u, v, w = ((e[0] - s[0]) * (y - s[1]) - (e[1] - s[1]) * (x - s[0]) for s, e in edges)
        inverse = ((u * a[2] + v * b[2] + w * c[2]) / area).astype(np.float32)
        inside = (u >= 0) & (v >= 0) & (w >= 0) & (inverse > nearest)
        winners[inside], nearest[inside] = index, inverse[inside]
    return winners, nearest


@njit
def _rows_of(points, triangles, t, height):
    """First and last row of samples that triangle `t` can reach; an empty range when it is not drawn."""
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    if not (points[a, 2] > 0 and points[b, 2] > 0 and points[c, 2] > 0):
        return 0, -1
    low = min(points[a, 1], points[b, 1], points[c, 1])
    high = max(points[a, 1], points[b, 1], points[c, 1])
    if not (high >= 0.0 and low <= height):
        return 0, -1
    return max(0, int(np.ceil(low - 0.5))), min(height - 1, int(np.floor(high - 0.5)))


@compiled(parallel=False)
def _sort_into_bands(points, triangles, width, height):
    """Triangles of every band of rows, in their order: (start of each band's run, runs of triangles)."""
    bands = (height + BAND - 1) // BAND
    start = np.zeros(bands + 1, np.int64)
    for t in range(len(triangles)):
        first, last = _rows_of(points, triangles, t, height)
        if first <= last:
            for band in range(first // BAND, last // BAND + 1):
                start[band + 1] += 1
    start = np.cumsum(start)
    order = np.empty(start[-1], np.int32)
    filled = start[:-1].copy()
    for t in range(len(triangles)):
        first, last = _rows_of(points, triangles, t, height)
        if first <= last:
            for band in range(first // BAND, last // BAND + 1):
                order[filled[band]] = t
                filled[band] += 1
    return start, order


@compiled(parallel=True)
def _cover_bands(points, triangles, starts, order, width, height):
    winners = np.full((height, width), -1, np.int32)
    nearest = np.zeros((height, width), np.float32)
    for band in prange(len(starts) - 1):
        for m in range(starts[band], starts[band + 1]):
            t = order[m]
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
            bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
            cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            if area == 0:
                continue
            if area < 0:  # orient it, so that inside means three positive weights
                bx, by, bz, cx, cy, cz, area = cx, cy, cz, bx, by, bz, -area
            first, last = _rows_of(points, triangles, t, height)
            left = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
            right = min(width - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
            for row in range(max(first, band * BAND), min(last, band * BAND + BAND - 1) + 1):
                y = row + 0.5
                u_row, v_row, w_row = (cx - bx) * (y - by), (ax - cx) * (y - cy), (bx - ax) * (y - ay)
                entered = False
                for column in range(left, right + 1):
                    x = column + 0.5
                    u = u_row - (cy - by) * (x - bx)
                    v = v_row - (ay - cy) * (x - cx)
                    w = w_row - (by - ay) * (x - ax)
                    if u >= 0 and v >= 0 and w >= 0:
                        entered = True
                        inverse = np.float32((u * az + v * bz + w * cz) / area)
                        if inverse > nearest[row, column]:
                            nearest[row, column] = inverse
                            winners[row, column] = t
                    elif entered:
                        break  # a triangle meets a row in one run
    return winners, nearest
