"""A timeline of expressions: keys in time, cross-faded by smoothstep.

`{"keys": [{"t": 0.0, "expression": "happy", "intensity": 0.8, "fade": 0.3}, ...], "mix": "replace"}`;
`t` and `fade` in seconds. With `replace` each key fades the ones before it out; with `add` every
expression is a layer of its own, re-set by its own next key, and `neutral` fades all layers out.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from visemo.models.expressions import NEUTRAL, ExpressionLibrary, check_intensity, smoothstep
from visemo.types import FloatArray, VisemoError
from visemo.units import FPS

Mix = Literal["replace", "add"]
DEFAULT_FADE = 0.3  # s


@dataclass(frozen=True)
class Key:
    """From `t` s on, over `fade` s, the face goes to `expression` at `intensity`."""

    t: float
    expression: str
    intensity: float = 1.0
    fade: float = DEFAULT_FADE

    def __post_init__(self) -> None:
        for name in ("t", "fade"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value < 0:
                raise VisemoError(f"timeline key: got {name} {value!r}, expected seconds from 0 up")
        if not isinstance(self.expression, str):
            raise VisemoError(f"timeline key: got expression {self.expression!r}, expected a name")
        check_intensity(self.intensity)


@dataclass(frozen=True)
class Timeline:
    """Keys sorted by time, and how they mix."""

    keys: tuple[Key, ...]
    mix: Mix = "replace"

    def __post_init__(self) -> None:
        if not self.keys:
            raise VisemoError("timeline: got no keys, expected at least one")
        if self.mix not in ("replace", "add"):
            raise VisemoError(f"timeline: got mix {self.mix!r}, expected 'replace' or 'add'")
        for before, after in zip(self.keys, self.keys[1:]):
            if after.t < before.t:
                raise VisemoError(f"timeline: got t {after.t} after {before.t}, expected keys sorted by time")

    @classmethod
    def from_dict(cls, data: Any) -> Timeline:
        """Build from parsed JSON, strictly: unknown fields are refused, not ignored."""
        _check_fields("timeline", data, required={"keys"}, optional={"mix"})
        if not isinstance(data["keys"], list):
            raise VisemoError(f"timeline: got keys {data['keys']!r}, expected a list")
        for key in data["keys"]:
            _check_fields("timeline key", key, required={"t", "expression"}, optional={"intensity", "fade"})
        return cls(tuple(Key(**key) for key in data["keys"]), data.get("mix", "replace"))

    @classmethod
    def read(cls, path: Path) -> Timeline:
        """Read a timeline file. Raises VisemoError when there is none or it is not one."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_no_duplicates)
        except OSError as error:
            raise VisemoError(f"timeline: got {path} ({error.strerror}), expected a readable JSON file") from error
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise VisemoError(f"timeline: got {path} ({error}), expected JSON text") from error
        return cls.from_dict(data)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, every field spelled out."""
        return {"keys": [dict(vars(key)) for key in self.keys], "mix": self.mix}

    def levels(self, seconds: np.ndarray) -> dict[str, np.ndarray]:
        """How strong each expression is (0..1.5) at times (n,) s: {name: (n,)}."""
        strengths = {key.expression: np.zeros(len(seconds)) for key in self.keys}
        for key in self.keys:
            # hardly any fade is a step, which has happened at t itself
            rise = smoothstep((seconds - key.t) / key.fade) if key.fade > 1e-6 else (seconds >= key.t).astype(float)
            for name, level in strengths.items():
                if self.mix == "replace" or key.expression in (name, NEUTRAL):
                    strengths[name] = level * (1 - rise)
            strengths[key.expression] += rise * key.intensity
        return strengths

    def sample(
        self, library: ExpressionLibrary, frames: int, fps: float = FPS, seed: int = 0
    ) -> tuple[FloatArray, FloatArray]:
        """Weights w_E (T, K_E) and eps_E (T, K_A) of the timeline over a clip, float32.

        Raises
        ------
        VisemoError
            With the list, when a key names an expression that the library does not have.
        """
        own = Timeline(tuple(Key(k.t, library.resolve(k.expression), k.intensity, k.fade) for k in self.keys), self.mix)
        seconds = np.arange(frames) / fps
        k_e, k_a = library.shapes
        w_e, eps_e = np.zeros((frames, k_e), np.float32), np.zeros((frames, k_a), np.float32)
        for name, level in own.levels(seconds).items():
            held, leak = library.hold(name, seconds, seed)
            w_e += level[:, None].astype(np.float32) * held
            eps_e += level[:, None].astype(np.float32) * leak
        return w_e, eps_e


def _check_fields(what: str, data: Any, required: set[str], optional: set[str]) -> None:
    if not isinstance(data, dict):
        raise VisemoError(f"{what}: got {data!r}, expected an object with {', '.join(sorted(required | optional))}")
    if unknown := sorted(set(data) - required - optional):
        raise VisemoError(f"{what}: got field {unknown[0]!r}, expected {', '.join(sorted(required | optional))}")
    if missing := sorted(required - set(data)):
        raise VisemoError(f"{what}: got no {missing[0]!r}, expected {', '.join(sorted(required))}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise VisemoError(f"timeline: got field {twice[0]!r} twice, expected it once")
    return dict(pairs)
