"""FLAME motions drawn on Gaussian avatars that are bound to FLAME with teeth, as GaussianAvatars makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from visemo.avatar.gaussians import read_gaussians
from visemo.avatar.rig import Splats, pose
from visemo.face.flame import FlameModel
from visemo.face.flame_layer import FlameLayer
from visemo.face.flame_motion import FlameMotion, read_flame_motion, used_components
from visemo.face.flame_teeth import with_teeth
from visemo.face.flame_topology import MIDDLE
from visemo.render.camera import Camera, View, portrait
from visemo.render.gsplat import Device, drawing_on
from visemo.render.raster import Studio, developed
from visemo.render.video import STUDIO, film, sheet, studio_of
from visemo.types import FloatArray, VisemoError

PARAMETERS = "flame_param.npz"  # beside an avatar's point_cloud.ply: whose head it is
CHIN = 8  # iBUG number


class FlameAvatarRenderer:
    """Draws the frames of FLAME motions on an avatar, whose own shape and static offset it keeps, as the viewer does.

    Parameters
    ----------
    avatar : its point_cloud.ply, with flame_param.npz beside it.
    flame : the FLAME that it was made with. Without expression components only jaw, eyes and head move.
    device : where splats are drawn, as for `drawing_on`.

    Raises
    ------
    VisemoError
        What `read_gaussians`, `read_flame_motion` and `drawing_on` refuse; no flame_param.npz; a shape with more
        components than FLAME has here; Gaussians that are bound beyond the mesh.
    """

    def __init__(
        self,
        avatar: Path,
        flame: FlameModel,
        size: int = 512,
        view: View = "front",
        *,
        studio: Studio | None = None,
        device: Device = "auto",
    ):
        self.draw = drawing_on(device)
        self.gaussians = read_gaussians(avatar)
        beside = Path(avatar).parent / PARAMETERS
        if not beside.is_file():
            raise VisemoError(
                f"{avatar}: got no {PARAMETERS} beside it, expected the one with the avatar's shape; copy it there"
            )
        own = read_flame_motion(beside)
        mesh = with_teeth(flame)
        self.gaussians.check_triangles(len(mesh.triangles), "FLAME with teeth")
        self.flame, self.triangles, self.size = flame, mesh.triangles, (size, size)
        self.view: View = view
        self._layer = FlameLayer(mesh)
        shape = np.zeros(0, np.float32) if own.shape is None else own.shape
        self._person = {
            "shape": torch.from_numpy(used_components(f"{beside}: shape", shape[None], flame.n_shape, flame.source))
        }
        self._offset = np.zeros_like(mesh.v_template) if own.static_offset is None else own.static_offset
        self.background = developed((studio or Studio()).background(size, size))

    def vertices(self, motion: FlameMotion, t: int) -> FloatArray:
        """The avatar's mesh (5143, 3) m, teeth last, in frame `t`.

        Raises VisemoError for expressions of more components than FLAME has; one that has none leaves them out.
        """
        expr = motion.expr[t : t + 1]
        if self.flame.n_expr:
            expr = used_components("expr", expr, self.flame.n_expr, self.flame.source)
        else:
            expr = expr[:, :0]
        offset = self._offset
        if motion.dynamic_offset is not None:
            offset = offset + motion.dynamic_offset[t]
        poses = {
            "expression": expr, "rotation": motion.rotation[t : t + 1], "neck": motion.neck_pose[t : t + 1],
            "jaw": motion.jaw_pose[t : t + 1], "eyes": motion.eyes_pose[t : t + 1],
            "translation": motion.translation[t : t + 1], "static_offset": offset,
        }  # fmt: skip
        with torch.no_grad():
            return self._layer(**self._person, **{name: torch.from_numpy(p) for name, p in poses.items()})[0].numpy()

    def splats(self, motion: FlameMotion, t: int) -> Splats:
        """The avatar's Gaussians in the world in frame `t`."""
        return pose(self.gaussians, self.vertices(motion, t), self.triangles)

    def aim(self, motion: FlameMotion) -> FlameAvatarRenderer:
        """Look at the head at rest, where the first frame has it; returns the renderer."""
        with torch.no_grad():
            rest = self._layer(**self._person, static_offset=torch.from_numpy(self._offset))[0].numpy()
        points = rest + motion.translation[0]
        chin, top = points[MIDDLE[CHIN], 1], points[:, 1].max()
        self.look(portrait(points[points[:, 1] > chin - 0.04 * (top - chin)], self.view))
        return self

    def look(self, camera: Camera) -> None:
        """Draw from another camera."""
        self.camera = camera

    def frame(self, motion: FlameMotion, t: int) -> NDArray[np.uint8]:
        """Picture (size, size, 3) uint8 sRGB of frame number `t`, once the renderer was aimed."""
        return self.draw(self.splats(motion, t), self.camera, self.size, self.background)


def write_flame_film(
    motion: FlameMotion,
    path: Path,
    flame: FlameModel,
    *,
    avatar: Path,
    size: int = 512,
    orbit: float = 0.0,
    background: str = STUDIO,
    device: Device = "auto",
) -> list[str]:
    """Write an mp4 of a motion with its sound, on an avatar; options as for `video.write_video`. Returns what was left
    out, a line each; raises as `FlameAvatarRenderer` and `video.film`."""
    renderer = FlameAvatarRenderer(avatar, flame, size, studio=studio_of(background), device=device).aim(motion)
    film(path, motion, renderer, size=size, sound=motion.sound, orbit=orbit)
    return _left_out(motion, flame)


def write_flame_sheet(
    motion: FlameMotion,
    path: Path,
    flame: FlameModel,
    *,
    avatar: Path,
    size: int = 256,
    background: str = STUDIO,
    device: Device = "auto",
) -> list[str]:
    """Write a contact sheet of a motion on an avatar, as `write_flame_film`."""
    look = {"studio": studio_of(background), "device": device}
    sheet(path, motion, lambda view: FlameAvatarRenderer(avatar, flame, size, view, **look).aim(motion))
    return _left_out(motion, flame)


def _left_out(motion: FlameMotion, flame: FlameModel) -> list[str]:
    if flame.n_expr or not motion.expr.any():
        return []
    return [f"{flame.source} has no expression components: only jaw, eyes and head move; --expressions gives others"]
