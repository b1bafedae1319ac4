"""Contact sheets of everything one wants to see of the built-in head and the shipped model.

    .venv/bin/python runs/gallery.py OUT_FOLDER [SOUND]

SOUND is spoken with seven emotions and in the four modes; by default the sentence that comes with the package.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import visemo
from visemo.assets import ASSETS
from visemo.data.coarticulation import speech_curves
from visemo.data.emotions import BASIC, EMOTIONS, weights
from visemo.data.store import Segment
from visemo.evaluate.metrics import lip_gap
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.face.library import load_face
from visemo.render.camera import View
from visemo.render.video import FaceRenderer, contact_sheet
from visemo.types import Animation, FloatArray

SIZE = 220
TALK = ("aa", "ae", "ao", "iy", "uw", "m", "f", "th", "sh", "s", "l", "k")
# where the mouth is in a picture of twice SIZE
MOUTH: dict[View, tuple[slice, slice]] = {
    "front": (slice(250, 400), slice(145, 295)), "three_quarter": (slice(250, 400), slice(85, 235)),
}  # fmt: skip
PAIRS = (
    {"jawOpen": 0.6, "mouthFunnel": 0.5},
    {"jawOpen": 0.6, "mouthClose": 0.6},
    {"mouthSmile": 0.8, "mouthPucker": 0.5},
    {"eyeBlink": 1.0, "eyeSquint": 0.6},
    {"browDown": 0.9, "eyeSquint": 0.6},
    {"mouthSmile": 0.8, "jawOpen": 0.4},
    {"mouthRollLower": 0.8, "jawOpen": 0.2},
)


def posed(face: Face, rows: list[FloatArray], neutral: FloatArray | None = None) -> Animation:
    """A take whose frames are the rows (52,) of ARKit weights."""
    shapes = np.stack([face.shape(name) for name in ARKIT_NAMES])
    frames, none = len(rows), np.zeros((1, *face.template.shape), np.float32)
    return Animation(
        np.zeros((frames, 1), np.float32),
        np.stack(rows).astype(np.float32),
        np.zeros((frames, len(shapes)), np.float32),
        np.zeros((frames, 1), np.float32),
        np.concatenate([none, shapes]),
        face.template if neutral is None else neutral,
        face.triangles,
        face.lip_pairs,
        face.name,
    )


def pictures(clip: Animation, face: Face, view: View = "front", size: int = SIZE) -> list[np.ndarray]:
    renderer = FaceRenderer(face, clip.basis, size, view)
    return [renderer.frame(clip, t) for t in range(clip.frames)]


def captioned(picture: np.ndarray, name: str) -> np.ndarray:
    """The picture with a name written into its upper corner."""
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((6, 4), name, fill="white", font_size=15)
    return np.asarray(image)


def sheet(rows: list[list[np.ndarray]], names: list[str], columns: list[str], path: Path) -> None:
    contact_sheet(rows, names, columns, path)
    Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=192).save(path, optimize=True)


def shapes(face: Face, out: Path) -> None:
    """The 52 shapes at 1, and the sums that talk and emotion use."""
    names = list(ARKIT_NAMES)
    every = pictures(posed(face, [np.eye(52, dtype=np.float32)[k] for k in range(52)]), face)
    every = [captioned(picture, name) for picture, name in zip(every, names)]
    blank = np.full_like(every[0], 255)
    for part in range(2):
        half = every[26 * part : 26 * part + 26] + [blank] * 2
        sheet([half[k : k + 7] for k in range(0, 28, 7)], [""] * 4, [""] * 7, out / f"shapes_{part + 1}.png")
    sums = posed(face, [weights(pair) for pair in PAIRS])
    columns = [" + ".join(pair) for pair in PAIRS]
    sheet([pictures(sums, face), pictures(sums, face, "three_quarter")], ["", ""], columns, out / "sums.png")


def emotions(face: Face, out: Path) -> None:
    """Every emotion of the planted corpus, without and with the mouth that it opens."""
    names = list(EMOTIONS)
    for part, cut in (("basic", names[:7]), ("florence", names[7:])):
        shut = posed(face, [weights(EMOTIONS[name].recipe) for name in cut])
        opened = posed(face, [weights(EMOTIONS[n].recipe) + 0.5 * weights(EMOTIONS[n].opening) for n in cut])
        rows = [pictures(shut, face), pictures(shut, face, "three_quarter"), pictures(opened, face)]
        sheet(rows, ["lips shut", "", "parted"], cut, out / f"emotions_{part}.png")


def visemes(face: Face, out: Path) -> None:
    """Phones at their middle, between two neutral vowels."""

    def middle(phone: str) -> FloatArray:
        said = (Segment("ax", 0.0, 0.3), Segment(phone, 0.3, 0.5), Segment("ax", 0.5, 0.8))
        return speech_curves(said, 24)[12]

    clip = posed(face, [middle(phone) for phone in TALK])
    rows = [[p[cut] for p in pictures(clip, face, view, 2 * SIZE)] for view, cut in MOUTH.items()]
    sheet(rows, ["", ""], [phone.upper() for phone in TALK], out / "visemes.png")


def identities(face: Face, out: Path) -> None:
    """Six people of the identity shapes, at rest and with four emotions."""
    assert face.identities is not None
    random = np.random.default_rng(3)
    faces = ("neutral", "happy", "sad", "angry", "surprise")
    rows = []
    for _ in range(6):
        mixed = random.normal(0, 0.8, len(face.identities)).clip(-1.6, 1.6).astype(np.float32)
        person = face.template + np.tensordot(mixed, face.identities, 1)
        recipes = [weights({} if name == "neutral" else EMOTIONS[name].recipe) for name in faces]
        rows.append(pictures(posed(face, recipes, person), face))
    sheet(rows, [f"person {n + 1}" for n in range(6)], list(faces), out / "identities.png")


def sentence(sound: Path, out: Path) -> None:
    """One sentence in seven emotions, and the four modes side by side, at its widest and tightest moments."""
    animator = visemo.load()
    plain = animator.animate(sound, "neutral")
    gap = lip_gap(plain.vertices, plain.lip_pairs)
    loud = np.argsort(-gap)
    chosen = [int(loud[0])]
    for t in loud:  # three open moments at least half a second apart, then the tightest between them
        if len(chosen) < 3 and min(abs(int(t) - c) for c in chosen) > 15:
            chosen.append(int(t))
    inner = gap.copy()
    inner[: min(chosen)] = inner[max(chosen) :] = np.inf
    frames = sorted([*chosen, int(inner.argmin())])
    renderer = FaceRenderer(animator.face, animator.basis, SIZE)
    columns = [f"{t / plain.fps:.2f} s" for t in frames]
    rows = [[renderer.frame(animator.animate(sound, name), t) for t in frames] for name in BASIC]
    sheet(rows, list(BASIC), columns, out / "sentence.png")
    modes = ("speech", "expression", "naive", "fused")
    rows = [[renderer.frame(animator.animate(sound, "happy", mode=mode), t) for t in frames] for mode in modes]
    sheet(rows, list(modes), columns, out / "modes.png")


def main(out: Path, sound: Path = ASSETS / "speech.flac") -> None:
    out.mkdir(parents=True, exist_ok=True)
    face = load_face("builtin")
    for draw in (shapes, emotions, visemes, identities):
        draw(face, out)
    sentence(sound, out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
