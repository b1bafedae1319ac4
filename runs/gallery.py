"""Contact sheets of everything one wants to see of the built-in head and the shipped model.

    .venv/bin/python runs/gallery.py OUT_FOLDER [SOUND]

SOUND is spoken with seven emotions and in the four modes; by default the sentence that comes with the package.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import visemo
from visemo.assets import ASSETS
from visemo.data.emotions import BASIC, EMOTIONS, weights
from visemo.data.visemes import GESTURES, VISEMES
from visemo.evaluate.metrics import lip_gap
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.face.library import load_face
from visemo.render.camera import View
from visemo.render.video import FaceRenderer, contact_sheet
from visemo.types import Animation, FloatArray

SIZE = 220
# the shapes that show a viseme's gestures, in the order of GESTURES; the tongue has none
SHOWN = ("jawOpen", "mouthLowerDown", "mouthUpperUp", "mouthFunnel", "mouthPucker", "mouthStretch", "")
TALK = {"rest": "pau", "AA": "aa", "AE": "ae", "AO": "ao", "IY": "iy", "UW": "uw", "SH": "sh", "S": "s", "L": "l"}
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


def pictures(clip: Animation, face: Face, view: View = "front") -> list[np.ndarray]:
    renderer = FaceRenderer(face, clip.basis, SIZE, view)
    return [renderer.frame(clip, t) for t in range(clip.frames)]


def sheet(rows: list[list[np.ndarray]], names: list[str], columns: list[str], path: Path) -> None:
    contact_sheet(rows, names, columns, path)
    Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=192).save(path, optimize=True)


def shapes(face: Face, out: Path) -> None:
    """The 52 shapes at 1, and the sums that talk and emotion use."""
    names = list(ARKIT_NAMES)
    every = pictures(posed(face, [np.eye(52, dtype=np.float32)[k] for k in range(52)]), face)
    for part in range(2):
        cut = slice(26 * part, 26 * part + 26)
        rows, labels = (
            [every[cut][k : k + 7] for k in range(0, 26, 7)],
            [names[cut][k : k + 7] for k in range(0, 26, 7)],
        )
        blank = np.full_like(every[0], 255)
        rows = [row + [blank] * (7 - len(row)) for row in rows]
        sheet(rows, [" ".join(row[:1]) + " ..." for row in labels], [""] * 7, out / f"shapes_{part + 1}.png")
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
    recipes = [{s: v for s, v in zip(SHOWN, VISEMES[phone].targets[: len(GESTURES)]) if s} for phone in TALK.values()]
    clip = posed(face, [weights(recipe) for recipe in recipes])
    sheet([pictures(clip, face), pictures(clip, face, "three_quarter")], ["", ""], list(TALK), out / "visemes.png")


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
    for t in loud:  # four open moments at least half a second apart, then the tightest between them
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
