"""Takes drawn on Gaussian avatars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visemo.avatar.description import Description, read_description
from visemo.avatar.gaussians import read_gaussians
from visemo.avatar.rig import pose
from visemo.face.face import Face
from visemo.render.camera import Camera, View, portrait
from visemo.render.gsplat import Device, drawing_on
from visemo.render.head import PosedHead, head_points
from visemo.render.raster import Studio, developed
from visemo.types import Animation, FloatArray, VisemoError


class AvatarRenderer(PosedHead):
    """Draws the frames of takes on an avatar that `visemo avatar from-face` made, as FaceRenderer draws the mesh.

    Parameters
    ----------
    avatar : its point_cloud.ply, with avatar.json beside it.
    face, basis, size, view, studio : as for FaceRenderer; of the studio an avatar has the background only.
    device : where splats are drawn, as for `drawing_on`.

    Raises
    ------
    VisemoError
        What `read_gaussians` and `drawing_on` refuse; an avatar of another face, or whose mesh is not known.
    """

    def __init__(
        self,
        avatar: Path,
        face: Face,
        basis: FloatArray,
        size: int = 512,
        view: View = "front",
        *,
        studio: Studio | None = None,
        device: Device = "auto",
    ):
        super().__init__(face, basis)
        self.draw = drawing_on(device)
        self.gaussians = read_gaussians(avatar)
        description = read_description(avatar)
        if description is None:
            raise VisemoError(
                f"{avatar}: got no avatar.json beside it, expected one, which says whose triangles it is bound to; "
                f"make one with visemo avatar from-face {face.name}, or add --flame FILE for one on FLAME"
            )
        _check_pairing(avatar, description, face)
        self.gaussians.check_triangles(description.total, f"{face.name} and its parts")
        self.camera, self.size = portrait(head_points(face, self.rest), view), (size, size)
        self.background = developed((studio or Studio()).background(size, size))

    def look(self, camera: Camera) -> None:
        """Draw from another camera."""
        self.camera = camera

    def frame(self, clip: Animation, t: int) -> NDArray[np.uint8]:
        """Picture (size, size, 3) uint8 sRGB of frame number `t`."""
        splats = pose(self.gaussians, self.vertices(clip, t), self.triangles)
        return self.draw(splats, self.camera, self.size, self.background)


def _check_pairing(avatar: Path, said: Description, face: Face) -> None:
    parts = tuple((part.name, len(part.triangles)) for part in face.parts)
    if said.topology != face.topology_hash or said.parts != parts:
        raise VisemoError(
            f"{avatar}: got an avatar of the face {said.face} ({said.total} triangles), expected one of the take's "
            f"face {face.name} ({len(face.triangles) + sum(count for _, count in parts)}); make it with visemo avatar "
            f"from-face {face.name}"
        )
