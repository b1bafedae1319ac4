"""Gaussian splats drawn on the CPU: 3D Gaussian splatting (Kerbl et al., SIGGRAPH 2023) in three compiled steps.

1. Every Gaussian becomes an ellipse on the picture (EWA splatting: its covariance through the projection's derivative,
   widened by 0.3 pixels^2) with the colour that its spherical harmonics have towards the camera.
2. From near to far, each is entered in the list of every tile that its ellipse touches.
3. Tile by tile, each in one thread, colours are laid over each other from front to back until nothing shines through.

Where a Gaussian covers less than 1/255 of a pixel it is left out, as in the reference, so the ellipse that ends there
is all of it and the picture is that of a walk through all pixels and all Gaussians, for any number of threads.
"""

# ruff: noqa: PLR0917  (compiled kernels take plain arrays, one by one)

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from visemo.avatar.rig import Splats
from visemo.compiled import RELAXED, compiled
from visemo.render.camera import Camera
from visemo.types import VisemoError

TILE = 16  # pixels; a tile is one thread's work
HALF = TILE // 2  # pixels of a row that are laid at a time
LOW_PASS = 0.3  # pixels^2 added to every variance: no Gaussian falls between the pixels
FAINT = 1 / 255  # of a pixel's light: less is left out
SOLID = 0.99  # the most that one Gaussian hides
OPAQUE = 1e-4  # of the light behind: less is not worth going on for
NEAR = 0.01  # m before the camera
WIDEST = 1.3  # the projection is straightened no further out than this many half pictures

# spherical harmonics, real, in the order and with the signs of 3D Gaussian splatting
_SH1 = 0.4886025119029199
_SH2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
_SH3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)
_SH0 = 0.28209479177387814


def draw_splats(
    splats: Splats, camera: Camera, size: tuple[int, int] = (512, 512), background: NDArray | None = None
) -> NDArray[np.uint8]:
    """Picture (H, W, 3) uint8 sRGB of Gaussians over a background.

    Parameters
    ----------
    splats : in the camera's world, m.
    size : pixels, width and height.
    background : (H, W, 3) or (3,) sRGB 0..1; default white.

    Raises VisemoError for a picture below 8 x 8 pixels or another shape of background.
    """
    behind = backdrop(size, background)
    return _lay(*listed(splats, camera, size), behind)


def backdrop(size: tuple[int, int], background: NDArray | None) -> NDArray[np.float32]:
    """What lies behind all splats, (H, W, 3); arguments and refusals as for `draw_splats`."""
    width, height = size
    if min(size) < 8:
        raise VisemoError(f"picture size: got {width} x {height}, expected at least 8 x 8 pixels")
    behind = np.ones(3, np.float32) if background is None else np.asarray(background, np.float32)
    if behind.shape not in ((3,), (height, width, 3)):
        raise VisemoError(f"background: got shape {behind.shape}, expected (3,) or ({height}, {width}, 3)")
    return np.ascontiguousarray(np.broadcast_to(behind, (height, width, 3)))


def shares(splats: Splats, camera: Camera, picture: NDArray) -> NDArray[np.float64]:
    """What each Gaussian's colour has to do with a picture (H, W, 3): (N, 4), the sums over all pixels of the share
    that it has in the pixel, times the picture, and alone. It is the transpose of drawing, which is linear in colours.
    """
    height, width = picture.shape[:2]
    ellipses, starts, members = listed(splats, camera, (width, height))
    sums = _gather(ellipses, starts, members, np.ascontiguousarray(picture, np.float32))
    totals = [np.bincount(members, column, len(ellipses)).astype(np.float64) for column in sums.T]
    return np.stack(totals, axis=1)


def listed(splats: Splats, camera: Camera, size: tuple[int, int]) -> tuple[NDArray, NDArray, NDArray]:
    """The ellipses of `_project`, and the lists of `_sort_into_tiles`."""
    width, height = size
    ellipses, boxes, depth = _project(
        splats.centres, splats.scales, splats.rotations, splats.opacity, splats.sh,
        camera.rotation, np.asarray(camera.position, np.float64),
        0.5 * height / np.tan(np.radians(camera.field_of_view) / 2), width, height,
    )  # fmt: skip
    order = np.argsort(depth, kind="stable").astype(np.int32)
    return ellipses, *_sort_into_tiles(boxes, order, -(-width // TILE), -(-height // TILE))


def harmonics(directions: NDArray) -> NDArray[np.float64]:
    """Real spherical harmonics (..., 16) to degree 3 of unit directions (..., 3), as splats use them."""
    flat = np.ascontiguousarray(directions, np.float64).reshape(-1, 3)
    values = np.empty((len(flat), 16))
    _harmonics_of(flat, values)
    return values.reshape(*np.shape(directions)[:-1], 16)


@njit
def _harmonics(x, y, z):
    """The sixteen values in one direction."""
    xx, yy, zz = x * x, y * y, z * z
    return (
        _SH0,
        -_SH1 * y, _SH1 * z, -_SH1 * x,
        _SH2[0] * x * y, -_SH2[0] * y * z, _SH2[1] * (2 * zz - xx - yy), -_SH2[0] * x * z, _SH2[2] * (xx - yy),
        -_SH3[0] * y * (3 * xx - yy), _SH3[1] * x * y * z, -_SH3[2] * y * (4 * zz - xx - yy),
        _SH3[3] * z * (2 * zz - 3 * xx - 3 * yy),
        -_SH3[2] * x * (4 * zz - xx - yy), _SH3[4] * z * (xx - yy), -_SH3[0] * x * (xx - 3 * yy),
    )  # fmt: skip


@compiled(parallel=False)
def _harmonics_of(directions, out):
    for i in range(len(directions)):
        waves = _harmonics(directions[i, 0], directions[i, 1], directions[i, 2])
        for j in range(16):
            out[i, j] = waves[j]


@njit
def _seen_axis(axes, x, y, z):
    """A direction of the world in the camera's frame."""
    return (
        axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z,
        axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z,
        axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z,
    )


@njit
def _principal_axes(rotation):
    """The three axes of a Gaussian in the world, of length 1."""
    w, x, y, z = rotation[0], rotation[1], rotation[2], rotation[3]
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    )


@compiled(parallel=False)  # takes as long as calling other threads does where something else is running
def _project(centres, scales, rotations, opacity, sh, axes, position, focal, width, height):
    """Every Gaussian on the picture.

    Returns (N, 10) float32: x, y in pixels, the inverse covariance xx, xy, yy, the squared radius at which it ends,
    opacity, red, green, blue; (N, 4) int32 pixels of its box, first row and column, last ones + 1, empty where it is
    not seen; and (N,) its distance along the camera's axis.
    """
    count = len(centres)
    ellipses = np.zeros((count, 10), np.float32)
    boxes = np.zeros((count, 4), np.int32)
    depth = np.empty(count)
    wide, high = WIDEST * 0.5 * width / focal, WIDEST * 0.5 * height / focal
    for i in range(count):
        dx, dy, dz = centres[i, 0] - position[0], centres[i, 1] - position[1], centres[i, 2] - position[2]
        x, y, toward = _seen_axis(axes, dx, dy, dz)
        far = -toward
        depth[i] = far
        if far <= NEAR or opacity[i] < FAINT:
            continue
        slope_x, slope_y = min(max(x / far, -wide), wide), min(max(y / far, -high), high)
        xx, xy, yy = LOW_PASS, 0.0, LOW_PASS
        principal = _principal_axes(rotations[i])
        for j in range(3):  # the derivative of (x, -y) focal / far; far grows against the third axis
            axis = principal[j]
            right, up, back = _seen_axis(axes, axis[0], axis[1], axis[2])
            grown = focal / far * scales[i, j]
            across, down = grown * (right + slope_x * back), -grown * (up + slope_y * back)
            xx += across * across
            xy += across * down
            yy += down * down
        area = xx * yy - xy * xy
        column, row = 0.5 * width + focal * x / far, 0.5 * height - focal * y / far
        end = 2 * np.log(opacity[i] / FAINT)
        reach_x, reach_y = np.sqrt(end * xx), np.sqrt(end * yy)
        boxes[i, 0] = min(max(np.floor(row - reach_y), 0.0), float(height))
        boxes[i, 1] = min(max(np.floor(column - reach_x), 0.0), float(width))
        boxes[i, 2] = min(max(np.ceil(row + reach_y), 0.0), float(height))
        boxes[i, 3] = min(max(np.ceil(column + reach_x), 0.0), float(width))
        ellipses[i, 0], ellipses[i, 1] = column, row
        ellipses[i, 2], ellipses[i, 3], ellipses[i, 4] = yy / area, -xy / area, xx / area
        ellipses[i, 5], ellipses[i, 6] = end, opacity[i]
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        waves = _harmonics(dx / length, dy / length, dz / length)
        for k in range(3):
            light = 0.5
            for j in range(16):
                light += waves[j] * sh[i, j, k]
            ellipses[i, 7 + k] = max(light, 0.0)
    return ellipses, boxes, depth


@compiled(parallel=False)
def _sort_into_tiles(boxes, order, columns, rows):
    """Lists of the Gaussians that touch each tile, near ones first: (tiles + 1,) where each starts, and all lists."""
    starts = np.zeros(columns * rows + 1, np.int64)
    for i in order:
        if boxes[i, 2] > boxes[i, 0] and boxes[i, 3] > boxes[i, 1]:
            for row in range(boxes[i, 0] // TILE, (boxes[i, 2] - 1) // TILE + 1):
                for column in range(boxes[i, 1] // TILE, (boxes[i, 3] - 1) // TILE + 1):
                    starts[row * columns + column + 1] += 1
    starts = np.cumsum(starts)
    members = np.empty(starts[-1], np.int32)
    filled = starts[:-1].copy()
    for i in order:
        if boxes[i, 2] > boxes[i, 0] and boxes[i, 3] > boxes[i, 1]:
            for row in range(boxes[i, 0] // TILE, (boxes[i, 2] - 1) // TILE + 1):
                for column in range(boxes[i, 1] // TILE, (boxes[i, 3] - 1) // TILE + 1):
                    tile = row * columns + column
                    members[filled[tile]] = i
                    filled[tile] += 1
    return starts, members


@njit(fastmath=set(RELAXED))
def _falloff(power):
    """exp(power) for -6 < power <= 0 within 1e-5, by squaring: unlike exp, a loop does several at a time. Next to
    nothing from there to -500; beyond, it is wrong."""
    part = power * np.float32(1 / 256)
    value = np.float32(1.0) + part * (np.float32(1.0) + np.float32(0.5) * part)
    for _ in range(8):
        value *= value
    return value


@njit(fastmath=set(RELAXED))
def _lay_half_row(light, row, first, x, square, linear, constant, opacity, r, g, b):
    """Lay one Gaussian behind what half a row of a tile already shows: all its pixels, plain enough to be done several
    at a time, which takes less than going to where the ellipse begins. No pixel is further than that half, and the
    ellipse's 2 pixels where it is thinnest, from its middle in this row: the power stays above -170."""
    solid, faint = np.float32(SOLID), np.float32(FAINT)
    for step in range(HALF):
        j = first + step
        dx = np.float32(j) - x
        hidden = opacity * _falloff(-(square * dx * dx + linear * dx + constant))
        hidden = hidden if hidden < solid else solid
        hidden = hidden if hidden >= faint else np.float32(0)
        share = hidden * light[3, row, j]
        light[0, row, j] += share * r
        light[1, row, j] += share * g
        light[2, row, j] += share * b
        light[3, row, j] -= share


@njit
def _shines_through(through, width):
    """Whether something behind is still to be seen in a row."""
    for j in range(width):
        if through[j] > OPAQUE:
            return True
    return False


@compiled(parallel=True, relaxed=True)
def _lay(ellipses, starts, members, background):
    """Picture (H, W, 3) uint8 of the lists, over the background."""
    height, width = background.shape[:2]
    columns = -(-width // TILE)
    picture = np.empty((height, width, 3), np.uint8)
    one, half = np.float32(1), np.float32(0.5)
    for tile in prange(len(starts) - 1):
        top, left = tile // columns * TILE, tile % columns * TILE
        rows, across = min(TILE, height - top), min(TILE, width - left)
        light = np.zeros((4, TILE, TILE), np.float32)  # red, green, blue, and the share of what lies behind
        light[3] = one
        alive = np.ones(TILE, np.bool_)  # rows through which something still shines
        for m in range(starts[tile], starts[tile + 1]):
            s = members[m]
            x, y = ellipses[s, 0] - np.float32(left + 0.5), ellipses[s, 1] - np.float32(top + 0.5)
            a, b, c, end, opacity = ellipses[s, 2], ellipses[s, 3], ellipses[s, 4], ellipses[s, 5], ellipses[s, 6]
            red, green, blue = ellipses[s, 7], ellipses[s, 8], ellipses[s, 9]
            spread, lean, inverse = a * c - b * b, b / a, one / a
            reach = np.sqrt(end * a / spread)
            for row in range(max(0, int(np.ceil(y - reach))), min(rows, int(np.floor(y + reach)) + 1)):
                if not alive[row]:
                    continue
                dy = np.float32(row) - y
                root = a * end - spread * dy * dy
                if root <= 0:
                    continue
                middle, root = x - lean * dy, inverse * np.sqrt(root)
                linear, constant = b * dy, half * c * dy * dy
                if -1 < middle + root and middle - root < HALF:
                    _lay_half_row(light, row, 0, x, half * a, linear, constant, opacity, red, green, blue)
                if HALF - 1 < middle + root and middle - root < TILE:
                    _lay_half_row(light, row, HALF, x, half * a, linear, constant, opacity, red, green, blue)
            if m % 8 == 0:
                living = 0
                for row in range(rows):
                    alive[row] = alive[row] and _shines_through(light[3, row], across)
                    living += alive[row]
                if living == 0:
                    break
        for row in range(rows):
            for column in range(across):
                for k in range(3):
                    value = light[k, row, column] + light[3, row, column] * background[top + row, left + column, k]
                    picture[top + row, left + column, k] = np.uint8(min(value, one) * np.float32(255) + half)
    return picture


@compiled(parallel=True)
def _gather(ellipses, starts, members, picture):
    """For every entry of the lists (M, 4): sums over its tile of its share times the picture, and of shares alone."""
    height, width = picture.shape[:2]
    columns = -(-width // TILE)
    sums = np.zeros((len(members), 4))
    for tile in prange(len(starts) - 1):
        top, left = tile // columns * TILE, tile % columns * TILE
        for row in range(top, min(top + TILE, height)):
            for column in range(left, min(left + TILE, width)):
                through = 1.0
                for m in range(starts[tile], starts[tile + 1]):
                    s = members[m]
                    dx, dy = column + 0.5 - ellipses[s, 0], row + 0.5 - ellipses[s, 1]
                    power = ellipses[s, 2] * dx * dx + 2 * ellipses[s, 3] * dx * dy + ellipses[s, 4] * dy * dy
                    if power >= ellipses[s, 5]:
                        continue
                    share = min(ellipses[s, 6] * np.exp(-0.5 * power), SOLID) * through
                    for k in range(3):
                        sums[m, k] += share * picture[row, column, k]
                    sums[m, 3] += share
                    through -= share
                    if through < OPAQUE:
                        break
    return sums
