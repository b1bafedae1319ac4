"""Colours of an avatar's Gaussians fitted to pictures of the mesh that they stand for.

Gaussians blur what lies beside them: an avatar whose colours are right on each triangle is a soft picture of its mesh.
With places and sizes held, a picture is linear in the colours, so the constant terms of their harmonics are found as in
tomography: draw, spread what is missing back by each Gaussian's shares in the pixels, and again, a picture at a time
(SART, Andersen and Kak, Ultrasonic Imaging 1984). What a picture corrects is divided by the pixels that the Gaussian
covers where it was seen best, not in that picture: the last glance from aside would else decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visemo.avatar.gaussians import Gaussians
from visemo.avatar.rig import pose
from visemo.face.face import Face
from visemo.render.camera import Camera
from visemo.render.raster import Studio, developed
from visemo.render.splat import draw_splats, harmonics, shares
from visemo.render.video import FaceRenderer
from visemo.types import FloatArray, VisemoError

SIZE = 320  # pixels of a picture
STEP = 0.7  # of the correction that would be right for a Gaussian alone
FEW = 0.5  # pixels added to what a Gaussian covers: those that are hardly seen keep their colour
# degrees around the head, and shapes at their strengths
SEEN: tuple[tuple[float, dict[str, float]], ...] = (
    (0, {}), (-50, {}), (50, {}), (0, {"jawOpen": 0.5}), (25, {}), (-25, {"mouthPucker": 0.8}), (85, {}), (-85, {}),
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


def fit_colors(
    gaussians: Gaussians, face: Face, steps: int, *, size: int = SIZE, progress: Callable[[float], None] | None = None
) -> Fitted:
    """The constant colour terms fitted to pictures of the face's mesh, `steps` pictures in all, of size x size pixels.

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
    covered = np.zeros((len(gaussians), 1))  # pixels, where it is seen best: a glance from aside changes little
    for step in range(steps):
        vertices, camera, wanted = shots[step % len(shots)]
        missing = wanted - studio.draw(fitted, vertices, camera)
        sums = shares(pose(fitted, vertices, studio.start.triangles), camera, missing)
        covered = np.maximum(covered, sums[:, 3:])
        fitted.sh[:, 0] += (STEP / constant * sums[:, :3] / (covered + FEW)).astype(np.float32)
        if progress is not None:
            progress((step + 1) / steps)
    after = {name: _psnr(studio, fitted, test) for name, test in tests.items()}
    return Fitted(fitted, {name: (before[name], after[name]) for name in tests})


def _psnr(studio: _Studio, gaussians: Gaussians, test: list) -> float:
    """In dB over all pictures of a test."""
    errors = [np.square(studio.draw(gaussians, *shot[:2]) - shot[2]).mean() for shot in test]
    return float(-10 * np.log10(np.mean(errors)))
