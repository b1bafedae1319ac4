"""A comparison for the eye: truth and predictions side by side in a film, and where on the face each is off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from visemo.evaluate.charts import nice_step
from visemo.evaluate.comparison import Comparison
from visemo.evaluate.heat import colours_of, plaster_of
from visemo.face.attach import part_bases
from visemo.face.face import Face
from visemo.media import VideoWriter
from visemo.render.camera import portrait
from visemo.render.head import parts_at_rest
from visemo.render.raster import Rasteriser
from visemo.render.video import FaceRenderer, Picture, contact_sheet
from visemo.types import FloatArray, IntArray

SKIN = (0.52, 0.34, 0.27)  # linear RGB of a mesh that has no colours
QUANTILE = 0.995  # of the vertices fit on the colour scale


class Stage:
    """Draws vertices of one topology from in front.

    Parameters
    ----------
    rest : (V, 3) m, the face at rest: the camera frames it
    triangles : (F, 3)
    face : in this topology, where there is one: its colours are used, and its eyes and teeth come along
    size : pixels of the square picture
    """

    def __init__(self, rest: FloatArray, triangles: IntArray, face: Face | None, size: int) -> None:
        self.rest, self.face = rest, face
        if face is not None:
            self.skin = FaceRenderer(face, np.zeros((1, *rest.shape), np.float32), size).drawing
        else:
            colours = np.tile(np.array(SKIN, np.float32), (len(rest), 1))
            self.skin = Rasteriser(triangles, colours, portrait(rest), size=(size, size))
        self.plaster = plaster_of(self.skin)

    def whole(self, vertices: FloatArray) -> FloatArray:
        """Vertices (T, V, 3) m with those of the attached parts, (T, N, 3) m."""
        if self.face is None:
            return vertices
        moved, rest = part_bases(self.face, vertices - self.rest), parts_at_rest(self.face, self.rest)
        parts = [at + moved[part.name] for at, part in zip(rest, self.face.parts)]
        return np.concatenate([vertices, *parts], axis=1).astype(np.float32)

    def heat(self, whole: FloatArray, errors: NDArray, top: float) -> Picture:
        """One of `whole` (N, 3) in the colours of errors (V,) mm, on a scale from 0 to `top`."""
        self.plaster.colors[: len(errors)] = colours_of(errors / top)
        return self.plaster.draw(whole)


def write_film(
    comparison: Comparison,
    path: Path,
    size: int = 384,
    longest: float = 30.0,
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Write the first sequence as an mp4 with its sound: the truth, then each prediction that has it, `longest` s at
    most. The comparison has to have triangles."""
    assert comparison.triangles is not None
    laid = comparison.shown
    first = next(iter(laid.values()))
    stage = Stage(first.rest, comparison.triangles, comparison.ground.face, size)
    frames = min(*(len(each.truth) for each in laid.values()), round(longest * first.fps))
    takes = [("truth", first.truth), *((label, each.prediction) for label, each in laid.items())]
    moving = [(label, stage.whole(vertices[:frames])) for label, vertices in takes]
    sound = comparison.sound
    if sound is not None:
        sound = replace(sound, samples=sound.samples[: round(frames / first.fps * sound.sample_rate)])
    with VideoWriter(path, (size * len(moving), size), first.fps, sound) as video:
        for t in range(frames):
            pictures = [_titled(stage.skin.draw(whole[t]), label) for label, whole in moving]
            video.add(np.concatenate(pictures, axis=1))
            progress((t + 1) / frames)


def write_errors(comparison: Comparison, path: Path, size: int = 320) -> None:
    """Write a sheet with a row per prediction: its mean error on the truth's face, then its worst frames, each as the
    truth, the prediction, and its error. One colour scale for all. The comparison has to have triangles."""
    assert comparison.triangles is not None
    rest = next(iter(comparison.shown.values())).rest
    stage = Stage(rest, comparison.triangles, comparison.ground.face, size)
    errors = [frame.errors for entry in comparison.entries for frame in entry.worst]
    top = _scale(np.stack([*errors, *(entry.mean_error for entry in comparison.entries)]))
    at_rest = stage.whole(rest[None])[0]
    most = max(len(entry.worst) for entry in comparison.entries)
    rows = []
    for entry in comparison.entries:
        row = [_titled(stage.heat(at_rest, entry.mean_error, top), f"{entry.mean_error.mean():.2f} mm")]
        for frame in entry.worst:
            truth, prediction = stage.whole(np.stack([frame.truth, frame.prediction]))
            row += [
                _titled(stage.skin.draw(truth), f"{frame.sequence} {frame.time:.2f} s"),
                stage.skin.draw(prediction),
                _titled(stage.heat(truth, frame.errors, top), f"lips {frame.lips:.2f} mm"),
            ]
        row += [np.full_like(row[0], 255)] * (1 + 3 * most - len(row))
        rows.append(row)
    columns = ["mean error", *("truth", "prediction", f"0 to {top:g} mm") * most]
    contact_sheet(rows, [entry.label for entry in comparison.entries], columns, path)


def _scale(errors: NDArray) -> float:
    """A round end of a scale that all but the largest of errors (n, V) mm fit on."""
    largest = max(float(np.quantile(errors, QUANTILE, axis=1).max()), 1e-3)
    step = nice_step(largest / 5)
    return step * float(np.ceil(largest / step - 1e-9))


def _titled(picture: Picture, title: str) -> Picture:
    image = Image.fromarray(picture)
    font = ImageFont.load_default(size=max(10, len(picture) // 20))
    ImageDraw.Draw(image).text((6, 4), title, fill="#f2efe9", font=font, stroke_width=1, stroke_fill="#202428")
    return np.asarray(image)
