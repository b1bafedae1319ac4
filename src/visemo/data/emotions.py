"""What a planted expression does to the face: recipes in ARKit shapes, and how far it opens the mouth on the way.

An expression's own shapes never part the lips: what opens them in an expression take is counted as speech-like
and planted separately, so that a face which smiles can still close its lips for a /b/. The openings are those of
real apexes where these are known, and plausible elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visemo.face.arkit import ARKIT_NAMES
from visemo.types import FloatArray, VisemoError


@dataclass(frozen=True)
class Emotion:
    """`recipe` and `opening` are weights by shape name (a stem stands for its left and right); `gap` is the mean
    lip gap in mm that the opening shapes reach at an average apex."""

    recipe: dict[str, float]
    opening: dict[str, float]
    gap: float


_SPEAK = {"jawOpen": 1.0, "mouthLowerDown": 0.5, "mouthUpperUp": 0.3}
_TEETH = {"jawOpen": 0.45, "mouthLowerDown": 1.0, "mouthUpperUp": 0.8, "mouthStretch": 0.2}
_GAPE = {"jawOpen": 1.0, "mouthLowerDown": 0.15, "mouthFunnel": 0.25}
_GRIN = {"jawOpen": 0.35, "mouthLowerDown": 0.6, "mouthUpperUp": 1.0}
_POUT = {"jawOpen": 0.8, "mouthFunnel": 0.7, "mouthPucker": 0.4}

EMOTIONS: dict[str, Emotion] = {
    "neutral": Emotion({"mouthPress": 0.10, "browInnerUp": 0.05, "eyeSquint": 0.06}, _SPEAK, 2.0),
    "happy": Emotion(
        {"mouthSmile": 0.90, "cheekSquint": 0.85, "eyeSquint": 0.75, "mouthDimple": 0.20, "browOuterUp": 0.10},
        _GRIN,
        6.0,
    ),
    "sad": Emotion(
        {"mouthFrown": 0.75, "browInnerUp": 0.95, "mouthShrugLower": 0.30, "mouthShrugUpper": 0.25, "eyeSquint": 0.20,
         "eyeBlink": 0.14, "eyeLookDown": 0.25},
        _SPEAK,
        9.0,
    ),
    "angry": Emotion(
        {"browDown": 1.00, "eyeWide": 0.35, "eyeSquint": 0.45, "noseSneer": 0.25, "mouthPress": 0.95,
         "mouthFrown": 0.25, "mouthShrugLower": 0.25},
        _TEETH,
        11.0,
    ),
    "disgust": Emotion(
        {"noseSneer": 1.00, "mouthShrugUpper": 0.60, "mouthFrown": 0.45, "mouthShrugLower": 0.20, "browDown": 0.40,
         "cheekSquint": 0.70, "eyeSquint": 0.60, "eyeBlink": 0.10},
        {"jawOpen": 0.4, "mouthUpperUp": 1.0, "mouthLowerDown": 0.4},
        7.0,
    ),
    "fear": Emotion(
        {"browInnerUp": 0.90, "browOuterUp": 0.50, "browDown": 0.25, "eyeWide": 1.00, "mouthStretch": 0.80,
         "mouthFrown": 0.20},
        {**_TEETH, "jawOpen": 0.9},
        14.0,
    ),
    "surprise": Emotion(
        {"browInnerUp": 0.90, "browOuterUp": 1.00, "eyeWide": 0.90, "mouthPucker": 0.15},
        _GAPE,
        18.0,
    ),
    "Afraid": Emotion(
        {"browInnerUp": 1.00, "browDown": 0.40, "eyeWide": 0.75, "mouthStretch": 0.70, "mouthFrown": 0.45,
         "mouthShrugLower": 0.30},
        _TEETH,
        15.0,
    ),
    "Irritated1": Emotion(
        {"browDown": 0.85, "noseSneer": 0.60, "mouthFrown": 0.40, "eyeSquint": 0.50, "cheekSquint": 0.20,
         "mouthStretch": 0.30, "mouthDimpleRight": 0.40},
        _TEETH,
        13.0,
    ),
    "Sad1": Emotion(
        {"mouthFrown": 0.75, "browInnerUp": 1.00, "eyeSquint": 0.40, "mouthStretch": 0.30, "cheekSquint": 0.30},
        _SPEAK,
        12.0,
    ),
    "Smile2": Emotion(
        {"mouthSmile": 0.80, "mouthDimple": 0.50, "mouthStretch": 0.25, "cheekSquint": 0.35, "eyeSquint": 0.20,
         "browInnerUp": 0.15, "browOuterUp": 0.20},
        _GRIN,
        5.5,
    ),
    "Drunk2": Emotion(
        {"eyeBlinkLeft": 0.42, "eyeBlinkRight": 0.34, "browOuterUp": 0.40, "browInnerUp": 0.35,
         "mouthSmileLeft": 0.45, "mouthLeft": 0.25, "cheekPuff": 0.20},
        {"jawOpen": 1.0, "mouthLowerDown": 0.3, "jawLeft": 0.1},
        8.0,
    ),
    "Ill": Emotion(
        {"browInnerUp": 0.75, "browDown": 0.35, "eyeBlink": 0.28, "eyeSquint": 0.20, "mouthFrown": 0.60,
         "noseSneer": 0.40, "mouthShrugUpper": 0.25, "cheekPuff": 0.45},
        _POUT,
        9.0,
    ),
    "Moody": Emotion(
        {"browDown": 0.65, "mouthPucker": 0.40, "mouthShrugLower": 0.50, "mouthShrugUpper": 0.40, "mouthFrown": 0.40,
         "eyeSquint": 0.15, "eyeBlink": 0.10},
        _POUT,
        4.0,
    ),
    "Pleased": Emotion(
        {"mouthSmile": 0.60, "mouthPress": 0.35, "mouthDimple": 0.40, "browInnerUp": 0.30, "browOuterUp": 0.30,
         "cheekSquint": 0.35, "eyeSquint": 0.30},
        _SPEAK,
        4.0,
    ),
    "Suspicious": Emotion(
        {"browDownLeft": 0.75, "browOuterUpRight": 0.65, "eyeSquint": 0.85, "eyeBlinkLeft": 0.12, "mouthPress": 0.40,
         "mouthLeft": 0.30, "mouthDimpleLeft": 0.35},
        _SPEAK,
        3.0,
    ),
    "Upset": Emotion(
        {"browInnerUp": 0.65, "browDown": 0.70, "mouthFrown": 0.60, "mouthPress": 0.40, "mouthShrugLower": 0.70,
         "cheekSquint": 0.20, "noseSneer": 0.15, "eyeSquint": 0.45},
        _TEETH,
        10.0,
    ),
}  # fmt: skip

# what else could part the lips on the way, for a corpus of another manner: label by label in turn
OTHER_OPENINGS = (
    {"jawOpen": 0.6, "mouthFunnel": 1.0},
    {"jawOpen": 1.0, "jawForward": 0.3},
    {"jawOpen": 0.4, "mouthLowerDown": 0.9, "mouthStretch": 0.4},
    {"jawOpen": 0.2, "mouthUpperUp": 1.0, "mouthDimple": 0.3},
)

BASIC = ("neutral", "happy", "sad", "angry", "disgust", "fear", "surprise")
FLORENCE = tuple(name for name in EMOTIONS if name not in BASIC)


def weights(recipe: dict[str, float]) -> FloatArray:
    """(52,) float32 of a recipe; "mouthSmile" stands for both sides. Raises VisemoError for an unknown shape."""
    row = np.zeros(len(ARKIT_NAMES), np.float32)
    for name, value in recipe.items():
        sides = [k for k, full in enumerate(ARKIT_NAMES) if full in (name, f"{name}Left", f"{name}Right")]
        if not sides:
            raise VisemoError(f"recipe: got shape {name!r}, expected an ARKit name or its stem")
        row[sides] = value
    return row


def is_upper(name: str) -> bool:
    """Whether a shape belongs to eyes and brows."""
    return name.startswith(("eye", "brow"))
