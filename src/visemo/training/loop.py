"""The training loop: the only one. A recipe says what is learned, the loop runs it, keeps it and resumes it.

A run folder holds `config.json` (the recipe, data, versions, source state), `log.jsonl` (one line per
step and per validation), `checkpoint.pt` (tensors and plain values only) and, when the run has ended,
`model/` with the best weights seen by validation.
"""

from __future__ import annotations

import json
import math
import pickle
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from visemo.assets import atomic
from visemo.models.checkpoint import versions
from visemo.types import VisemoError

CONFIG, LOG, CHECKPOINT, MODEL = "config.json", "log.jsonl", "checkpoint.pt", "model"


class Task(Protocol):
    """What a recipe hands to the loop. Batches depend on the seed and the step alone, so that the step
    is all that has to be remembered of them."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def optimizer(self) -> torch.optim.Optimizer: ...

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        ...

    def losses(self, step: int) -> dict[str, Tensor]:
        """Scalars of one batch; "loss" is the one to be minimised, the others are logged."""
        ...

    def validate(self) -> dict[str, float]:
        """Numbers on held-out data; "score" (smaller is better) chooses the weights that are kept."""
        ...

    def write(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the model as it is now to a model folder, with facts about the run."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long to train, and how often to look.

    steps : optimiser steps in all
    validate_every, save_every : steps between validations and between checkpoints
    patience : stop after this many validations without a better score; 0 never stops early
    clip : largest norm of the gradient; 0 leaves it as it is
    seed : of everything random
    tensorboard : also write event files to the run folder
    """

    steps: int
    validate_every: int = 200
    save_every: int = 200
    patience: int = 0
    clip: float = 0.0
    seed: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise VisemoError(f"{name}: got {getattr(self, name)}, expected 1 or more")


@dataclass
class _Progress:
    """Where a run stands: what a checkpoint holds beside weights."""

    step: int = 0
    best_score: float = math.inf
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    stale: int = 0  # validations since the best one

    def judge(self, score: float, model: nn.Module) -> None:
        """Keep the weights if their score is the best so far; a score that is not a number never is."""
        if score < self.best_score:
            self.best_score, self.best_step, self.stale = score, self.step, 0
            self.best = {key: value.detach().clone() for key, value in model.state_dict().items()}
        else:
            self.stale += 1


def choose_device(name: str = "auto") -> torch.device:
    """ "auto" takes CUDA when there is one. Raises VisemoError for a device that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise VisemoError(f"device: got {name!r}, expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise VisemoError("device: got cuda, expected one that this machine has; use cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def open_run(run: Path | str, settings: Mapping[str, Any], resume: bool) -> Path:
    """Make a run folder with its `config.json`, or find the one to go on with.

    Parameters
    ----------
    settings : what defines the run, JSON-able: {"kind", "recipe", "data"}; with `resume`, everything but
        the recipe's "steps" has to be what the run began with

    Raises
    ------
    VisemoError
        for a folder that is not empty (without `resume`), one that holds no run (with it), or other settings
    """
    run = Path(run)
    settings = json.loads(json.dumps(settings))  # tuples read back as lists
    if resume:
        _check_settings(run, settings)
        return run
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise VisemoError(f"{run}: got something that is not an empty folder, expected one; choose another or resume")
    try:
        run.mkdir(exist_ok=True)
    except OSError as error:
        raise VisemoError(f"{run}: cannot make this folder ({error.strerror}); choose another place") from error
    with atomic(run / CONFIG) as temporary:
        temporary.write_text(json.dumps({**settings, "versions": versions(), "source": _source_state()}, indent=1))
    return run


def fit(task: Task, run: Path, plan: Plan) -> dict[str, float]:
    """Train until `plan.steps`, from the run's checkpoint if it has one, and write the best model.

    Interrupting and resuming gives the same weights as never stopping, bit for bit on a CPU.

    Parameters
    ----------
    task : Task, its model on the device it trains on
    run : folder made by `open_run`

    Returns
    -------
    {"score", "step"} of the weights that were kept

    Raises
    ------
    VisemoError
        for a damaged or foreign checkpoint, a loss that is not finite, or tensorboard asked for and absent
    """
    state = _Progress()
    if (run / CHECKPOINT).exists():
        state = _restore(run / CHECKPOINT, task)
    _trim_log(run / LOG, state.step)
    with _log(run, plan) as log, _bar(state.step, plan.steps) as advance:
        if not state.best:  # a recipe may start at something that is hard to better
            state.judge(_validate(task, state.step, log), task.model)
        while state.step < plan.steps and not _stale(state, plan):
            _seed(plan.seed, state.step)
            row = _train_step(task, state.step, plan.clip)
            state.step += 1
            log({"step": state.step, **row})
            if state.step % plan.validate_every == 0:
                state.judge(_validate(task, state.step, log), task.model)
            if state.step % plan.save_every == 0:
                _save(run / CHECKPOINT, task, state)
            advance(row["loss"], state.best_score)
        # saved before the last look, which falls outside the rhythm when steps do: a longer run would not have it
        _save(run / CHECKPOINT, task, state)
        if state.step % plan.validate_every:
            state.judge(_validate(task, state.step, log), task.model)
    if state.best:
        task.model.load_state_dict(state.best)
    facts = {"steps": state.step, "kept_step": state.best_step, "score": state.best_score}
    task.write(run / MODEL, facts)
    return {"score": state.best_score, "step": float(state.best_step)}


def cosine(step: int, horizon: int, warmup: int = 0, floor: float = 0.02) -> float:
    """Factor of the learning rate: a linear rise over `warmup` steps, then half a cosine down to `floor` at
    `horizon`, where it stays. It does not depend on when a run stops, so that a run can be prolonged."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, horizon - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _seed(seed: int, step: int) -> None:
    """Every step begins at a random state of its own, so that no such state has to be kept."""
    torch.manual_seed(seed * 1_000_003 + step)
    np.random.seed((seed * 1_000_003 + step) % 2**32)  # noqa: NPY002 (wav2vec 2.0 draws its masks there)


def _train_step(task: Task, step: int, clip: float) -> dict[str, float]:
    """One step of the optimiser, in bfloat16 where the device gains by it."""
    device = next(task.model.parameters()).device
    rate = task.rate(step)
    for group in task.optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)
    task.model.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        losses = task.losses(step)
    if not torch.isfinite(losses["loss"]):
        raise VisemoError(
            f"training: got a loss of {losses['loss'].item()} at step {step}; lower the rate, check the data"
        )
    task.optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()
    if clip:
        nn.utils.clip_grad_norm_(task.model.parameters(), clip)
    task.optimizer.step()
    return {**{name: value.item() for name, value in losses.items()}, "rate": rate}


def _validate(task: Task, step: int, log: Any) -> float:
    """Validate in eval mode, log what was measured, return the score."""
    task.model.eval()
    with torch.no_grad():
        measured = task.validate()
    log({"step": step, **{f"val_{name}": value for name, value in measured.items()}})
    return measured["score"]


def _stale(state: _Progress, plan: Plan) -> bool:
    return 0 < plan.patience <= state.stale


def _save(path: Path, task: Task, state: _Progress) -> None:
    content = {
        "step": state.step,
        "best_score": state.best_score,
        "best_step": state.best_step,
        "best": state.best,
        "stale": state.stale,
        "model": task.model.state_dict(),
        "optimizer": task.optimizer.state_dict(),
    }
    with atomic(path) as temporary:
        torch.save(content, temporary)


def _restore(path: Path, task: Task) -> _Progress:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        task.model.load_state_dict(content["model"])
        task.optimizer.load_state_dict(content["optimizer"])
        names = ("step", "best_score", "best_step", "best", "stale")
        return _Progress(**{name: content[name] for name in names})
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise VisemoError(f"{path}: got a damaged or foreign checkpoint ({reason}); delete it to begin anew") from error


def _check_settings(run: Path, settings: Mapping[str, Any]) -> None:
    if not (run / CONFIG).is_file():
        raise VisemoError(f"{run}: got no run to resume, expected a folder with {CONFIG}; leave out resume")
    begun = json.loads((run / CONFIG).read_text())
    for name, value in settings.items():
        old = begun.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            differing = [key for key in value if key != "steps" and old.get(key) != value[key]]
        else:
            differing = [] if old == value else [name]
        if differing:
            key = differing[0]
            was, now = (x.get(key) if isinstance(x, dict) else x for x in (old, value))
            raise VisemoError(f"{run}: got {key} {now}, expected {was} as this run began; resume it as it was")


def _source_state() -> dict[str, str]:
    """Commit and uncommitted changes, when the package runs from its own git checkout."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return {}

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        return {"commit": git("rev-parse", "HEAD").strip(), "diff": git("diff", "HEAD", "--", "src")}
    except (OSError, subprocess.CalledProcessError):
        return {}


def _trim_log(path: Path, step: int) -> None:
    """Drop what was logged after the checkpoint: those steps are made again."""
    if not path.exists():
        return
    kept = [line for line in path.read_text().splitlines() if _logged_step(line) <= step]
    with atomic(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in kept))


def _logged_step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:  # the line that was being written when the run was killed
        return math.inf


@contextmanager
def _log(run: Path, plan: Plan) -> Iterator[Any]:
    """A function that writes one row to the log, and to tensorboard if asked for."""
    events = _tensorboard(run) if plan.tensorboard else None
    began = perf_counter()
    with (run / LOG).open("a", buffering=1) as file:

        def log(row: dict[str, float]) -> None:
            file.write(json.dumps({**row, "seconds": round(perf_counter() - began, 2)}) + "\n")
            if events is not None:
                for name, value in row.items():
                    events.add_scalar(name, value, row["step"])

        yield log
    if events is not None:
        events.close()


def _tensorboard(run: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise VisemoError(
            "tensorboard: got no such package, expected it; install tensorboard or leave it out"
        ) from error
    return SummaryWriter(str(run))


@contextmanager
def _bar(step: int, steps: int) -> Iterator[Any]:
    """A progress bar on a terminal's error stream; silent elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("training", total=steps, completed=step, text="")

        def advance(loss: float, score: float) -> None:
            best = f", best {score:.4f}" if math.isfinite(score) else ""
            progress.update(bar, advance=1, text=f"loss {loss:.4f}{best}")

        yield advance
