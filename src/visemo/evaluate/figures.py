"""The paper's pictures: learned blendshapes (Fig. 4), all methods on the same sentence (Fig. 5), ablations (Fig. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from visemo.evaluate.heat import Portraits
from visemo.evaluate.rivals.contest import TRUTH
from visemo.evaluate.rivals.showcase import Showcase
from visemo.face.face import Face
from visemo.models.fusion import Fusion
from visemo.models.losses import shape_rms
from visemo.render.video import Picture, contact_sheet
from visemo.training.corpus import Recording
from visemo.types import FloatArray, IntArray, VisemoError
from visemo.units import MM_PER_M

SHAPES = 8  # of each factor
FARTHEST = 12.0  # mm that the farthest vertex of a pictured blendshape moves
LARGEST = 6.0  # times its size at weight 1 that a blendshape is drawn, at most
TOP = 6.0  # mm, end of the colour scale of errors
MOUTH = 0.42  # of a picture's height, the side of what is cut out around the lips


def blendshape_figure(face: Face, fusion: Fusion, recordings: Sequence[Recording], path: Path) -> None:
    """Fig. 4: the blendshapes that move most in some takes, enlarged until they are seen; speech above expression.

    Parameters
    ----------
    recordings : takes of both kinds, which decide which blendshapes are shown, and which way

    Raises
    ------
    VisemoError
        for takes of one kind only, or a missing folder
    """
    rows, names = [], []
    for kind, letter in (("speech", "A"), ("expression", "E")):
        own = [recording for recording in recordings if recording.take.kind == kind]
        if not own:
            raise VisemoError(f"blendshapes: got no {kind} takes, expected some of both kinds")
        chosen, signs = strongest(fusion, own, SHAPES)
        basis = fusion.basis.detach().numpy()[chosen] * signs[:, None, None]
        size = MM_PER_M * np.linalg.norm(basis, axis=2).max(axis=1)
        factors = np.minimum(FARTHEST / np.maximum(size, 1e-6), LARGEST).astype(np.float32)
        portraits = Portraits(face, basis * factors[:, None, None])
        rows.append([portraits.look(k, face.template) for k in range(len(chosen))])
        first = 0 if kind == "speech" else fusion.config.speech_shapes
        names.append([f"{letter}{k - first + 1} x {f:.1f}" for k, f in zip(chosen, signs * factors)])
    pictures = [captioned(picture, name) for row, said in zip(rows, names) for picture, name in zip(row, said)]
    wide = min(map(len, rows))
    contact_sheet([pictures[:wide], pictures[len(rows[0]) :][:wide]], ["speech", "expression"], [], path)


@torch.inference_mode()
def strongest(fusion: Fusion, recordings: Sequence[Recording], count: int) -> tuple[IntArray, FloatArray]:
    """Rows of the basis, of the takes' own factor, that move most in takes of one kind, and the sign of their weights.

    Returns
    -------
    (n,) rows, strongest first, n <= count; (n,) -1 or 1, the way each goes farther
    """
    speech = recordings[0].take.kind == "speech"
    encode = fusion.encode_speech if speech else fusion.encode_expression
    weights = torch.cat([encode(block)[0 if speech else 1] for r in recordings for block in r.blocks()])
    first = 0 if speech else fusion.config.speech_shapes
    own = slice(first, first + weights.shape[1])
    moved = weights.square().mean(dim=0) * shape_rms(fusion.basis[own]).square()
    order = moved.argsort(descending=True)[:count]
    signs = torch.where(weights[:, order].pow(3).mean(dim=0) < 0, -1.0, 1.0)
    return (order + first).numpy().astype(np.int32), signs.numpy()


def methods_figure(shown: Showcase, face: Face, methods: Sequence[str], path: Path) -> None:
    """Fig. 5: the same frames of one pair as each method fuses them. Raises VisemoError for a method not shown."""
    names = _known(shown, methods)
    portraits = [Portraits(face, shown.motion[name]) for name in names]
    rows = [[drawn.look(k, shown.neutral) for k in range(len(shown.frames))] for drawn in portraits]
    contact_sheet(rows, names, [f"{sound}, {shown.label}" for sound in shown.sounds], path)


def ablation_figure(shown: Showcase, face: Face, methods: Sequence[str], sounds: Sequence[str], path: Path) -> None:
    """Fig. 6: face, mouth, and errors against the truth, of the frames of a few sounds (those that there are).

    Raises VisemoError for a method not shown.
    """
    names = _known(shown, methods)
    frames = [shown.sounds.index(sound) for sound in sounds if sound in shown.sounds] or [0]
    rows = []
    for name in names:
        portraits, row = Portraits(face, shown.motion[name]), []
        errors = MM_PER_M * np.linalg.norm(shown.motion[name] - shown.motion[TRUTH], axis=2)
        for k in frames:
            picture = portraits.look(k, shown.neutral)
            row += [picture, mouth_of(picture, face), portraits.heat(k, shown.neutral, errors[k], TOP)]
        rows.append(row)
    said = [shown.sounds[k] for k in frames]
    columns = [text for sound in said for text in (f"{sound}, {shown.label}", "mouth", f"error, 0 to {TOP:g} mm")]
    contact_sheet(rows, names, columns, path)


def mouth_of(picture: Picture, face: Face) -> Picture:
    """The part of a face's picture around its lips, as large as the picture."""
    height, width = picture.shape[:2]
    up = face.template[:, 1]
    middle = float((up.max() - up[face.region("lips")].mean()) / (up.max() - up.min())) * height
    tall = MOUTH * height
    wide = tall * width / height
    top = min(max(0.0, middle - tall / 2), height - tall)
    box = ((width - wide) / 2, top, (width + wide) / 2, top + tall)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC, box))


def captioned(picture: Picture, text: str) -> Picture:
    """The picture with a line of text in its upper corner."""
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((6, 3), text, fill="white", font_size=max(12, picture.shape[0] // 16))
    return np.asarray(image)


def _known(shown: Showcase, methods: Sequence[str]) -> list[str]:
    """The truth, then the methods."""
    missing = [name for name in methods if name not in shown.motion]
    if missing:
        raise VisemoError(f"figure: got method {missing[0]!r}, expected one of {', '.join(shown.motion)}")
    return [TRUTH, *(name for name in methods if name != TRUTH)]
