"""The README's picture and the figures under it: real recordings spoken with six expressions.

    .venv/bin/python runs/first_picture.py FOLDER_OF_RECORDINGS docs/img/first.png

FOLDER holds recordings with `NAME.phones.json` beside them (begin, dur, phone). Each is drawn at the
loudest open vowel and at the tightest /m/ (or /b p/ where it has none) away from both ends, +- 50 ms.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import visemo
from visemo.evaluate.metrics import crossing, lip_gap
from visemo.media import load_audio
from visemo.render.video import FaceRenderer, contact_sheet
from visemo.types import Waveform
from visemo.units import FPS, MM_PER_M, SAMPLE_RATE

EXPRESSIONS = ("neutral", "happy", "sad", "angry", "disgust", "surprise")
VOWELS = {"AA", "AE", "AO", "AY", "AW"}
SIZE = 240


def moments(audio: Waveform, phones: list[dict]) -> tuple[int, list[range]]:
    """Frame of the loudest open vowel, and the frames of every /m/, or of /b p/ without one."""

    def loudness(phone: dict) -> float:
        begin = round(phone["begin"] * SAMPLE_RATE)
        return float(np.square(audio.samples[begin : begin + round(phone["dur"] * SAMPLE_RATE)]).mean())

    vowel = max((phone for phone in phones if phone["phone"] in VOWELS), key=loudness)
    bilabials = [p for p in phones if p["phone"] == "M"] or [p for p in phones if p["phone"] in {"B", "P"}]
    closures = [
        range(max(0, int((p["begin"] - 0.05) * FPS)), int((p["begin"] + p["dur"] + 0.05) * FPS) + 1) for p in bilabials
    ]
    return round((vowel["begin"] + vowel["dur"] / 2) * FPS), closures


def main(folder: Path, out: Path) -> None:
    animator = visemo.load()
    face = animator.face
    renderer = FaceRenderer(face, animator.basis, SIZE)
    corners = face.lip_pairs[[0, -1]].ravel()
    rows, labels = [], []
    for transcript in sorted(folder.glob("*.phones.json")):
        recording = next(p for p in sorted(folder.glob(transcript.name.split(".")[0] + ".*")) if p != transcript)
        audio, phones = load_audio(recording), json.loads(transcript.read_text())
        vowel, closures = moments(audio, phones)
        at_vowel, at_m, mouths = [], [], {}
        for expression in EXPRESSIONS:
            clip = animator.animate(audio, expression)
            gap = lip_gap(clip.vertices, clip.lip_pairs)
            inside = [t for span in closures for t in span if t < clip.frames]
            # an expression takes a second to come and to go: it is drawn while it is there, if the words allow
            worn = [t for t in inside if FPS <= t < clip.frames - FPS]
            tightest = min(worn or inside, key=lambda t: gap[t])
            around = max(range(max(0, vowel - 2), min(vowel + 3, clip.frames)), key=lambda t: gap[t])
            shut = [min(gap[t] for t in span if t < clip.frames) for span in closures]
            mouths[expression] = clip.vertices[:, corners]
            sys.stdout.write(
                f"{recording.name} {expression}: vowel {gap[around]:.1f} mm, "
                f"/m/ {', '.join(f'{g:.1f}' for g in shut)} mm, "
                f"crossing {crossing(clip.vertices, clip.lip_pairs).max():.2f} mm\n"
            )
            at_vowel.append(renderer.frame(clip, around))
            at_m.append(renderer.frame(clip, tightest))
        apart = np.linalg.norm(mouths["happy"] - mouths["sad"], axis=-1).mean(axis=1) * MM_PER_M
        sys.stdout.write(f"{recording.name}: mouth corners of happy and sad {np.median(apart):.1f} mm apart\n")
        rows += [at_vowel, at_m]
        labels += ["vowel", "/m/"]
    contact_sheet(rows, labels, EXPRESSIONS, out)
    Image.open(out).convert("P", palette=Image.Palette.ADAPTIVE, colors=192).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
