"""The verb that makes Gaussian avatars: avatar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from visemo.cli.verb import Verb, make_folder, say
from visemo.types import VisemoError


@dataclass(frozen=True)
class Avatar(Verb):
    """Make a Gaussian avatar of a face, which `visemo render --avatar` draws."""

    source: Annotated[Positional[Literal["from-face"]], arg(metavar="from-face")]
    """what it is made from: a face with colours"""
    face: Annotated[Positional[str], arg(metavar="builtin|ict|DIR")]
    """the face; takes on it move the avatar"""
    out: Annotated[Path, arg(aliases=("-o",), metavar="DIR")] = Path("avatar")
    """folder for point_cloud.ply, laid out as GaussianAvatars does, and avatar.json"""

    fit: Annotated[int, arg(metavar="N")] = 0
    """fit colours, places and sizes to this many pictures of the mesh; 27 take half a minute"""

    examples: ClassVar[tuple[str, ...]] = ("visemo avatar from-face builtin --fit 27 -o head",)

    def run(self) -> int:
        from visemo.avatar.description import CLOUD
        from visemo.avatar.from_face import avatar_from_face, write_avatar
        from visemo.face.library import load_face

        if self.fit < 0:
            raise VisemoError(f"--fit: got {self.fit}, expected a number of pictures, such as 27, or 0 for no fit")
        face = load_face(self.face)
        folder = make_folder(self.out, parents=True)
        gaussians = avatar_from_face(face)
        if self.fit:
            from visemo.avatar.fit import fit_avatar
            from visemo.render.progress import progress_bar

            with progress_bar("fitting") as done:
                fitted = fit_avatar(gaussians, face, self.fit, progress=done)
            gaussians = fitted.gaussians
            for name, (before, after) in fitted.psnr.items():
                say(f"{name}, not fitted: {before:.1f} dB before, {after:.1f} dB after")
        count = write_avatar(folder, face, gaussians)
        say(f"{self.out / CLOUD}: {count} Gaussians on {face.name}")
        return 0
