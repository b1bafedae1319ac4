"""The verbs that make models: train, assemble."""

from __future__ import annotations

import dataclasses
import inspect
import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from tyro.conf import OmitArgPrefixes, Positional, Suppress, UseAppendAction, arg

from visemo.cli.animate import Device
from visemo.cli.flame import flame_named
from visemo.cli.verb import Verb, say
from visemo.types import VisemoError

FaceName = Annotated[str, arg(metavar="builtin|DIR")]
RunFolder = Annotated[Path, arg(aliases=("-o",), metavar="RUN")]


@dataclass(frozen=True)
class Train(Verb):
    """Train one part of a model; `visemo train fusion --help` also lists what else can be set.

    speech and fusion are the two networks, on --data. flame-map is the matrix from the weights of a finished --model to
    the parameters of --flame; without --data it is fitted to the bundled sentence and the model's own expressions.

    Several processes or GPUs: `torchrun --nproc-per-node 2 -m visemo train fusion ...`. --batch counts for each of
    them, so two learn what one learns from the doubled --batch; a run is resumed with as many as it began with.
    """

    part: Positional[Literal["speech", "fusion", "flame-map"]]
    """which of the two networks, or L_G"""
    data: Annotated[UseAppendAction[tuple[Path, ...]], arg(metavar="STORE")]
    """a prepared store; repeat it for several"""
    out: RunFolder
    """run folder: checkpoints, log, and the trained part under model/"""
    preset: Literal["default", "paper"] = "default"
    """the lean recipe, or the published one"""
    steps: Annotated[int | None, arg(metavar="INT")] = None
    """optimiser steps; default the preset's"""
    resume: bool = False
    """go on from the run's last checkpoint, bit for bit"""
    face: FaceName = "builtin"
    """the face that the data are on"""
    device: Device = "auto"
    """where to train"""
    model: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """flame-map: the model whose weights are mapped"""
    flame: Annotated[Path | None, arg(metavar="FILE")] = None
    """flame-map: a FLAME model (generic_model.pkl, flame2023.pkl, flame2023_Open.pkl, .npz)"""
    expressions: Annotated[Path | None, arg(metavar="FILE.npz|DIR")] = None
    """flame-map: shapes in FLAME's topology instead of its expression components"""
    settings: Suppress[OmitArgPrefixes[tuple[tuple[str, str], ...]]] = ()

    examples: ClassVar[tuple[str, ...]] = (
        "visemo train fusion --data stores/planted -o runs/fusion --steps 1500",
        "visemo train speech --data stores/planted -o runs/speech --rate 1e-3 --resume",
        "visemo train flame-map --model default --flame flame2023_Open.pkl -o runs/flame",
    )

    @classmethod
    def notes(cls, words: list[str]) -> str:
        from visemo.training import recipes

        known = {"speech": recipes.SpeechRecipe, "fusion": recipes.FusionRecipe, "flame-map": recipes.FlameMapRecipe}
        asked = [part for part in known if part in words]
        settings = "".join(f"\n--KEY VALUE of {part}, default preset:\n{_settings(known[part])}" for part in asked)
        return settings + super().notes(words)

    def with_options(self, words: list[str]) -> Self:
        return dataclasses.replace(self, settings=_pairs(words))

    def run(self) -> int:
        return self._flame_map() if self.part == "flame-map" else self._network()

    def _flame_map(self) -> int:
        from visemo.models.checkpoint import load_model
        from visemo.training.recipes import FlameMapRecipe, train_flame_map

        if self.model is None or self.flame is None:
            raise VisemoError(
                f"train flame-map: got no {'--model' if self.model is None else '--flame'}, expected both; for example "
                f"{self.examples[-1]}"
            )
        if self.resume or self.face != "builtin":
            got = "--resume" if self.resume else "--face"
            raise VisemoError(f"train flame-map: got {got}, expected none: it takes minutes, on the model's own face")
        recipe = with_settings(getattr(FlameMapRecipe, self.preset)(), self._given())
        flame = flame_named(self.flame, self.expressions)
        report = train_flame_map(recipe, load_model(self.model), flame, self.out, data=self.data, device=self.device)
        for region, row in report["regions"].items():
            say(f"{region:<15} {row.get('map_mean', 0):.3f} mm, largest {row.get('map_max', 0):.2f}", end="")
            say(f"  (FLAME's own best {row.get('floor_mean', 0):.3f}, {row.get('floor_max', 0):.2f})")
        for row in report["lively"]:
            say(f"{row['name']:<15} {row['map_mean']:.3f} mm, largest {row['map_max']:.2f} of {row['motion_max']:.2f}")
        say(f"{self.out}: L_G to FLAME {flame.edition} with {flame.basis} expressions, and report.md")
        return 0

    def _given(self) -> tuple[tuple[str, str], ...]:
        return self.settings if self.steps is None else (("steps", str(self.steps)), *self.settings)

    def _network(self) -> int:
        from visemo.face.library import load_face
        from visemo.training.distributed import first_process
        from visemo.training.recipes import FusionRecipe, SpeechRecipe, train_fusion, train_speech

        for name in ("model", "flame", "expressions"):
            if getattr(self, name) is not None:
                raise VisemoError(f"train {self.part}: got --{name}, expected it with flame-map only; leave it out")
        if not self.data:
            raise VisemoError("train: got no --data, expected at least one store; make one with visemo prepare")
        recipes: dict[str, tuple[Any, Any]] = {
            "speech": (SpeechRecipe, train_speech),
            "fusion": (FusionRecipe, train_fusion),
        }
        recipe_kind, train = recipes[self.part]
        recipe = with_settings(getattr(recipe_kind, self.preset)(), self._given())
        result = train(recipe, self.data, load_face(self.face), self.out, resume=self.resume, device=self.device)
        if first_process():
            say(f"{self.out}: score {result['score']:.4g} at step {result['step']:.0f}")
        return 0


def _settings(recipe: Any) -> str:
    """What a recipe's docstring says of its fields, and their values in the default preset."""
    says = inspect.cleandoc(recipe.__doc__ or "").partition("\n\n")[2]
    values = dataclasses.asdict(recipe.default())
    chosen = "  ".join(f"--{name.replace('_', '-')} {value}" for name, value in values.items() if value != {})
    return textwrap.indent(f"{textwrap.fill(chosen, 110, break_on_hyphens=False)}\n{says}\n", "  ")


def _pairs(words: list[str]) -> tuple[tuple[str, str], ...]:
    """`--key value --other value` as pairs. Raises VisemoError when a word has no partner."""
    for key in words[::2]:
        if not key.startswith("--"):
            raise VisemoError(f"train: got {key!r}, expected --KEY VALUE pairs of the recipe")
    if len(words) % 2:
        raise VisemoError(f"train: got {words[-1]} without a value, expected --KEY VALUE")
    return tuple((key[2:].replace("-", "_"), value) for key, value in zip(words[::2], words[1::2]))


def with_settings(recipe: Any, settings: tuple[tuple[str, str], ...]) -> Any:
    """A recipe (a frozen dataclass) with some fields set from text; `outer.inner` reaches into a nested one.

    Raises
    ------
    VisemoError
        For an unknown field (with the list) or a value of another type than the field's own.
    """
    for key, text in settings:
        outer, _, inner = key.partition(".")
        known = [field.name for field in dataclasses.fields(recipe)]
        if outer not in known:
            raise VisemoError(f"--{key}: got an unknown setting, expected one of {', '.join(known)}")
        now = getattr(recipe, outer)
        if inner and dataclasses.is_dataclass(now):
            value = with_settings(now, ((inner, text),))
        else:
            value = _value(key, text, now)
        recipe = dataclasses.replace(recipe, **{outer: value})
    return recipe


def _value(key: str, text: str, now: Any) -> Any:
    """`text` as a value of the type that the setting has now."""
    if isinstance(now, str):
        return text
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = {"True": True, "False": False}.get(text, text)
    if isinstance(now, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(now, tuple) and isinstance(value, list):
        return tuple(value)
    if type(value) is not type(now):
        raise VisemoError(f"--{key}: got {text!r}, expected {type(now).__name__} such as {now}")
    return value


@dataclass(frozen=True)
class Assemble(Verb):
    """Join a trained speech part and a trained fusion part into a model that animates."""

    speech: Annotated[Positional[Path], arg(metavar="SPEECH_RUN")]
    """run folder of `visemo train speech`"""
    fusion: Annotated[Positional[Path], arg(metavar="FUSION_RUN")]
    """run folder of `visemo train fusion`"""
    out: Annotated[Path, arg(aliases=("-o",), metavar="DIR")]
    """the model folder"""
    face: FaceName = "builtin"
    """the face that both were trained on"""

    examples: ClassVar[tuple[str, ...]] = ("visemo assemble runs/speech runs/fusion -o models/mine",)

    def run(self) -> int:
        from visemo.face.library import load_face
        from visemo.training.recipes import assemble

        assemble(self.speech, self.fusion, load_face(self.face), self.out)
        say(f"{self.out}: try it with visemo animate speech.wav --model {self.out} -o take.mp4")
        return 0
