"""The verb that makes Gaussian avatars: avatar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from visemo.cli.verb import Verb, make_folder, say


@dataclass(frozen=True)
class Avatar(Verb):
    """Make a Gaussian avatar of a face, which `visemo render --avatar` draws."""

    source: Annotated[Positional[Literal["from-face"]], arg(metavar="from-face")]
    """what it is made from: a face with colours"""
    face: Annotated[Positional[str], arg(metavar="builtin|ict|DIR")]
    """the face; takes on it move the avatar"""
    out: Annotated[Path, arg(aliases=("-o",), metavar="DIR")] = Path("avatar")
    """folder for point_cloud.ply, laid out as GaussianAvatars does, and avatar.json"""

    examples: ClassVar[tuple[str, ...]] = ("visemo avatar from-face builtin -o head",)

    def run(self) -> int:
        from visemo.avatar.description import CLOUD
        from visemo.avatar.from_face import write_avatar
        from visemo.face.library import load_face

        face = load_face(self.face)
        count = write_avatar(make_folder(self.out, parents=True), face)
        say(f"{self.out / CLOUD}: {count} Gaussians on {face.name}")
        return 0
