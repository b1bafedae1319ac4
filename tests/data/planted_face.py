"""The tiny face with all 52 shapes: bumps that leave the lips together, and the few that part them."""

from dataclasses import replace

import numpy as np

from tiny import make_tiny_face
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face

PARTING = {"mouthLowerDown", "mouthFunnel", "mouthRollLower", "mouthShrugLower"}


def planted_face() -> Face:
    plain = make_tiny_face()
    lower = plain.lip_pairs[:, 1]
    mouth = plain.template[lower].mean(axis=0)
    below = plain.template[:, 1] < mouth[1] - 1e-4
    below[lower] = True
    shapes = {name: _bump(plain, name, mouth) for name in ARKIT_NAMES}
    for name in ARKIT_NAMES:
        if name.removesuffix("Left").removesuffix("Right") in PARTING:
            shapes[name][~below] = 0
    shapes["jawOpen"] = _pull(plain, mouth - [0, 0.01, 0], 0.03, [0, -0.03, -0.003])
    shapes["jawOpen"][~below] = 0
    closing = np.where(below[:, None], -shapes["jawOpen"], 0)
    near = np.abs(plain.template[:, 1] - mouth[1]) < 0.012
    shapes["mouthClose"] = np.where(near[:, None], closing, 0).astype(np.float32)
    identities = np.stack([_pull(plain, mouth, 0.05, [0, 0, 0.004]), _pull(plain, [0, 0.03, 0], 0.04, [0, 0, 0.005])])
    return replace(
        plain,
        name="planted",
        shape_names=ARKIT_NAMES,
        shapes=np.stack([shapes[name] for name in ARKIT_NAMES]),
        identity_names=("mouth_forward", "nose_forward"),
        identities=identities,
    )


def _bump(face: Face, name: str, mouth: np.ndarray) -> np.ndarray:
    """A bump of its own place, reach and direction for each shape; left and right mirrored."""
    stem = name.removesuffix("Left").removesuffix("Right")
    random = np.random.default_rng(sum(map(ord, stem)))
    side = 1 if name.endswith("Left") else -1 if name.endswith("Right") else 0
    y = {"eye": 0.04, "bro": 0.065, "nos": 0.01}.get(stem[:3], mouth[1])
    move = random.normal(0, 0.004, 3) * [side or 0, 1, 1]
    return _pull(face, [side * 0.03, y + random.normal(0, 0.003), 0], 0.012, move)


def _pull(face: Face, centre, reach: float, move) -> np.ndarray:
    squared = np.square(face.template[:, :2] - np.asarray(centre)[:2]).sum(axis=1)
    return (np.exp(-squared / (2 * reach**2))[:, None] * np.asarray(move)).astype(np.float32)
