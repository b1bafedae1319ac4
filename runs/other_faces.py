"""The default model's animation on other heads that have ARKit's shapes: one picture, and what the carrying costs.

    .venv/bin/python runs/other_faces.py docs/img/other_faces.png FACE [FACE...]

FACE is what `visemo animate --face` takes. The sentence that comes with the package is drawn at its widest moment and
at the tightest one after it.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import visemo
from visemo.animation.retarget.another_head import onto_rig
from visemo.assets import ASSETS
from visemo.evaluate.metrics import lip_gap
from visemo.face.library import load_face
from visemo.render.video import FaceRenderer, contact_sheet

EXPRESSIONS = ("neutral", "happy", "sad", "angry", "disgust", "surprise")
SIZE = 240


def main(out: Path, names: list[str]) -> None:
    animator = visemo.load()
    clips = [animator.animate(ASSETS / "speech.flac", expression) for expression in EXPRESSIONS]
    gap = lip_gap(clips[0].vertices, clips[0].lip_pairs)
    inner = np.arange(20, len(gap) - 20)
    widest = int(inner[gap[inner].argmax()])
    after = inner[inner > widest]
    tightest = int(after[gap[after].argmin()])
    rows = []
    for name in names:
        rig = load_face(name)
        carried = [onto_rig(clip, animator.face, rig) for clip in clips]
        renderer = FaceRenderer(rig, carried[0].basis, SIZE)
        rows += [[renderer.frame(clip, t) for clip in carried] for t in (widest, tightest)]
        for expression, clip in zip(EXPRESSIONS, carried):
            told = clip.meta["retarget"]
            sys.stdout.write(
                f"{rig.name} {expression}: residual {told['residual_mm']:.2f} mm, shut lips {told['gap_mm'][1]:.2f} mm "
                f"apart in {told['shut_frames']} frames\n"
            )
    contact_sheet(rows, ["open", "shut"] * len(names), EXPRESSIONS, out)
    Image.open(out).convert("P", palette=Image.Palette.ADAPTIVE, colors=192).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
