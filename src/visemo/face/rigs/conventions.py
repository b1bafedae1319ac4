"""What names usually mean: rigs of which only the names are known, as recipes in ARKit's curves.

`arkit`, `vrm` and `oculus` need no file. The shapes are put together out of ARKit's on the built-in head (or on the
model's own face, where it has them), so the curves fit any avatar as well as that avatar's shapes fit these recipes;
nobody has looked at it. The visemes follow `visemo.data.visemes`, at the emphasised articulation that avatars are
sculpted with; a recipe's sides are the same unless it names one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.face.rigs.named import Rig
from visemo.types import Mesh, VisemoError

Recipe = Mapping[str, float]  # ARKit's name, or the stem of a pair of them -> weight

_AA = {"jawOpen": 0.55, "mouthLowerDown": 0.40, "mouthUpperUp": 0.28, "mouthFunnel": 0.05}
_E = {"jawOpen": 0.36, "mouthLowerDown": 0.45, "mouthUpperUp": 0.32, "mouthStretch": 0.14, "mouthSmile": 0.11}
_IH = {"jawOpen": 0.18, "mouthLowerDown": 0.38, "mouthUpperUp": 0.27, "mouthStretch": 0.28, "mouthSmile": 0.22}
_OH = {"jawOpen": 0.38, "mouthLowerDown": 0.22, "mouthUpperUp": 0.12, "mouthFunnel": 0.50, "mouthPucker": 0.25}
_OU = {"jawOpen": 0.14, "mouthLowerDown": 0.08, "mouthUpperUp": 0.05, "mouthFunnel": 0.35, "mouthPucker": 0.75}

# the 15 visemes of Oculus (Meta) Lipsync, in its order; `sil` is the face at rest and has no shape
OCULUS: Mapping[str, Recipe] = MappingProxyType({
    "sil": {},
    "PP": {"mouthPress": 0.35, "mouthRollLower": 0.15, "mouthRollUpper": 0.15},
    "FF": {"jawOpen": 0.05, "mouthRollLower": 0.80, "mouthUpperUp": 0.25},
    "TH": {"jawOpen": 0.16, "mouthLowerDown": 0.30, "mouthUpperUp": 0.18, "tongueOut": 0.30},
    "DD": {"jawOpen": 0.13, "mouthLowerDown": 0.28, "mouthUpperUp": 0.17, "mouthStretch": 0.06},
    "kk": {"jawOpen": 0.20, "mouthLowerDown": 0.28, "mouthUpperUp": 0.18, "mouthStretch": 0.04},
    "CH": {"jawOpen": 0.07, "mouthLowerDown": 0.35, "mouthUpperUp": 0.32, "mouthFunnel": 0.65, "mouthPucker": 0.22},
    "SS": {"jawOpen": 0.05, "mouthLowerDown": 0.38, "mouthUpperUp": 0.27, "mouthStretch": 0.13, "mouthSmile": 0.10},
    "nn": {"jawOpen": 0.15, "mouthLowerDown": 0.28, "mouthUpperUp": 0.17, "mouthStretch": 0.05},
    "RR": {"jawOpen": 0.15, "mouthLowerDown": 0.22, "mouthUpperUp": 0.17, "mouthFunnel": 0.42, "mouthPucker": 0.27},
    "aa": _AA,
    "E": _E,
    "ih": _IH,
    "oh": _OH,
    "ou": _OU,
})  # fmt: skip

# the presets of VRM 1.0 that have a usual look; gaze is left to the avatar's own bones
VRM: Mapping[str, Recipe] = MappingProxyType({
    "aa": _AA,
    "ih": _IH,
    "ou": _OU,
    "ee": _E,
    "oh": _OH,
    "blink": {"eyeBlink": 1.0},
    "blinkLeft": {"eyeBlinkLeft": 1.0},
    "blinkRight": {"eyeBlinkRight": 1.0},
    "happy": {"mouthSmile": 0.80, "cheekSquint": 0.60, "eyeSquint": 0.30, "mouthDimple": 0.15},
    "angry": {"browDown": 0.90, "noseSneer": 0.45, "eyeSquint": 0.35, "mouthFrown": 0.35, "mouthPress": 0.25},
    "sad": {"browInnerUp": 0.80, "mouthFrown": 0.70, "mouthShrugLower": 0.30, "eyeSquint": 0.15},
    "relaxed": {"mouthSmile": 0.35, "eyeBlink": 0.25, "cheekSquint": 0.20},
    "surprised": {"browInnerUp": 0.80, "browOuterUp": 0.80, "eyeWide": 0.80, "jawOpen": 0.35},
})  # fmt: skip

ARKIT: Mapping[str, Recipe] = MappingProxyType({name: {name: 1.0} for name in ARKIT_NAMES})
CONVENTIONS: Mapping[str, Mapping[str, Recipe]] = MappingProxyType({"arkit": ARKIT, "vrm": VRM, "oculus": OCULUS})


def conventional_rig(convention: str, face: Face) -> Rig:
    """The shapes that names usually mean, on a face with all of ARKit's shapes.

    Raises VisemoError for an unknown convention, and a face without a shape that a recipe asks for.
    """
    if convention not in CONVENTIONS:
        raise VisemoError(f"convention: got {convention!r}, expected one of {', '.join(CONVENTIONS)}")
    recipes = CONVENTIONS[convention]
    shapes = np.zeros((len(recipes), *face.template.shape), np.float32)
    for row, recipe in enumerate(recipes.values()):
        for name, weight in sides(recipe).items():
            shapes[row] += np.float32(weight) * face.shape(name)
    still = [name for name, shape in zip(recipes, shapes) if not shape.any()]
    notes = (
        f"{convention} by name alone: each name is taken as a recipe of ARKit's shapes on {face.name}; how well an "
        "avatar follows depends on its own shapes",
        *((f"no shape, so always 0: {', '.join(still)}",) if still else ()),
    )
    known = Rig.of_face(face)
    return Rig(
        convention, Mesh(face.template, face.triangles), tuple(recipes), shapes, known.landmarks, notes,
        visemes_only=recipes is OCULUS,
    )  # fmt: skip


def sides(recipe: Recipe) -> dict[str, float]:
    """A recipe in ARKit's own names: a stem stands for both sides."""
    return {
        name: weight
        for given, weight in recipe.items()
        for name in ((given,) if given in ARKIT_NAMES else (f"{given}Left", f"{given}Right"))
    }
