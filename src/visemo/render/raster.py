"""A z-buffer rasteriser for faces on the CPU: smooth normals, studio light, anti-aliased.

Every picture is drawn in three steps, each of which either runs over independent rows or vertices,
or in one thread, so a picture is the same for any number of threads:

1. normals and projection of the vertices;
2. the nearest triangle at each of 2 x 2 samples per pixel (`coverage.cover`);
3. per pixel, light on every triangle seen there, weighted by the samples it won. The first lamp casts soft
   shadows: the same `cover`, looking along its light, says what it reaches.
"""

# ruff: noqa: PLR0917  (compiled kernels take plain arrays, one by one)

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from PIL import ImageColor

from visemo.compiled import compiled
from visemo.render.camera import Camera
from visemo.render.coverage import cover
from visemo.types import FloatArray, IntArray, VisemoError

SAMPLES = 2  # samples per pixel and direction
SHADOW_MAP = 288  # cells of the square that the first lamp looks through
SHADOW_REACH = 1.3  # half its side, in half heights of the picture at the camera's target
PENUMBRA = 8.0  # cells over which a shadow's edge is smeared
SHADOW = 0.72  # how much of the first lamp a full shadow takes; the rest bounces back from the room
SHADOW_DEPTH = 3.5e-3  # m; what lies less than this behind the lit surface is not dark yet


@dataclass(frozen=True)
class Light:
    """A distant lamp: `direction` towards it in the camera's frame (x right, y up, z to the viewer)."""

    direction: tuple[float, float, float]
    color: tuple[float, float, float]  # linear RGB irradiance
    wrap: tuple[float, float, float]  # how far light creeps past the terminator, per channel: skin lets red through


@dataclass(frozen=True)
class Studio:
    """Lights, ambient and background; all colours are linear RGB."""

    lights: tuple[Light, ...] = (
        Light((-0.50, 0.62, 0.80), (2.34, 2.17, 1.98), (0.38, 0.18, 0.11)),  # key: soft, warm, upper left
        Light((0.85, 0.10, 0.62), (0.56, 0.60, 0.68), (0.45, 0.34, 0.30)),  # fill: cool, from the right
        Light((0.66, 0.42, -0.62), (1.60, 1.65, 1.80), (0.05, 0.0, 0.0)),  # rim: from behind
        Light((-0.80, 0.20, -0.60), (0.70, 0.66, 0.62), (0.05, 0.0, 0.0)),  # rim on the other side
    )
    sky: tuple[float, float, float] = (0.29, 0.31, 0.34)
    ground: tuple[float, float, float] = (0.22, 0.175, 0.15)
    top: tuple[float, float, float] = (0.225, 0.245, 0.275)
    bottom: tuple[float, float, float] = (0.055, 0.062, 0.074)

    def background(self, width: int, height: int) -> NDArray[np.float32]:
        """(H, W, 3): brightest behind the head, darker towards the corners."""
        x = (np.arange(width) + 0.5) / width - 0.5
        y = (np.arange(height) + 0.5) / height - 0.42
        shade = np.clip(np.hypot(x[None, :], y[:, None]) / 0.72, 0, 1) ** 1.5
        return (np.asarray(self.top) * (1 - shade[..., None]) + np.asarray(self.bottom) * shade[..., None]).astype("f4")


def plain(color: str) -> Studio:
    """The studio before a wall of one colour: a CSS name or #rrggbb, as the picture shall show it.

    Raises VisemoError for what is no colour.
    """
    try:
        shown = ImageColor.getrgb(color)
    except ValueError:
        shown = ()
    if len(shown) != 3:
        raise VisemoError(f"background: got {color!r}, expected studio, or a colour such as white or '#20a0ff'")
    red, green, blue = (float(np.searchsorted(_TONE, byte)) * 2 / (len(_TONE) - 1) for byte in shown)
    return replace(Studio(), top=(red, green, blue), bottom=(red, green, blue))


def developed(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light as the picture shows it, sRGB 0..1."""
    levels = np.clip(light * np.float32(0.5 * (len(_TONE) - 1)) + np.float32(0.5), 0, len(_TONE) - 1)
    return _TONE[levels.astype(np.int32)].astype(np.float32) / np.float32(255)


class Rasteriser:
    """Draws one triangle mesh, posed anew for every picture, from one camera.

    Parameters
    ----------
    triangles : (F, 3) int32 into the vertices, counter-clockwise seen from outside.
    colors : (V, 3) float32 linear RGB 0..1.
    camera : where it is seen from.
    size : pixels, width and height.
    gloss : (V,) float32 0..1, strength and sharpness of the highlight; 0 is dull skin.
    welds : (W, 2) int32, vertices that lie on each other and share a normal (the seam of two meshes).
    studio : lights and background.

    Raises
    ------
    VisemoError
        Colours, gloss or vertices that do not fit, or a size below 8 pixels.
    """

    def __init__(
        self,
        triangles: IntArray,
        colors: FloatArray,
        camera: Camera,
        *,
        size: tuple[int, int] = (512, 512),
        gloss: FloatArray | None = None,
        welds: IntArray | None = None,
        studio: Studio | None = None,
    ):
        count = len(colors)
        if triangles.size and triangles.max() >= count:
            raise VisemoError(f"colors: got {count} of them, expected one for each of {triangles.max() + 1} vertices")
        if min(size) < 8:
            raise VisemoError(f"picture size: got {size[0]} x {size[1]}, expected at least 8 x 8 pixels")
        if gloss is not None and gloss.shape != (count,):
            raise VisemoError(f"gloss: got shape {gloss.shape}, expected ({count},)")
        self.triangles = np.ascontiguousarray(triangles, np.int32)
        self.colors = np.ascontiguousarray(colors, np.float32)
        self.gloss = np.zeros(count, np.float32) if gloss is None else np.ascontiguousarray(gloss, np.float32)
        self.width, self.height = size
        self.around = _fans(self.triangles, count, welds)
        studio = studio or Studio()
        self.lamps = _lamp_table(studio)
        self.ambient = np.array([studio.sky, studio.ground], np.float64)
        self.background = studio.background(self.width, self.height)
        self.look(camera)

    def look(self, camera: Camera) -> None:
        """Draw from another camera; the lights go with it."""
        self.camera = camera
        if len(self.lamps):
            self.lamp_map = _LampMap(camera, self.lamps[0, :3])

    def draw(self, vertices: FloatArray) -> NDArray[np.uint8]:
        """Picture (H, W, 3) uint8 sRGB of the vertices (V, 3) m; triangles that reach behind the camera are left out.

        Raises VisemoError when the number of vertices is not the number of colours.
        """
        if vertices.shape != self.colors.shape:
            raise VisemoError(f"vertices: got shape {vertices.shape}, expected {self.colors.shape}")
        inside = self.camera.to_camera(vertices)
        normals = _vertex_normals(inside, self.triangles, *self.around)
        points = self.camera.project(vertices, self.width, self.height)
        points[:, :2] *= SAMPLES
        winners, _ = cover(points, self.triangles, self.width * SAMPLES, self.height * SAMPLES)
        reach = self._lamp_reach(inside, normals)
        return _light(
            winners, points, inside, normals, self.triangles, self.colors, self.gloss, reach,
            self.lamps, self.ambient, self.background, _TONE,
        )  # fmt: skip

    def leaving(self, vertices: FloatArray, directions: NDArray) -> NDArray[np.float32]:
        """What each of the vertices (V, 3) m shows, in colour, to viewers far off in directions (D, 3), unit, in the
        face frame: (V, D, 3) sRGB 0..1. From behind a surface looks as from the mirrored direction."""
        inside = self.camera.to_camera(vertices)
        normals = _vertex_normals(inside, self.triangles, *self.around)
        reach = self._lamp_reach(inside, normals)
        views = np.asarray(directions, np.float64) @ self.camera.rotation.T
        return _leave(normals, views, self.colors, self.gloss, reach, self.lamps, self.ambient, _TONE)

    def _lamp_reach(self, inside: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much of the first lamp each vertex sees, (V,) 0..1, from a picture of depths taken from the lamp."""
        if not len(self.lamps):
            return np.ones(len(inside))
        points = self.lamp_map.place(inside)
        _, nearest = cover(points, self.triangles, SHADOW_MAP, SHADOW_MAP)
        return _uncovered(points, self.lamp_map.slopes(normals), nearest)


class _LampMap:
    """The square that a lamp looks through: around the camera's target, across the light."""

    def __init__(self, camera: Camera, toward: NDArray[np.float64]):
        self.distance = float(np.linalg.norm(np.subtract(camera.position, camera.target)))
        self.side = 2 * SHADOW_REACH * self.distance * np.tan(np.radians(camera.field_of_view) / 2)
        across = np.cross([0.0, 1.0, 0.0], toward)
        across /= np.linalg.norm(across)
        self.axes = np.stack([across, np.cross(across, toward), toward])  # columns, rows, depth towards the lamp

    def place(self, inside: NDArray[np.float64]) -> NDArray[np.float64]:
        """Camera-frame points (N, 3) on the map: column and row in cells, m towards the lamp, all positive near it."""
        points = (inside - [0.0, 0.0, -self.distance]) @ self.axes.T
        points[:, :2] = (points[:, :2] / self.side + 0.5) * SHADOW_MAP
        points[:, 2] += 4 * self.side
        return points

    def slopes(self, normals: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) depth in m that a surface of this normal gains per column and row, moderate at grazing angles."""
        turned = normals @ self.axes.T
        return -turned[:, :2] / np.maximum(turned[:, 2:], 0.25) * (self.side / SHADOW_MAP)


def render(
    vertices: FloatArray,
    triangles: IntArray,
    colors: FloatArray,
    camera: Camera,
    *,
    size: tuple[int, int] = (512, 512),
    gloss: FloatArray | None = None,
) -> NDArray[np.uint8]:
    """One picture (H, W, 3) uint8 sRGB of one mesh; see `Rasteriser` for the arguments and errors."""
    return Rasteriser(triangles, colors, camera, size=size, gloss=gloss).draw(vertices)


def _fans(triangles: IntArray, count: int, welds: IntArray | None) -> tuple[IntArray, IntArray, IntArray]:
    """Triangles around every vertex: (group of each vertex, start of each group's run, runs of triangles).

    Welded vertices form one group; runs list triangles in their order, so sums are reproducible.
    """
    group = np.arange(count, dtype=np.int32)
    for first, second in [] if welds is None else welds:
        group[second] = group[first]
    corners = group[triangles.reshape(-1)]
    by_group = np.argsort(corners, kind="stable")
    start = np.searchsorted(corners[by_group], np.arange(count + 1)).astype(np.int32)
    return group, start, (by_group // 3).astype(np.int32)


def _lamp_table(studio: Studio) -> NDArray[np.float64]:
    """(L, 9): unit direction, colour, wrap."""
    table = np.zeros((len(studio.lights), 9))
    for row, light in zip(table, studio.lights):
        direction = np.asarray(light.direction) / np.linalg.norm(light.direction)
        row[:] = *direction, *light.color, *light.wrap
    return table


def _tone_table() -> NDArray[np.uint8]:
    """Linear light 0..2 in equal steps to sRGB bytes, with a soft shoulder above 0.7."""
    light = np.linspace(0.0, 2.0, 1 << 14)
    knee, room = 0.70, 0.30
    soft = np.where(light < knee, light, knee + room * (1 - np.exp(-(light - knee) / room)))
    srgb = np.where(soft <= 0.0031308, 12.92 * soft, 1.055 * soft ** (1 / 2.4) - 0.055)
    return np.round(255 * srgb).astype(np.uint8)


_TONE = _tone_table()


@compiled(parallel=True)
def _vertex_normals(vertices, triangles, group, start, members):
    """(V, 3) unit normals: sum of the area vectors around a vertex; +z where there is no surface."""
    count = len(vertices)
    normals = np.empty((count, 3))
    for i in prange(count):
        g = group[i]
        x, y, z = 0.0, 0.0, 0.0
        for m in range(start[g], start[g + 1]):
            t = members[m]
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
            ux, uy, uz = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
            vx, vy, vz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
            x += uy * vz - uz * vy
            y += uz * vx - ux * vz
            z += ux * vy - uy * vx
        length = np.sqrt(x * x + y * y + z * z)
        if length > 0:
            normals[i, 0], normals[i, 1], normals[i, 2] = x / length, y / length, z / length
        else:
            normals[i, 0], normals[i, 1], normals[i, 2] = 0.0, 0.0, 1.0
    return normals


@njit
def _shade(normal, view, albedo, gloss, reach, lamps, ambient, out):
    """Light that leaves a point towards the viewer, to `out` (3,).

    Diffuse light wraps around the terminator, farther in red (skin scatters it); the highlight is
    Blinn and Phong's with Schlick's rise towards grazing angles.
    """
    up = 0.5 + 0.5 * normal[1]
    for k in range(3):
        out[k] = albedo[k] * (ambient[0, k] * up + ambient[1, k] * (1 - up))
    exponent = 9.0 * 2.0 ** (6.0 * gloss)
    strength = (0.25 + 1.1 * gloss) * (exponent + 8) / 25
    for n in range(len(lamps)):
        lx, ly, lz = lamps[n, 0], lamps[n, 1], lamps[n, 2]
        facing = normal[0] * lx + normal[1] * ly + normal[2] * lz
        if facing < -0.5:
            continue  # beyond the reach of every wrap
        strong = 1.0
        if n == 0:  # at the terminator a body shades itself, which the wrap already is: no second edge there
            strong -= (1.0 - reach) * min(2.0 * facing + 1.0, 1.0)
        mirror = 0.0
        if facing > 0:
            hx, hy, hz = lx + view[0], ly + view[1], lz + view[2]
            shrink = 1 / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-12)
            half = (normal[0] * hx + normal[1] * hy + normal[2] * hz) * shrink
            grazing = 1 - (view[0] * hx + view[1] * hy + view[2] * hz) * shrink
            squared = grazing * grazing
            if half > 0:
                fresnel = 0.04 + 0.96 * squared * squared * grazing
                mirror = strength * fresnel * np.exp(exponent * np.log(half)) * facing
        for k in range(3):
            wrap = lamps[n, 6 + k]
            diffuse = 0.5 * albedo[k] * max(0.0, (facing + wrap) / (1 + wrap))
            out[k] += strong * lamps[n, 3 + k] * (diffuse + mirror)


@compiled(parallel=True)
def _leave(normals, views, colors, gloss, reach, lamps, ambient, tone):
    """(V, D, 3) sRGB 0..1 of every vertex in every direction."""
    shown = np.empty((len(normals), len(views), 3), np.float32)
    for i in prange(len(normals)):
        view, light = np.empty(3), np.empty(3)
        for j in range(len(views)):
            along = normals[i, 0] * views[j, 0] + normals[i, 1] * views[j, 1] + normals[i, 2] * views[j, 2]
            for k in range(3):
                view[k] = views[j, k] - 2 * min(along, 0.0) * normals[i, k]
            _shade(normals[i], view, colors[i], gloss[i], reach[i], lamps, ambient, light)
            for k in range(3):
                level = int(min(light[k], 2.0) * 0.5 * (len(tone) - 1) + 0.5)
                shown[i, j, k] = tone[level] / 255.0
    return shown


@njit
def _corner_weights(points, a, b, c, x, y, out):
    """Perspective-correct barycentric weights of the picture's point (x, y) in a triangle, to `out` (3,);
    True when the triangle is seen from behind."""
    ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
    out[0] = ((cx - bx) * (y - by) - (cy - by) * (x - bx)) * points[a, 2]
    out[1] = ((ax - cx) * (y - cy) - (ay - cy) * (x - cx)) * points[b, 2]
    out[2] = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * points[c, 2]
    scale = 1 / (out[0] + out[1] + out[2])
    for k in range(3):
        out[k] *= scale
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) > 0  # rows grow downwards: a front side has negative area


@njit
def _facing_normal(normal, view, behind):
    """Turn the interpolated `normal` of a surface seen from `behind` around, make it unit, and keep it from
    pointing away from the viewer, which smooth normals do at an outline."""
    sign = -1.0 if behind else 1.0
    along = sign * (normal[0] * view[0] + normal[1] * view[1] + normal[2] * view[2])
    bend = min(0.0, along)
    for k in range(3):
        normal[k] = sign * normal[k] - bend * view[k]
    scale = 1 / np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2 + 1e-24)
    for k in range(3):
        normal[k] *= scale


@njit
def _samples_of(winners, row, column, s):
    """Samples of a pixel that the triangle at sample `s` won: (how many, mean x, mean y) in samples;
    none when an earlier sample has the same triangle, which speaks for all."""
    top, left = row * SAMPLES, column * SAMPLES
    t = winners[top + s // SAMPLES, left + s % SAMPLES]
    count, x, y = 0, 0.0, 0.0
    for other in range(SAMPLES * SAMPLES):
        i, j = top + other // SAMPLES, left + other % SAMPLES
        if winners[i, j] == t:
            if other < s:
                return 0, 0.0, 0.0
            count += 1
            x += j + 0.5
            y += i + 0.5
    return count, x / count, y / count


@compiled(parallel=True)
def _uncovered(points, slopes, nearest):
    """(V,) light of the first lamp, 1 - SHADOW to 1: how much of a square of PENUMBRA cells around each point
    has nothing nearer to the lamp than the plane of the surface there."""
    seen = np.ones(len(points))
    size = len(nearest)
    for i in prange(len(points)):
        left, top = points[i, 0] - PENUMBRA / 2, points[i, 1] - PENUMBRA / 2
        dark = 0.0
        for row in range(max(0, int(np.floor(top))), min(size, int(np.ceil(top + PENUMBRA)))):
            high = min(row + 1.0, top + PENUMBRA) - max(float(row), top)
            for column in range(max(0, int(np.floor(left))), min(size, int(np.ceil(left + PENUMBRA)))):
                wide = min(column + 1.0, left + PENUMBRA) - max(float(column), left)
                plane = points[i, 2] + slopes[i, 0] * (column + 0.5 - points[i, 0])
                plane += slopes[i, 1] * (row + 0.5 - points[i, 1])
                above = (nearest[row, column] - plane) / SHADOW_DEPTH - 1
                dark += wide * high * min(max(above, 0.0), 1.0)
        seen[i] = 1 - SHADOW * dark / (PENUMBRA * PENUMBRA)
    return seen


@compiled(parallel=True)
def _light(winners, points, inside, normals, triangles, colors, gloss, reach, lamps, ambient, background, tone):
    """Picture (H, W, 3) uint8: every triangle of a pixel is lit once, where its samples lie on average."""
    height, width = background.shape[:2]
    picture = np.empty((height, width, 3), np.uint8)
    for row in prange(height):
        weights, normal, view = np.empty(3), np.empty(3), np.empty(3)
        albedo, leaving, total = np.empty(3), np.empty(3), np.empty(3)
        for column in range(width):
            for k in range(3):
                total[k] = 0.0
            for s in range(SAMPLES * SAMPLES):
                count, x, y = _samples_of(winners, row, column, s)
                if count == 0:
                    continue
                t = winners[row * SAMPLES + s // SAMPLES, column * SAMPLES + s % SAMPLES]
                if t < 0:
                    for k in range(3):
                        total[k] += count * background[row, column, k]
                    continue
                a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                behind = _corner_weights(points, a, b, c, x, y, weights)
                p, q, r = weights[0], weights[1], weights[2]
                for k in range(3):
                    normal[k] = p * normals[a, k] + q * normals[b, k] + r * normals[c, k]
                    albedo[k] = p * colors[a, k] + q * colors[b, k] + r * colors[c, k]
                    view[k] = -(p * inside[a, k] + q * inside[b, k] + r * inside[c, k])
                shine = p * gloss[a] + q * gloss[b] + r * gloss[c]
                lamp_seen = p * reach[a] + q * reach[b] + r * reach[c]
                scale = 1 / np.sqrt(view[0] ** 2 + view[1] ** 2 + view[2] ** 2)
                for k in range(3):
                    view[k] *= scale
                _facing_normal(normal, view, behind)
                _shade(normal, view, albedo, shine, lamp_seen, lamps, ambient, leaving)
                dim = 0.3 if behind else 1.0
                for k in range(3):
                    total[k] += count * min(leaving[k] * dim, 2.0)
            for k in range(3):
                level = int(total[k] / (SAMPLES * SAMPLES) * 0.5 * (len(tone) - 1) + 0.5)
                picture[row, column, k] = tone[min(max(level, 0), len(tone) - 1)]
    return picture
