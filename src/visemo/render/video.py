"""Films, stills and contact sheets of animated faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial import KDTree

from visemo.assets import atomic
from visemo.face.face import Face
from visemo.face.library import load_face
from visemo.media import VideoWriter
from visemo.render.avatar import AvatarRenderer
from visemo.render.camera import Camera, View, portrait
from visemo.render.gsplat import Device
from visemo.render.head import SEAM, PosedHead, head_points
from visemo.render.progress import progress_bar
from visemo.render.raster import Rasteriser, Studio, plain
from visemo.types import Animation, FloatArray, IntArray, VisemoError, Waveform

Picture = NDArray[np.uint8]
Clip = TypeVar("Clip", bound="Timed")
Clip_contra = TypeVar("Clip_contra", bound="Timed", contravariant=True)

SKIN_GLOSS, LIP_GLOSS = 0.16, 0.34
STUDIO = "studio"  # the background that is no plain colour
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


class FaceRenderer(PosedHead):
    """Draws the frames of takes on one face, attached parts included, with a fixed camera.

    Parameters
    ----------
    face : what is drawn; its parts follow the blendshapes through `part_bases`.
    basis : (K, V, 3) m, the blendshapes of the takes to come.
    size : pixels of the square picture.
    view : `front`, `three_quarter` or `side`.
    studio : lights and background.

    Raises
    ------
    VisemoError
        For an unknown view, and in `frame` for a take of another basis or lively shapes that the face lacks.
    """

    def __init__(
        self, face: Face, basis: FloatArray, size: int = 512, view: View = "front", *, studio: Studio | None = None
    ):
        super().__init__(face, basis)
        self.drawing = Rasteriser(
            self.triangles,
            np.concatenate([face.colors, *(part.colors for part in face.parts)]),
            portrait(head_points(face, self.rest), view),
            size=(size, size),
            gloss=_gloss(face),
            welds=_seams(face),
            studio=studio,
        )

    @property
    def camera(self) -> Camera:
        """Where the head is drawn from."""
        return self.drawing.camera

    def look(self, camera: Camera) -> None:
        """Draw from another camera; the lights go with it."""
        self.drawing.look(camera)

    def frame(self, clip: Animation, t: int) -> Picture:
        """Picture (size, size, 3) uint8 sRGB of frame number `t`."""
        return self.drawing.draw(self.vertices(clip, t))


def write_video(
    clip: Animation,
    path: str | Path,
    *,
    size: int = 512,
    view: View = "front",
    face: Face | None = None,
    avatar: Path | None = None,
    orbit: float = 0.0,
    background: str = STUDIO,
    device: Device = "auto",
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write an mp4 of the whole take with its sound, picture by picture.

    Parameters
    ----------
    size : pixels, even.
    face : overrides the lookup by the take's face name.
    avatar : point_cloud.ply of an avatar of that face, drawn in place of the mesh.
    orbit : degrees that the camera walks around the head from the first frame to the last, towards the face's own left.
    background : `studio`, or a colour by name or as #rrggbb.
    device : where an avatar is drawn: `cuda` is a GPU with gsplat, `auto` takes it where it is; a mesh is for the CPU.
    progress : called with the share that is done; by default a bar appears after two seconds.

    Raises VisemoError for an odd size, a missing folder, a face that is not the take's, an avatar of another, an orbit
    that is no number, an unknown colour, or a device that is not there.
    """
    renderer = _renderer(
        face_of(clip, face), clip.basis, size, view, avatar=avatar, background=background, device=device
    )
    film(path, clip, renderer, size=size, sound=clip.audio, orbit=orbit, progress=progress)


class Timed(Protocol):
    """Takes and motions: so many frames at such a rate."""

    @property
    def frames(self) -> int: ...
    @property
    def fps(self) -> float: ...


class Renderer(Protocol[Clip_contra]):
    """What draws frames of one kind of clip from a camera that may move."""

    @property
    def camera(self) -> Camera: ...
    def look(self, camera: Camera) -> None: ...
    def frame(self, clip: Clip_contra, t: int, /) -> Picture: ...


def film(
    path: str | Path,
    clip: Clip,
    renderer: Renderer[Clip],
    *,
    size: int,
    sound: Waveform | None,
    orbit: float = 0.0,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write an mp4 of all frames with sound; `orbit` and `progress` as for `write_video`.

    Raises VisemoError for an orbit that is no number, an odd size, and a missing folder.
    """
    if not np.isfinite(orbit):
        raise VisemoError(f"orbit: got {orbit} degrees, expected a number such as 360")
    start = renderer.camera
    with VideoWriter(path, size, clip.fps, sound) as video, progress_bar(f"video {Path(path).name}") as bar:
        for t in range(clip.frames):
            if orbit:
                renderer.look(start.orbited(orbit * t / max(clip.frames - 1, 1)))
            video.add(renderer.frame(clip, t))
            (progress or bar)((t + 1) / clip.frames)


def write_png(
    clip: Animation,
    path: str | Path,
    *,
    size: int = 256,
    face: Face | None = None,
    avatar: Path | None = None,
    background: str = STUDIO,
    device: Device = "auto",
) -> None:
    """Write a contact sheet of the take: moments evenly spread over it, from the front and from the side.

    `avatar`, `background` and `device` as for `write_video`. Raises VisemoError for a missing folder, a face that is
    not the take's, an avatar of another, an unknown colour, or a device that is not there.
    """
    face = face_of(clip, face)
    options = {"avatar": avatar, "background": background, "device": device}
    sheet(path, clip, lambda view: _renderer(face, clip.basis, size, view, **options))


def sheet(path: str | Path, clip: Clip, drawn_from: Callable[[View], Renderer[Clip]]) -> None:
    """Write a contact sheet, from the front and the side: MOMENTS evenly spread over the clip."""
    moments = np.unique(np.round(np.linspace(0, clip.frames - 1, min(MOMENTS, clip.frames) + 2)[1:-1])).astype(int)
    views: dict[View, str] = {"front": "front", "three_quarter": "three quarters"}
    rows = []
    for view in views:
        renderer = drawn_from(view)
        rows.append([renderer.frame(clip, int(t)) for t in moments])
    contact_sheet(rows, list(views.values()), [f"{t / clip.fps:.2f} s" for t in moments], path)


def studio_of(background: str) -> Studio | None:
    """The studio with a plain colour behind it, or None for the usual one. Raises VisemoError for an unknown colour."""
    return None if background == STUDIO else plain(background)


def _renderer(
    face: Face, basis: FloatArray, size: int, view: View, *, avatar: Path | None, background: str, device: Device
) -> FaceRenderer | AvatarRenderer:
    studio = studio_of(background)
    if avatar is None:
        return FaceRenderer(face, basis, size, view, studio=studio)
    return AvatarRenderer(avatar, face, basis, size, view, studio=studio, device=device)


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
