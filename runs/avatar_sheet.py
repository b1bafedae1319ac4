"""The built-in head as a Gaussian avatar, beside its mesh: poses, and a sentence in three emotions; one picture.

    .venv/bin/python runs/avatar_sheet.py docs/img/avatar.png [AVATAR]

AVATAR is the point_cloud.ply of `visemo avatar from-face builtin`; by default one is made. How far the avatar's picture
is from the mesh's is printed for every pose, as PSNR in dB.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from gallery import posed
from PIL import Image

import visemo
from visemo.assets import ASSETS, atomic
from visemo.avatar.description import CLOUD
from visemo.avatar.from_face import write_avatar
from visemo.data.emotions import EMOTIONS, weights
from visemo.evaluate.metrics import lip_gap
from visemo.face.face import Face
from visemo.face.library import load_face
from visemo.render.avatar import AvatarRenderer
from visemo.render.camera import View
from visemo.render.video import FaceRenderer, contact_sheet
from visemo.units import FPS

SIZE = 220
POSES = {
    "neutral": {},
    "smile": EMOTIONS["happy"].recipe,
    "jaw open": {"jawOpen": 0.9},
    "blink": {"eyeBlink": 1.0},
    "look and pucker": {"eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8, "mouthPucker": 0.9},
}
TALK = ("happy", "sad", "angry")


def poses(face: Face, avatar: Path) -> tuple[list[list[np.ndarray]], list[str]]:
    """Rows of the mesh and of the avatar in POSES, and their names."""
    clip = posed(face, [weights(pose) for pose in POSES.values()])
    rows, names = [], []
    views: dict[View, str] = {"front": "avatar", "three_quarter": ""}
    for view, name in views.items():
        mesh = FaceRenderer(face, clip.basis, SIZE, view)
        splats = AvatarRenderer(avatar, face, clip.basis, SIZE, view)
        drawn = [[renderer.frame(clip, t) for t in range(clip.frames)] for renderer in (mesh, splats)]
        for pose, wanted, got in zip(POSES, *drawn):
            error = np.square(got.astype(float) - wanted).mean()
            print(f"{view}, {pose}: {10 * np.log10(255**2 / error):.1f} dB")
        rows += drawn if view == "front" else drawn[1:]
        names += ["mesh", name] if view == "front" else [name]
    return rows, names


def sentence(avatar: Path) -> tuple[list[list[np.ndarray]], list[str]]:
    """The sentence that comes with the package at its widest moments, a row for each emotion of TALK, and the times."""
    animator = visemo.load()
    clips = [animator.animate(ASSETS / "speech.flac", name) for name in TALK]
    gap = lip_gap(clips[0].vertices, clips[0].lip_pairs)
    chosen: list[int] = []
    for t in np.argsort(-gap):
        if all(abs(int(t) - c) > 10 for c in chosen):
            chosen.append(int(t))
    renderer = AvatarRenderer(avatar, animator.face, animator.basis, SIZE)
    moments = sorted(chosen[: len(POSES)])
    return [[renderer.frame(clip, t) for t in moments] for clip in clips], [f"{t / FPS:.1f} s" for t in moments]


def page(folder: Path, rows: list[list[np.ndarray]], names: list[str], columns: list[str]) -> Image.Image:
    """A contact sheet as a picture."""
    contact_sheet(rows, names, columns, folder / "page.png")
    with Image.open(folder / "page.png") as drawn:
        return drawn.convert("RGB")


def main(out: Path, avatar: Path | None = None) -> None:
    face = load_face("builtin")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if avatar is None:
            write_avatar(folder, face)
            avatar = folder / CLOUD
        rows, names = poses(face, avatar)
        talk, moments = sentence(avatar)
        pages = [page(folder, rows, names, list(POSES)), page(folder, talk, list(TALK), moments)]
    whole = Image.new("RGB", (max(p.width for p in pages), sum(p.height for p in pages)), "white")
    at = 0
    for part in pages:
        whole.paste(part, (whole.width - part.width, at))
        at += part.height
    with atomic(out) as temporary:
        whole.convert("P", palette=Image.Palette.ADAPTIVE, colors=192).save(temporary, format="PNG", optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
