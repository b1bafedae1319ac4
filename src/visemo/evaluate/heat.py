"""Pictures of faces for a report: as they look, and as plaster that is coloured by how far each vertex is off."""

from __future__ import annotations

import base64
import io
from copy import copy

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visemo.face.face import Face
from visemo.render.raster import Rasteriser
from visemo.render.video import FaceRenderer, Picture
from visemo.types import Animation, FloatArray

SIZE = 480  # pixels of the square that the whole head is drawn on
MARGIN = 0.04  # of the picture that is left around the face
# sRGB of no error, and so on in even steps to the largest of the scale
COLOURS = ("#ece8e1", "#f6cf7f", "#f08f3e", "#cf3f3a", "#8a1c5a", "#35104f")
PLASTER = 0.62  # linear grey of all that is not the face itself
LAMPS, ROOM = 0.34, 1.75  # the lamps are dimmed and the room is lit: shape shows, and colours stay what they are


class Portraits:
    """Draws displaced faces, cut to the face.

    Parameters
    ----------
    face : Face
    motions : (N, V, 3) m, the displacements that will be drawn
    """

    def __init__(self, face: Face, motions: FloatArray) -> None:
        self.face, self.motions = face, np.ascontiguousarray(motions, np.float32)
        self.skin = FaceRenderer(face, self.motions, SIZE)
        self.plaster = plaster_of(self.skin.drawing)
        at = self.skin.drawing.camera.project(face.template, SIZE, SIZE)[:, :2]
        left, top = np.clip((at.min(axis=0) - MARGIN * SIZE).astype(int), 0, SIZE)
        right, bottom = np.clip((at.max(axis=0) + MARGIN * SIZE).astype(int), 0, SIZE)
        self._cut = slice(top, bottom), slice(left, right)

    def look(self, number: int, rest: FloatArray) -> Picture:
        """Displacement `number` on the neutral (V, 3) m, in its own colours."""
        return self.skin.drawing.draw(self._vertices(number, rest))[self._cut]

    def heat(self, number: int, rest: FloatArray, errors: NDArray, top: float) -> Picture:
        """The same in the colours of errors (V,) mm, on a scale from 0 to `top`."""
        self.plaster.colors[: len(errors)] = colours_of(errors / top)
        return self.plaster.draw(self._vertices(number, rest))[self._cut]

    def _vertices(self, number: int, rest: FloatArray) -> FloatArray:
        """As an animation whose blendshapes are the displacements themselves: attached parts come along."""
        weights = np.eye(len(self.motions), dtype=np.float32)[number : number + 1]
        none = np.zeros((1, 0), np.float32), np.zeros_like(weights)
        face = self.face
        clip = Animation(
            weights, none[0], *none, self.motions, np.ascontiguousarray(rest), face.triangles, face.lip_pairs, face.name
        )
        return self.skin.vertices(clip, 0)


def plaster_of(skin: Rasteriser) -> Rasteriser:
    """What draws the same as plaster in white light, to be coloured; it has its own colours, lamps and gloss."""
    plaster = copy(skin)
    plaster.colors = np.full_like(skin.colors, PLASTER)
    plaster.gloss = np.zeros_like(skin.gloss)
    plaster.lamps = skin.lamps.copy()
    plaster.lamps[:, 3:6] = LAMPS * skin.lamps[:, 3:6].mean(axis=1, keepdims=True)
    plaster.ambient = np.full_like(skin.ambient, ROOM * skin.ambient.mean())
    return plaster


def colours_of(shares: NDArray) -> FloatArray:
    """(n, 3) linear RGB of shares (n,) of the scale; what is beyond 1 looks like 1."""
    stops = np.array([[int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)] for colour in COLOURS])
    at = np.clip(shares, 0, 1) * (len(stops) - 1)
    srgb = np.stack([np.interp(at, np.arange(len(stops)), channel) for channel in stops.T], axis=1)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def data_uri(picture: Picture) -> str:
    """A picture (H, W, 3) uint8 as the address of an image: a PNG inside the page."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
