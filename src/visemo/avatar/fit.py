"""An avatar's Gaussians fitted to pictures of the mesh that they stand for.

Gaussians blur what lies beside them: an avatar whose colours are right on each triangle is a soft picture of its mesh.
Picture by picture, three things are mended. The constant colours: with places and sizes held a picture is linear in
them, so what is missing is spread back by each Gaussian's shares in the pixels, as in tomography (SART, Andersen and
Kak, Ultrasonic Imaging 1984); what a picture corrects is divided by the pixels that the Gaussian covers where it was
seen best, not in that picture: the last glance from aside would else decide. Places in the triangle's plane, and sizes:
a step of gradient descent on the squared error (Adam, Kingma and Ba, 2015), within limits that leave no hole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visemo.avatar.gaussians import Gaussians
from visemo.avatar.rig import pose, triangle_frames
from visemo.face.face import Face
from visemo.render.camera import Camera
from visemo.render.raster import Studio, developed
from visemo.render.splat import draw_splats, harmonics, shares
from visemo.render.splat_slopes import slopes
from visemo.render.video import FaceRenderer
from visemo.types import FloatArray, VisemoError

SIZE = 320  # pixels of a picture
STEP = 0.7  # of the correction that would be right for a Gaussian alone
FEW = 0.5  # pixels added to what a Gaussian covers: those that are hardly seen keep their colour
RATE = 0.06  # of a step of gradient descent: of the triangle's size, or of the logarithm of a scale
FURTHEST, LARGEST = 0.3, 0.4  # from where it began, in the same units
PLANE = np.array([1.0, 0.0, 1.0])  # a triangle's own axes, without its normal
# degrees around the head, and shapes at their strengths
TEETH: dict[str, float] = {
    "mouthUpperUpLeft": 0.9, "mouthUpperUpRight": 0.9, "mouthLowerDownLeft": 0.9, "mouthLowerDownRight": 0.9,
}  # fmt: skip
SEEN: tuple[tuple[float, dict[str, float]], ...] = (
    (0, {}), (-50, {}), (50, {}), (0, {"jawOpen": 0.5}), (25, {}), (0, TEETH), (-25, {"mouthPucker": 0.8}), (85, {}),
    (-85, {}),
)  # fmt: skip
HELD_OUT: dict[str, tuple[tuple[float, dict[str, float]], ...]] = {
    "other views": ((12, {}), (-38, {}), (65, {})),
    "other poses": ((0, {"jawOpen": 0.9}), (0, {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9})),
}


@dataclass(frozen=True, eq=False)
class Fitted:
    """Gaussians after a fit, and how near they are to pictures that were not fitted: PSNR in dB before and after."""

    gaussians: Gaussians
    psnr: dict[str, tuple[float, float]]


class _Studio:
    """Pictures of the mesh in any pose, from cameras that walk around it while its lights stand still."""

    def __init__(self, face: Face, size: int):
        self.face, self.size, self.none = face, size, np.zeros((1, *face.template.shape), np.float32)
        self.start = FaceRenderer(face, self.none, size)
        self.behind = developed(Studio().background(size, size))

    def pose(self, weights: dict[str, float]) -> FloatArray:
        """The mesh (N, 3) with those of the shapes that the face has."""
        vertices = self.start.rest.copy()
        for name in set(weights) & set(self.face.shape_names):
            vertices += weights[name] * self.start.shape(name)
        return vertices

    def shot(self, degrees: float, weights: dict[str, float]) -> tuple[FloatArray, Camera, NDArray[np.float64]]:
        """Vertices, camera and picture 0..1."""
        camera, vertices = self.start.camera.orbited(degrees), self.pose(weights)
        turn = camera.rotation @ self.start.camera.rotation.T
        lights = Studio().lights
        still = tuple(replace(light, direction=tuple(turn @ light.direction)) for light in lights)
        renderer = FaceRenderer(self.face, self.none, self.size, studio=replace(Studio(), lights=still))
        renderer.look(camera)
        return vertices, camera, renderer.drawing.draw(vertices) / 255

    def draw(self, gaussians: Gaussians, vertices: FloatArray, camera: Camera) -> NDArray[np.float64]:
        splats = pose(gaussians, vertices, self.start.triangles)
        return draw_splats(splats, camera, (self.size, self.size), self.behind) / 255

    def slopes(
        self, gaussians: Gaussians, vertices: FloatArray, camera: Camera, missing: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Derivatives (2, N, 3) of the squared error by centres and logarithms of scales, in triangle frames."""
        by = slopes(pose(gaussians, vertices, self.start.triangles), camera, -2 * missing, self.behind)
        frames = triangle_frames(vertices, self.start.triangles)
        axes, sizes = frames.rotations[gaussians.binding], frames.sizes[gaussians.binding]
        return np.stack([sizes[:, None] * np.einsum("nji,nj->ni", axes, by.centres), by.log_scales])


class _Descent:
    """Adam on the places and sizes of Gaussians, each stepping when it is seen."""

    def __init__(self, start: Gaussians):
        self.start, shape = start, (2, *start.centres.shape)
        self.mean, self.square, self.times = np.zeros(shape), np.zeros(shape), np.zeros((len(start), 1))

    def step(self, now: Gaussians, slope: NDArray[np.float64]) -> Gaussians:
        """One step against the derivatives (2, N, 3) by centres and by logarithms of scales, both local."""
        seen = np.asarray(slope.any(axis=(0, 2)))
        self.times[seen] += 1
        self.mean[:, seen] = 0.9 * self.mean[:, seen] + 0.1 * slope[:, seen]
        self.square[:, seen] = 0.99 * self.square[:, seen] + 0.01 * slope[:, seen] ** 2
        times = np.maximum(self.times, 1)
        pace = np.sqrt(self.square / (1 - 0.99**times)) + 1e-12
        change = -RATE * seen[:, None] * self.mean / (1 - 0.9**times) / pace
        off = np.clip(now.centres - self.start.centres + change[0] * PLANE, -FURTHEST, FURTHEST)
        grown = np.clip(now.scales - self.start.scales + change[1], -LARGEST, LARGEST)
        return replace(
            now,
            centres=(self.start.centres + off).astype(np.float32),
            scales=(self.start.scales + grown).astype(np.float32),
        )


def fit_avatar(
    gaussians: Gaussians, face: Face, steps: int, *, size: int = SIZE, progress: Callable[[float], None] | None = None
) -> Fitted:
    """Constant colours, places and sizes fitted to pictures of the face's mesh, `steps` in all, of size x size pixels.

    Raises VisemoError for fewer than one step, and Gaussians that are bound to another mesh.
    """
    if steps < 1:
        raise VisemoError(f"fit: got {steps} steps, expected at least 1")
    studio = _Studio(face, size)
    gaussians.check_triangles(len(studio.start.triangles), f"{face.name} and its parts")
    tests = {name: [studio.shot(*shot) for shot in shots] for name, shots in HELD_OUT.items()}
    shots = [studio.shot(*shot) for shot in SEEN[:steps]]
    before = {name: _psnr(studio, gaussians, test) for name, test in tests.items()}
    fitted = replace(gaussians, sh=gaussians.sh.copy())
    constant = harmonics(np.array([0.0, 0.0, 1.0]))[0]
    descent = _Descent(gaussians)
    covered = np.zeros((len(gaussians), 1))  # pixels, where it is seen best: a glance from aside changes little
    for step in range(steps):
        vertices, camera, wanted = shots[step % len(shots)]
        missing = wanted - studio.draw(fitted, vertices, camera)
        sums = shares(pose(fitted, vertices, studio.start.triangles), camera, missing)
        covered = np.maximum(covered, sums[:, 3:])
        fitted.sh[:, 0] += (STEP / constant * sums[:, :3] / (covered + FEW)).astype(np.float32)
        fitted = descent.step(fitted, studio.slopes(fitted, vertices, camera, missing))
        if progress is not None:
            progress((step + 1) / steps)
    after = {name: _psnr(studio, fitted, test) for name, test in tests.items()}
    return Fitted(fitted, {name: (before[name], after[name]) for name in tests})


def _psnr(studio: _Studio, gaussians: Gaussians, test: list) -> float:
    """In dB over all pictures of a test."""
    errors = [np.square(studio.draw(gaussians, *shot[:2]) - shot[2]).mean() for shot in test]
    return float(-10 * np.log10(np.mean(errors)))
