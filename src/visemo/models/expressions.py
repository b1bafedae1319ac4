"""The expression library: recorded takes of each emotion as weights, played at any length and strength.

A take goes neutral -> apex -> neutral. Played for a clip it keeps its own way in and out (time-warped
to `ONSET` and `DECAY` seconds) and, between them, holds its apex with its own micro-motion.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy.fft
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.ndimage import median_filter

from visemo.assets import atomic
from visemo.types import FloatArray, VisemoError, check_array
from visemo.units import FPS

NEUTRAL = "neutral"
ONSET = 0.4  # s from neutral to the apex
DECAY = 0.5  # s from the apex back to neutral
MAX_INTENSITY = 1.5
BLINK = 0.25  # s, the longest that a blink lasts
CALM = 0.35  # share of a frame that may be such fast motion, if it is to be held
MICRO_BAND = 3.0  # Hz: faster wobble of a held expression is noise of the recording
MICRO_FADE = 0.3  # s over which the micro-motion joins and leaves the apex

# everyday words and the Florence 4D labels that show them; read in both directions
SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("neutral", "none", "calm"),
    ("happy", "happiness", "joy", "smile", "Smile2"),
    ("sad", "sadness", "Sad1"),
    ("angry", "anger", "Irritated1"),
    ("disgust", "disgusted", "Disgust"),
    ("fear", "fearful", "Afraid"),
    ("surprise", "surprised", "Surprised"),
)

_SCHEMA = 1


class ExpressionEncoder(Protocol):
    """What a motion is turned into a take with: E_e of the fusion model."""

    def encode_expression(self, displacements: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, V, 3) m -> eps_E (B, K_A), w_E (B, K_E)."""
        ...


def smoothstep(x: np.ndarray | float) -> np.ndarray:
    """3x^2 - 2x^3 clipped to [0, 1]: rises from 0 to 1 with zero slope at both ends."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def without_blinks(weights: FloatArray, fps: float = FPS) -> FloatArray:
    """(F, K) of which whatever comes and goes within `BLINK` seconds has gone: a median over twice that time."""
    return median_filter(weights, size=(2 * max(1, round(BLINK * fps)) + 1, 1), mode="nearest")


def check_intensity(value: object) -> float:
    """The strength of an expression, 0 (none) to 1.5; 1 is the take as recorded.

    Raises
    ------
    VisemoError
        When `value` is not a number in that range.
    """
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not 0.0 <= float(value) <= MAX_INTENSITY:  # type: ignore[arg-type]
        raise VisemoError(f"intensity: got {value!r}, expected a number from 0 to {MAX_INTENSITY}")
    return float(value)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class ExpressionTake:
    """One recorded expression as weights, frame by frame, at `fps`; `apex` is its strongest frame."""

    weights: FloatArray  # (F, K_E) w_E
    leak: FloatArray  # (F, K_A) eps_E: the speech that the recording carried
    fps: float = FPS
    apex: int = -1  # -1: the frame of largest |w_E|, blinks aside

    def __post_init__(self) -> None:
        check_array("expression take", self.weights, (None, None), np.float32)
        check_array("expression take's leak", self.leak, (len(self.weights), None), np.float32)
        if not len(self.weights):
            raise VisemoError("expression take: got no frames, expected at least one")
        if not self.fps > 0:
            raise VisemoError(f"expression take: got {self.fps} frames per second, expected a positive number")
        if self.apex == -1:
            object.__setattr__(self, "apex", self._calm_apex())
        if not 0 <= self.apex < len(self.weights):
            raise VisemoError(f"expression take: got apex {self.apex}, expected a frame of 0..{len(self.weights) - 1}")

    def _calm_apex(self) -> int:
        """The strongest frame that is no blink or twitch: an apex is held, a blink must not be. A take that does
        nothing else keeps its twitch."""
        size = np.linalg.norm(self.weights, axis=1)
        slow = without_blinks(self.weights, self.fps)
        calm = np.linalg.norm(self.weights - slow, axis=1) <= CALM * np.linalg.norm(slow, axis=1)
        held = np.where(calm, size, 0.0)
        return int((held if held.max() > CALM * size.max() else size).argmax())

    @cached_property
    def _track(self) -> np.ndarray:
        """(F, K_E + K_A) float64: both weights travel together."""
        return np.concatenate([self.weights, self.leak], axis=1).astype(np.float64)

    def _at(self, position: np.ndarray) -> np.ndarray:
        """The track at fractional frames (n,), linear in between: (n, K_E + K_A)."""
        low = np.floor(position).astype(int).clip(0, len(self._track) - 1)
        high = np.minimum(low + 1, len(self._track) - 1)
        share = (position - low)[:, None]
        return (1 - share) * self._track[low] + share * self._track[high]

    def _onset(self, s: np.ndarray) -> np.ndarray:
        """From exactly zero (s = 0) along the take's own way to its apex (s = 1)."""
        u = smoothstep(s)
        return self._at(u * self.apex) - (1 - u)[:, None] * self._track[0]

    def _decay(self, s: np.ndarray) -> np.ndarray:
        """From the apex (s = 0) along the take's own way to exactly zero (s = 1)."""
        u, last = smoothstep(s), len(self._track) - 1
        return self._at(self.apex + u * (last - self.apex)) - u[:, None] * self._track[last]

    @cached_property
    def _held(self) -> tuple[int, int]:
        """Frames start..stop-1 around the apex in which the take is held: at least 80 % of its strength."""
        strong = np.linalg.norm(self.weights, axis=1) >= 0.8 * np.linalg.norm(self.weights[self.apex])
        before, after = np.flatnonzero(~strong[: self.apex]), np.flatnonzero(~strong[self.apex :])
        start = before[-1] + 1 if len(before) else 0
        return int(start), int(self.apex + after[0]) if len(after) else len(strong)

    @cached_property
    def _micro_cosines(self) -> np.ndarray:
        """(H, K_E + K_A) cosine series of the held part's wobble, its slow bow (a parabola) removed.

        A cosine series runs forwards and backwards in turn: it loops without a seam, at any rate.
        """
        start, stop = self._held
        held = self._track[start:stop]
        count = len(held)
        if count < 6:  # three numbers of it are the parabola: nothing is left to move
            return np.zeros((0, held.shape[1]))
        bow = np.vander(np.linspace(-1, 1, count), 3)
        wobble = held - bow @ np.linalg.lstsq(bow, held, rcond=None)[0]
        harmonics = min(count, int(2 * MICRO_BAND * count / self.fps) + 1)
        return np.asarray(scipy.fft.dct(wobble, axis=0))[1:harmonics] / count

    def micro(self, seconds: np.ndarray) -> np.ndarray:
        """Micro-motion around the apex at times (n,) s: (n, K_E + K_A), endless and band-limited."""
        start, stop = self._held
        harmonic = np.arange(1, len(self._micro_cosines) + 1)
        phase = np.pi * (np.asarray(seconds)[:, None] * self.fps + 0.5) / (stop - start)
        return np.cos(phase * harmonic) @ self._micro_cosines

    def loop_seconds(self) -> float:
        """Period of the micro-motion, s."""
        start, stop = self._held
        return 2 * (stop - start) / self.fps

    def hold(self, seconds: np.ndarray, phase: float = 0.0) -> tuple[FloatArray, FloatArray]:
        """The apex held for ever: (w_E (n, K_E), eps_E (n, K_A)) at times (n,) s; phase 0..1 of the loop."""
        return self._split(self._track[self.apex] + self.micro(np.asarray(seconds) + phase * self.loop_seconds()))

    def play(self, frames: int, intensity: float = 1.0, fps: float = FPS, phase: float = 0.0):
        """Onset, hold and decay over `frames` frames at `fps`; a single frame is the apex.

        First and last frame are neutral. Clips shorter than onset + decay shrink both in proportion.

        Returns
        -------
        w_E (T, K_E) and eps_E (T, K_A), float32.
        """
        length = (frames - 1) / fps
        shrink = min(1.0, length / (ONSET + DECAY))
        onset, decay = ONSET * shrink, DECAY * shrink
        t = np.arange(frames) / fps
        track = np.repeat(self._track[self.apex][None], frames, axis=0)
        if frames > 1:
            fade = smoothstep(np.minimum(t - onset, length - decay - t) / MICRO_FADE)
            held = fade > 0
            track[held] += fade[held, None] * self.micro((t - onset)[held] + phase * self.loop_seconds())
            rising, falling = t < onset, t > length - decay
            track[rising] = self._onset(t[rising] / onset)
            track[falling] = self._decay((t[falling] - length + decay) / decay)
        return self._split(track * check_intensity(intensity))

    def _split(self, track: np.ndarray) -> tuple[FloatArray, FloatArray]:
        track = track.astype(np.float32)
        k_e = self.weights.shape[1]
        return track[:, :k_e].copy(), track[:, k_e:].copy()


def take_from_motion(
    encoder: ExpressionEncoder, displacements: FloatArray, fps: float = FPS, device: str = "cpu"
) -> ExpressionTake:
    """An expression take out of a motion (F, V, 3) m from its neutral: E_e of every frame (Eq. 4).

    One frame is an apex alone (a mesh pair); a sequence keeps its own way in and out.

    Raises
    ------
    VisemoError
        When the motion is not an array of displacements.
    """
    check_array("expression motion", displacements, (None, None, 3), np.float32)
    weights, leaks = [], []
    with torch.inference_mode():
        for start in range(0, len(displacements), 16):
            eps_e, w_e = encoder.encode_expression(torch.from_numpy(displacements[start : start + 16]).to(device))
            weights.append(w_e.float().cpu().numpy())
            leaks.append(eps_e.float().cpu().numpy())
    return ExpressionTake(np.concatenate(weights), np.concatenate(leaks), fps)


@dataclass(frozen=True, eq=False)
class ExpressionLibrary:
    """Named takes, each as weights of one fusion model. `neutral` is always there and is zero."""

    takes: Mapping[str, tuple[ExpressionTake, ...]]
    shapes: tuple[int, int]  # K_E, K_A

    def __post_init__(self) -> None:
        for name, takes in self.takes.items():
            if not takes or name == NEUTRAL:
                raise VisemoError(f"expression {name!r}: got {len(takes)} takes, expected takes of a named emotion")
            for take in takes:
                got = (take.weights.shape[1], take.leak.shape[1])
                if got != self.shapes:
                    raise VisemoError(f"expression {name!r}: got {got} shapes (K_E, K_A), expected {self.shapes}")

    @classmethod
    def from_takes(
        cls, takes: Mapping[str, Sequence[ExpressionTake | tuple[FloatArray, FloatArray]]]
    ) -> ExpressionLibrary:
        """Library of {name: takes}; a take may be a pair (w_E (F, K_E), eps_E (F, K_A)) at 30 fps.

        Raises
        ------
        VisemoError
            When there is no take at all, or takes disagree in their number of shapes.
        """
        made = {
            name: tuple(t if isinstance(t, ExpressionTake) else ExpressionTake(*t) for t in group)
            for name, group in takes.items()
            if name != NEUTRAL
        }
        first = next((group[0] for group in made.values() if group), None)
        if first is None:
            raise VisemoError("expression library: got no takes, expected at least one")
        return cls(made, (first.weights.shape[1], first.leak.shape[1]))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its own takes, neutral first."""
        return (NEUTRAL, *sorted(self.takes, key=str.lower))

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Other words that are understood: {alias: name}."""
        found: dict[str, str] = {}
        for group in SYNONYMS:
            here = [word for word in group if word == NEUTRAL or word in self.takes]
            if here:
                found.update({word: here[0] for word in group if word not in here})
        return found

    def resolve(self, name: str) -> str:
        """The library's own name for `name`, in any case of letters.

        Raises
        ------
        VisemoError
            With the list of names, when there is none.
        """
        words = {word.lower(): target for word, target in self.aliases.items()}
        words.update({word.lower(): word for word in self.names})
        if not isinstance(name, str) or name.lower() not in words:
            also = f" (also {', '.join(self.aliases)})" if self.aliases else ""
            raise VisemoError(f"expression: got {name!r}, expected one of {', '.join(self.names)}{also}")
        return words[name.lower()]

    def pick(self, name: str, seed: int = 0) -> tuple[ExpressionTake | None, float]:
        """The take that `seed` chooses and where in its micro-motion it starts (0..1); None for neutral."""
        name = self.resolve(name)
        if name == NEUTRAL:
            return None, 0.0
        takes = self.takes[name]
        chance = np.random.default_rng([abs(int(seed)), zlib.crc32(name.encode())])
        return takes[chance.integers(len(takes))], float(chance.random())

    def sample(
        self, name: str, frames: int, intensity: float = 1.0, fps: float = FPS, seed: int = 0
    ) -> tuple[FloatArray, FloatArray]:
        """Weights of one expression over a clip: onset 0.4 s, hold with micro-motion, decay 0.5 s.

        Parameters
        ----------
        name : one of `names` or `aliases`.
        frames, fps : length and rate of the clip.
        intensity : 0..1.5 times the take.
        seed : chooses the take and the phase of its micro-motion.

        Returns
        -------
        w_E (T, K_E) and eps_E (T, K_A), float32.

        Raises
        ------
        VisemoError
            For an unknown name (with the list) or an intensity outside 0..1.5.
        """
        take, phase = self.pick(name, seed)
        check_intensity(intensity)
        if take is None:
            return self._zeros(frames)
        return take.play(frames, intensity, fps, phase)

    def hold(self, name: str, seconds: np.ndarray, seed: int = 0) -> tuple[FloatArray, FloatArray]:
        """An expression at full strength at times (n,) s, for a timeline that fades it itself."""
        take, phase = self.pick(name, seed)
        return self._zeros(len(seconds)) if take is None else take.hold(seconds, phase)

    def _zeros(self, frames: int) -> tuple[FloatArray, FloatArray]:
        k_e, k_a = self.shapes
        return np.zeros((frames, k_e), np.float32), np.zeros((frames, k_a), np.float32)

    def save(self, folder: Path, half: bool = False) -> None:
        """Write expressions.json and expressions.safetensors; `half` stores float16."""
        index: dict[str, Any] = {"schema": _SCHEMA, "shapes": list(self.shapes), "takes": []}
        arrays: dict[str, np.ndarray] = {}
        for name, takes in self.takes.items():
            for number, take in enumerate(takes):
                index["takes"].append({"name": name, "number": number, "fps": take.fps, "apex": take.apex})
                arrays[f"{name}/{number}/weights"] = take.weights
                arrays[f"{name}/{number}/leak"] = take.leak
        dtype = np.float16 if half else np.float32
        with atomic(Path(folder) / "expressions.safetensors") as path:
            save_file({key: np.ascontiguousarray(a, dtype) for key, a in arrays.items()}, path)
        with atomic(Path(folder) / "expressions.json") as path:
            path.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ExpressionLibrary:
        """Read what `save` wrote, strictly.

        Raises
        ------
        VisemoError
            When a file is missing or damaged, or index and arrays do not belong together.
        """
        folder = Path(folder)
        for name in ("expressions.json", "expressions.safetensors"):
            if not (folder / name).is_file():
                raise VisemoError(f"{folder}: got no {name}, expected a model folder; check the path")
        try:
            index = json.loads((folder / "expressions.json").read_text(encoding="utf-8"))
            arrays = load_file(folder / "expressions.safetensors")
            return cls._from_index(index, {key: a.astype(np.float32) for key, a in arrays.items()})
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise VisemoError(f"{folder}: got a damaged expression library ({reason}); get the model anew") from error

    @classmethod
    def _from_index(cls, index: dict[str, Any], arrays: dict[str, np.ndarray]) -> ExpressionLibrary:
        if index["schema"] != _SCHEMA:
            raise VisemoError(f"expressions.json: got schema {index['schema']}, expected {_SCHEMA}")
        takes: dict[str, list[ExpressionTake]] = {}
        for row in index["takes"]:
            key = f"{row['name']}/{row['number']}"
            weights, leak = arrays.pop(f"{key}/weights"), arrays.pop(f"{key}/leak")
            takes.setdefault(row["name"], []).append(ExpressionTake(weights, leak, row["fps"], row["apex"]))
        if arrays:
            raise VisemoError(f"expressions.safetensors: got {sorted(arrays)[0]!r}, expected only what the index names")
        return cls({name: tuple(group) for name, group in takes.items()}, tuple(index["shapes"]))
