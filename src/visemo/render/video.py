"""Films, stills and contact sheets of animated faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial import KDTree

from visemo.assets import atomic
from visemo.face.attach import part_bases
from visemo.face.face import Face
from visemo.face.library import load_face
from visemo.geometry.rotation import quaternion_to_matrix
from visemo.media import VideoWriter
from visemo.render.camera import View, portrait
from visemo.render.progress import progress_bar
from visemo.render.raster import Rasteriser
from visemo.types import Animation, FloatArray, IntArray, VisemoError
from visemo.units import M_PER_MM

Picture = NDArray[np.uint8]

SKIN_GLOSS, LIP_GLOSS = 0.16, 0.34
SEAM = 1e-3 * M_PER_MM  # a part's vertex this close to one of the face's belongs to the same skin
NEIGHBOURS = 24  # vertices of the face that carry one of a part to another person's head
MOMENTS = 6  # columns of a take's contact sheet


def face_of(clip: Animation, face: Face | None = None) -> Face:
    """The Face a take belongs to: the given one, or the library's by the take's own name for it.

    Raises VisemoError when its topology is not the take's.
    """
    face = face or load_face(clip.face)
    if not np.array_equal(face.triangles, clip.triangles):
        raise VisemoError(
            f"face {face.name}: got {len(face.template)} vertices in another topology than the take's "
            f"{len(clip.template)}, expected the face the take was made on"
        )
    return face


def parts_at_rest(face: Face, template: FloatArray) -> list[FloatArray]:
    """Vertices (P, 3) m of every part at rest, carried along where `template` is another person's neutral.

    Each follows the displacements of the nearest vertices of the face, weighted by 1 / distance^2, so seams stay shut.
    """
    if np.array_equal(template, face.template):
        return [part.vertices for part in face.parts]
    tree, moved = KDTree(face.template), (template - face.template).astype(np.float64)
    carried = []
    for part in face.parts:
        distance, near = map(np.asarray, tree.query(part.vertices, k=min(NEIGHBOURS, len(template))))
        pull = 1 / (distance + SEAM) ** 2
        pull /= pull.sum(axis=1, keepdims=True)
        carried.append((part.vertices + np.einsum("pk,pkc->pc", pull, moved[near])).astype(np.float32))
    return carried


class FaceRenderer:
    """Draws the frames of takes on one face, attached parts included, with a fixed camera.

    Parameters
    ----------
    face : what is drawn; its parts follow the blendshapes through `part_bases`.
    basis : (K, V, 3) m, the blendshapes of the takes to come.
    size : pixels of the square picture.
    view : `front`, `three_quarter` or `side`.

    Raises
    ------
    VisemoError
        For an unknown view, and in `frame` for a take of another basis or lively shapes that the face lacks.
    """

    def __init__(self, face: Face, basis: FloatArray, size: int = 512, view: View = "front"):
        self.face = face
        bases = part_bases(face, basis)
        self.moves = np.concatenate([basis, *(bases[part.name] for part in face.parts)], axis=1)
        offsets = np.cumsum([len(face.template), *(len(part.vertices) for part in face.parts)])
        self._pose(face.template)
        self.drawing = Rasteriser(
            np.concatenate([face.triangles, *(part.triangles + at for part, at in zip(face.parts, offsets))]),
            np.concatenate([face.colors, *(part.colors for part in face.parts)]),
            portrait(_head_points(face, self.rest), view),
            size=(size, size),
            gloss=_gloss(face),
            welds=_seams(face),
        )

    def vertices(self, clip: Animation, t: int) -> FloatArray:
        """Everything that is drawn of frame `t`: (N, 3) m, the face's V vertices first, in the world.

        template + w B, the lively track on the face's named shapes, then the head pose.
        """
        if clip.basis.shape[:2] != (len(self.moves), len(self.face.template)):
            raise VisemoError(
                f"take: got {clip.basis.shape[0]} blendshapes of {clip.basis.shape[1]} vertices, "
                f"expected {len(self.moves)} of {len(self.face.template)}"
            )
        weights = np.concatenate([clip.speech_weights[t], clip.expression_weights[t]])
        if clip.template is not self.template:
            self._pose(clip.template)
        points = self.rest + np.tensordot(weights, self.moves, axes=1)
        if clip.lively_weights is not None:
            for name, weight in zip(clip.lively_names, clip.lively_weights[t]):
                if weight:
                    points += weight * self._shape(name)
        if clip.head_pose is not None:
            points = points @ quaternion_to_matrix(clip.head_pose[t, 3:]).T + clip.head_pose[t, :3]
        return points.astype(np.float32)

    def frame(self, clip: Animation, t: int) -> Picture:
        """Picture (size, size, 3) uint8 sRGB of frame number `t`."""
        return self.drawing.draw(self.vertices(clip, t))

    def _pose(self, template: FloatArray) -> None:
        """Remember whose head is drawn: parts are carried to it once, not for every frame."""
        self.template = template
        self.rest = np.concatenate([template, *parts_at_rest(self.face, template)])

    def _shape(self, name: str) -> FloatArray:
        own = self.face.shape(name)
        row = self.face.shape_names.index(name)
        return np.concatenate([own, *(part.shapes[row] for part in self.face.parts)])


def write_video(
    clip: Animation,
    path: str | Path,
    *,
    size: int = 512,
    view: View = "front",
    face: Face | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write an mp4 of the whole take with its sound, picture by picture.

    Parameters
    ----------
    size : pixels, even.
    face : overrides the lookup by the take's face name.
    progress : called with the share that is done; by default a bar appears after two seconds.

    Raises VisemoError for an odd size, a missing folder or a face that is not the take's.
    """
    renderer = FaceRenderer(face_of(clip, face), clip.basis, size, view)
    with VideoWriter(path, size, clip.fps, clip.audio) as video, progress_bar(f"video {Path(path).name}") as bar:
        for t in range(clip.frames):
            video.add(renderer.frame(clip, t))
            (progress or bar)((t + 1) / clip.frames)


def write_png(clip: Animation, path: str | Path, *, size: int = 256, face: Face | None = None) -> None:
    """Write a contact sheet of the take: moments evenly spread over it, from the front and from the side.

    Raises VisemoError for a missing folder or a face that is not the take's.
    """
    face = face_of(clip, face)
    moments = np.unique(np.round(np.linspace(0, clip.frames - 1, min(MOMENTS, clip.frames) + 2)[1:-1])).astype(int)
    views: dict[View, str] = {"front": "front", "three_quarter": "three quarters"}
    rows = []
    for view in views:
        renderer = FaceRenderer(face, clip.basis, size, view)
        rows.append([renderer.frame(clip, t) for t in moments])
    contact_sheet(rows, list(views.values()), [f"{t / clip.fps:.2f} s" for t in moments], path)


def contact_sheet(
    pictures: Sequence[Sequence[Picture]], rows: Sequence[str], columns: Sequence[str], path: str | Path
) -> None:
    """Write a grid of equally large pictures with a label per row and per column as a png.

    Parameters
    ----------
    pictures : rows of (H, W, 3) uint8 pictures, one per column label.
    rows, columns : labels; empty lists for none.

    Raises VisemoError when pictures and labels do not fit, or the folder is missing.
    """
    wide = len(columns) or len(pictures[0])
    if (rows and len(rows) != len(pictures)) or any(len(row) != wide for row in pictures):
        raise VisemoError(
            f"contact sheet: got {len(pictures)} rows of {sorted({len(row) for row in pictures})} pictures, "
            f"expected {len(rows)} rows of {wide}"
        )
    height, width = pictures[0][0].shape[:2]
    font = ImageFont.load_default(size=max(12, height // 16))
    left = 0 if not rows else 16 + int(max(font.getlength(label) for label in rows))
    top = 0 if not columns else 12 + height // 12
    gap = max(2, height // 64)
    page = Image.new("RGB", (left + wide * (width + gap) + gap, top + len(pictures) * (height + gap) + gap), "white")
    pen = ImageDraw.Draw(page)
    for i, row in enumerate(pictures):
        y = top + gap + i * (height + gap)
        if rows:
            pen.text((left - 8, y + height // 2), rows[i], fill="#202428", font=font, anchor="rm")
        for j, picture in enumerate(row):
            page.paste(Image.fromarray(picture), (left + gap + j * (width + gap), y))
    for j, label in enumerate(columns):
        pen.text((left + gap + j * (width + gap) + width // 2, top // 2), label, "#202428", font, anchor="mm")
    with atomic(Path(path)) as temporary:
        page.save(temporary, format="PNG")


def _head_points(face: Face, rest: FloatArray) -> FloatArray:
    """What a portrait frames: the face and all parts above its lower end, without shoulders or neck."""
    chin, brow = face.template[:, 1].min(), face.template[:, 1].max()
    return rest[rest[:, 1] > chin - 0.04 * (brow - chin)]


def _gloss(face: Face) -> FloatArray:
    """(N,) highlight of every vertex: lips are wetter than skin, parts say for themselves."""
    skin = np.full(len(face.template), SKIN_GLOSS, np.float32)
    skin[face.regions.get("lips", np.zeros(0, np.int32))] = LIP_GLOSS
    return np.concatenate([skin, *(np.full(len(part.vertices), part.gloss, np.float32) for part in face.parts)])


def _seams(face: Face) -> IntArray:
    """(W, 2) pairs of a face's vertex and the part's vertex that lies on it, where the skin goes on.

    Vertices of the face that lie on each other are left out: lips that touch are two skins.
    """
    tree = KDTree(face.template)
    alone = np.array([len(near) == 1 for near in tree.query_ball_point(face.template, SEAM)])
    pairs, at = [np.zeros((0, 2), np.int32)], len(face.template)
    for part in face.parts:
        distance, own = map(np.asarray, tree.query(part.vertices, distance_upper_bound=SEAM))
        found = np.flatnonzero(np.isfinite(distance))
        found = found[alone[own[found]]]
        pairs.append(np.stack([own[found], found + at], axis=1).astype(np.int32))
        at += len(part.vertices)
    return np.concatenate(pairs)
