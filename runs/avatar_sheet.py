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
from visemo.assets import ASSETS
from visemo.avatar.description import CLOUD
from visemo.avatar.from_face import write_avatar
from visemo.data.emotions import EMOTIONS, weights
from visemo.evaluate.metrics import lip_gap
from visemo.face.face import Face
from visemo.face.library import load_face
from visemo.render.avatar import AvatarRenderer
from visemo.render.camera import View
from visemo.render.video import FaceRenderer, contact_sheet

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


def sentence(avatar: Path) -> list[list[np.ndarray]]:
    """The sentence that comes with the package at its widest moments, in the emotions of TALK."""
    animator = visemo.load()
    clips = [animator.animate(ASSETS / "speech.flac", name) for name in TALK]
    gap = lip_gap(clips[0].vertices, clips[0].lip_pairs)
    chosen: list[int] = []
    for t in np.argsort(-gap):
        if all(abs(int(t) - c) > 10 for c in chosen):
            chosen.append(int(t))
    renderer = AvatarRenderer(avatar, animator.face, animator.basis, SIZE)
    return [[renderer.frame(clip, t) for t in sorted(chosen[: len(POSES)])] for clip in clips]


def main(out: Path, avatar: Path | None = None) -> None:
    face = load_face("builtin")
    with tempfile.TemporaryDirectory() as folder:
        if avatar is None:
            write_avatar(Path(folder), face)
            avatar = Path(folder) / CLOUD
        rows, names = poses(face, avatar)
        contact_sheet([*rows, *sentence(avatar)], [*names, *TALK], list(POSES), out)
    Image.open(out).convert("P", palette=Image.Palette.ADAPTIVE, colors=192).save(out, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
