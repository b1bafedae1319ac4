"""The verbs that tell: info, benchmark."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from tyro.conf import Positional, UseAppendAction, arg

from visemo.assets import ASSETS, cache_folder
from visemo.cli.verb import Verb, say, size_text
from visemo.types import VisemoError

ACOUSTIC_MODEL = "CMU Sphinx, US English, of the pocketsphinx package (BSD-2-Clause)"


@dataclass(frozen=True)
class Info(Verb):
    """Say what a model, a store, a take or a sound is: sizes, names, where it comes from, licences."""

    what: Annotated[Positional[str], arg(metavar="MODEL|STORE|FILE")] = "default"
    """an embedded model by name, a model or store folder, a take (.npz) or a sound file"""

    examples: ClassVar[tuple[str, ...]] = ("visemo info", "visemo info take.npz")

    def run(self) -> int:
        path = Path(self.what)
        if path.is_file():
            facts = _take_facts(path) if path.suffix.lower() == ".npz" else _sound_facts(path)
        elif (path / "manifest.json").is_file():
            facts = _store_facts(path)
        else:
            facts = _model_facts(self.what)
        width = max(len(name) for name in facts)
        say("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()))
        return 0


def _model_facts(name: str) -> dict[str, Any]:
    from visemo import __version__
    from visemo.models.checkpoint import load_model

    model = load_model(name)
    folder = Path(name) if Path(name).is_dir() else ASSETS / name
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    fusion, speech = model.fusion.config, model.speech.config
    training = model.config.get("training", {})
    return {
        "visemo": f"{__version__} (Apache-2.0)",
        "model": f"{model.name}, {size_text(size)}, hash {model.hash}",
        "face": f"{model.face.name}, {len(model.face.template)} vertices, licence {model.face.licence or 'not stated'}",
        "blendshapes": f"{fusion.speech_shapes} speech + {fusion.expression_shapes} expression",
        "speech": f"{speech.audio.kind} encoder at {speech.audio.fps:g} fps, styles {', '.join(speech.subjects)}",
        **({"acoustic model": ACOUSTIC_MODEL} if speech.audio.phonetic else {}),
        "expressions": ", ".join(model.expressions.names),
        "also understood": ", ".join(f"{alias} = {own}" for alias, own in model.expressions.aliases.items()),
        "trained": json.dumps(training) if training else "not stated",
        "cache": cache_folder(),
    }


def _store_facts(folder: Path) -> dict[str, Any]:
    from visemo.data.dataset import open_store

    store = open_store(folder)
    takes, manifest = store.sequences, store.manifest
    spoken = [take for take in takes if take.kind == "speech"]
    return {
        "store": folder,
        "source": manifest.get("source", "not stated"),
        "licence": manifest.get("licence", "not stated"),
        "face": manifest.get("face", "not stated"),
        "subjects": ", ".join(sorted({take.subject for take in takes})),
        "speech": f"{len(spoken)} takes, {sum(take.seconds for take in spoken) / 60:.1f} minutes",
        "expressions": f"{len(takes) - len(spoken)} takes",
        "splits": ", ".join(manifest.get("splits", {})),
    }


def _take_facts(path: Path) -> dict[str, Any]:
    from visemo.export.tracks import read_take

    clip = read_take(path)
    return {
        "take": f"{path}, {size_text(path.stat().st_size)}",
        "length": f"{clip.frames} frames at {clip.fps:g} fps, {clip.seconds:.2f} s",
        "face": f"{clip.face}, {len(clip.template)} vertices",
        "blendshapes": f"{clip.speech_weights.shape[1]} speech + {clip.expression_weights.shape[1]} expression",
        "sound": f"{clip.audio.seconds:.2f} s at {clip.audio.sample_rate} Hz" if clip.audio else "none",
        "life": "blinks, glances and head motion" if clip.head_pose is not None else "none",
        **{name: value for name, value in clip.meta.items() if name != "face"},
    }


def _sound_facts(path: Path) -> dict[str, Any]:
    from visemo.media import load_audio

    sound = load_audio(path)
    return {"sound": path, "length": f"{sound.seconds:.2f} s", "peak": f"{abs(sound.samples).max():.3f}"}


@dataclass(frozen=True)
class Evaluate(Verb):
    """Measure a model on the held-out takes of stores: a page to look at, a report to read and metrics.json."""

    data: Annotated[UseAppendAction[tuple[Path, ...]], arg(metavar="STORE")]
    """a prepared store; repeat it for several; stores with planted truth also measure the separation"""
    out: Annotated[Path, arg(aliases=("-o",), metavar="DIR")]
    """folder for report.html, report.md and metrics.json"""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "default"
    """an embedded model by name, or a model folder"""
    split: str = "faceformer"
    """the division whose test part is measured"""
    limit: Annotated[int | None, arg(metavar="N")] = None
    """for a quick look: at most N takes of each kind, evenly picked"""

    examples: ClassVar[tuple[str, ...]] = ("visemo evaluate --model default --data planted -o report",)

    def run(self) -> int:
        if not self.data:
            raise VisemoError("evaluate: got no --data, expected at least one store; make one with visemo prepare")
        from visemo.evaluate.report import evaluate
        from visemo.models.checkpoint import load_model
        from visemo.render.progress import progress_bar

        with progress_bar("evaluating") as done:
            model = load_model(self.model)
            rows = evaluate(model, self.data, self.out, self.split, progress=done, limit=self.limit)
        width, wide = (max(map(len, column)) for column in zip(*((row.name, row.mode) for row in rows)))
        for row in rows:
            interval = f"[{row.low:.3f}, {row.high:.3f}]  n = {row.n}"
            say(f"{row.name:<{width}}  {row.mode:<{wide}}  {row.value:.3f} {row.unit}  {interval}")
        say(str(self.out / "report.html"))
        return 0


@dataclass(frozen=True)
class Benchmark(Verb):
    """Measure frames per second and memory of every stage of `animate`, for both presets."""

    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """also write the numbers to a file"""
    seconds: Annotated[UseAppendAction[tuple[float, ...]], arg(metavar="SECONDS")] = ()
    """length of the sound; repeat it for several; default 10, 60 and 600"""
    preset: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="default|paper")] = ()
    """which presets; default both"""

    examples: ClassVar[tuple[str, ...]] = ("visemo benchmark --seconds 10 --json benchmark.json",)

    def run(self) -> int:
        from visemo.benchmark import PRESETS, SECONDS, run_benchmark, table

        if self.json and not self.json.parent.is_dir():
            raise VisemoError(f"{self.json}: got no folder {self.json.parent}, expected an existing one")
        report = run_benchmark(self.preset or PRESETS, self.seconds or SECONDS, say)
        say(table(report))
        if self.json:
            from visemo.assets import atomic

            with atomic(self.json) as path:
                path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            say(str(self.json))
        return 0
