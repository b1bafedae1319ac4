"""A few frames of one pair as every method fuses them: what the pictures show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from visemo.assets import atomic
from visemo.data.store import Pair, Store
from visemo.evaluate.rivals.scene import Scene
from visemo.face.face import Face
from visemo.types import FloatArray
from visemo.units import FPS

SMILES = ("Smile2", "happy", "Pleased")  # labels that are shown rather than others, the first first
SOUNDS = (("m",), ("w",), ("b", "p"), ("aa", "ae", "ay", "ao"), ("iy",), ("f", "v"))  # one frame of each
ARRAYS, FACTS = "frames.npz", "frames.json"


@dataclass(frozen=True, eq=False)
class Showcase:
    """Displacements (n, V, 3) m of n frames by method, on the neutral (V, 3) m of who speaks."""

    pair: str
    label: str
    sounds: tuple[str, ...]  # what is said in each frame
    frames: tuple[int, ...]
    neutral: FloatArray
    motion: Mapping[str, FloatArray]
    face: str

    @classmethod
    def begin(cls, scene: Scene, moments: Mapping[str, int], face: Face) -> Showcase:
        """Nothing fused so far."""
        sounds, frames = tuple(moments), tuple(moments.values())
        return cls(scene.name, scene.label, sounds, frames, scene.neutral, {}, face.name)

    def add(self, fused: Mapping[str, FloatArray]) -> Showcase:
        """The frames of whole fused takes (T, V, 3) m too."""
        chosen = list(self.frames)
        return replace(self, motion={**self.motion, **{name: own[chosen] for name, own in fused.items()}})

    def save(self, folder: Path) -> None:
        """As frames.npz and frames.json."""
        arrays: dict[str, Any] = {f"motion {name}": own for name, own in self.motion.items()}
        with atomic(folder / ARRAYS) as temporary, temporary.open("wb") as file:
            np.savez(file, neutral=self.neutral, **arrays)
        facts = {"pair": self.pair, "label": self.label, "face": self.face, "methods": list(self.motion)}
        with atomic(folder / FACTS) as temporary:
            temporary.write_text(json.dumps({**facts, "sounds": self.sounds, "frames": self.frames}, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Showcase | None:
        """What was saved there; None for nothing."""
        if not (folder / FACTS).exists():
            return None
        facts = json.loads((folder / FACTS).read_text())
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            motion = {name: arrays[f"motion {name}"] for name in facts["methods"]}
            sounds, frames = tuple(facts["sounds"]), tuple(facts["frames"])
            return cls(facts["pair"], facts["label"], sounds, frames, arrays["neutral"], motion, facts["face"])

    @staticmethod
    def methods(folder: Path) -> tuple[str, ...]:
        """Names of the methods that are saved there."""
        path = folder / FACTS
        return tuple(json.loads(path.read_text())["methods"]) if path.exists() else ()


def choose_pair(pairs: Sequence[tuple[Store, Pair]]) -> tuple[Store, Pair]:
    """The first pair of the most smiling label whose talk has both /m/ and /w/; the first of all where none has."""
    for label in SMILES:
        for store, pair in pairs:
            said = {phone.name for phone in store.phones(pair.speech)}
            if store.sequence(pair.expression).label == label and {"m", "w"} <= said:
                return store, pair
    return pairs[0]


def choose_frames(scene: Scene) -> dict[str, int]:
    """For each of `SOUNDS` that is said, the middle of the one at which most of the expression is shown; three frames
    around its height where no phones are known."""
    shown = np.einsum("tvc,tvc->t", scene.expression, scene.expression)
    moments = {}
    for names in SOUNDS:
        said = [(phone, round((phone.start + phone.end) / 2 * FPS)) for phone in scene.phones if phone.name in names]
        said = [(phone, t) for phone, t in said if t < len(shown)]
        if said:
            phone, frame = max(said, key=lambda moment: shown[moment[1]])
            moments[f"/{phone.name}/"] = frame
    height = int(shown.argmax())
    return moments or {f"{t / FPS:.2f} s": t for t in sorted({height // 2, height, (height + len(shown) - 1) // 2})}
