"""The training loop: the only one. A recipe says what is learned, the loop runs it, keeps it and resumes it.

A run folder holds `config.json` (the recipe, data, versions, source state), `log.jsonl` (one line per
step and per validation), `checkpoint.pt` (tensors and plain values only) and, when the run has ended,
`model/` with the best weights seen by validation.

Several processes (visemo.training.distributed) run the same loop, each on its share of every batch. The first one
alone validates and writes, while the others wait; all of them read the run folder.
"""

from __future__ import annotations

import json
import math
import pickle
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from visemo.assets import atomic
from visemo.models.checkpoint import versions
from visemo.training.distributed import World
from visemo.training.journal import LOG, open_log, progress_bar, trim_log
from visemo.types import VisemoError

CONFIG, CHECKPOINT, MODEL = "config.json", "checkpoint.pt", "model"
OTHER_NOISE = 982_451_653  # between the seeds of two processes: each makes noise of its own


class Task(Protocol):
    """What a recipe hands to the loop. Batches depend on the seed and the step alone, so that the step
    is all that has to be remembered of them. Of several processes each has a task, on its rows of one batch."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def optimizer(self) -> torch.optim.Optimizer: ...

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        ...

    def losses(self, step: int) -> dict[str, Tensor]:
        """Scalars of one batch; "loss" is the one to be minimised, the others are logged. The mean over all
        processes is what the whole batch would give."""
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


def open_run(run: Path | str, settings: Mapping[str, Any], resume: bool, world: World | None = None) -> Path:
    """Make a run folder with its `config.json`, or find the one to go on with.

    Parameters
    ----------
    settings : what defines the run, JSON-able: {"kind", "recipe", "data"}; with `resume`, everything but
        the recipe's "steps" has to be what the run began with
    world : the processes that train; their number is part of what defines the run, since a step learns from as
        many batches

    Raises
    ------
    VisemoError
        for a folder that is not empty (without `resume`), one that holds no run (with it), or other settings
    """
    world = world or World()
    settings = json.loads(json.dumps({**settings, "processes": world.size}))  # tuples read back as lists
    return world.once(lambda: _open_run(Path(run), settings, resume))


def _open_run(run: Path, settings: Mapping[str, Any], resume: bool) -> Path:
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


def fit(task: Task, run: Path, plan: Plan, world: World | None = None) -> dict[str, float]:
    """Train until `plan.steps`, from the run's checkpoint if it has one, and write the best model.

    Interrupting and resuming gives the same weights as never stopping, bit for bit on a CPU.

    Parameters
    ----------
    task : Task, its model on the device it trains on
    run : folder made by `open_run`, which all processes see
    world : the processes that train; alone by default

    Returns
    -------
    {"score", "step"} of the weights that were kept

    Raises
    ------
    VisemoError
        for a damaged or foreign checkpoint, a loss that is not finite, or tensorboard asked for and absent
    """
    world = world or World()
    state = _begin(task, run, world)
    with (
        open_log(run, plan.tensorboard, world.is_writer) as log,
        progress_bar(state.step, plan.steps, world.is_writer) as advance,
    ):

        def look() -> None:
            state.judge(_validate(task, state.step, log, world), task.model)

        if not state.best:  # a recipe may start at something that is hard to better
            look()
        while state.step < plan.steps and not _stale(state, plan):
            _seed(plan.seed, state.step, world.rank)
            row = _train_step(task, state.step, plan.clip, world)
            state.step += 1
            log({"step": state.step, **row})
            if state.step % plan.validate_every == 0:
                look()
            if state.step % plan.save_every == 0:
                _save(run / CHECKPOINT, task, state, world)
            advance(row["loss"], state.best_score)
        # saved before the last look, which falls outside the rhythm when steps do: a longer run would not have it
        _save(run / CHECKPOINT, task, state, world)
        if state.step % plan.validate_every:
            look()
    if state.best:
        task.model.load_state_dict(state.best)
    facts = {"steps": state.step, "kept_step": state.best_step, "score": state.best_score}
    if world.size > 1:
        facts["processes"] = world.size
    world.once(lambda: task.write(run / MODEL, facts))
    return {"score": state.best_score, "step": float(state.best_step)}


def cosine(step: int, horizon: int, warmup: int = 0, floor: float = 0.02) -> float:
    """Factor of the learning rate: a linear rise over `warmup` steps, then half a cosine down to `floor` at
    `horizon`, where it stays. It does not depend on when a run stops, so that a run can be prolonged."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, horizon - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _begin(task: Task, run: Path, world: World) -> _Progress:
    """Where the run stands: every process reads the checkpoint, and has the first one's weights."""
    state = _Progress()
    if (run / CHECKPOINT).exists():
        state = _restore(run / CHECKPOINT, task)
    steps = world.gather(state.step)
    if len(set(steps)) > 1:
        raise VisemoError(
            f"{run / CHECKPOINT}: got steps {steps} in {world.size} processes, expected one; put the run where all see "
            "the same folder"
        )
    world.spread(task.model)
    if world.is_writer:
        trim_log(run / LOG, state.step)
    return state


def _seed(seed: int, step: int, rank: int) -> None:
    """Every step begins at a random state of its own, so that no such state has to be kept."""
    state = seed * 1_000_003 + step + rank * OTHER_NOISE
    torch.manual_seed(state)
    np.random.seed(state % 2**32)  # noqa: NPY002 (wav2vec 2.0 draws its masks there)


def _train_step(task: Task, step: int, clip: float, world: World) -> dict[str, float]:
    """One step of the optimiser, in bfloat16 where the device gains by it."""
    device = next(task.model.parameters()).device
    rate = task.rate(step)
    for group in task.optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)
    task.model.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        losses = task.losses(step)
    values = world.mean(torch.stack([value.detach().float() for value in losses.values()])).tolist()
    row = dict(zip(losses, values))
    if not math.isfinite(row["loss"]):
        raise VisemoError(f"training: got a loss of {row['loss']} at step {step}; lower the rate, check the data")
    task.optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()
    world.average_gradients(task.model.parameters())
    if clip:
        nn.utils.clip_grad_norm_(task.model.parameters(), clip)
    task.optimizer.step()
    return {**row, "rate": rate}


def _validate(task: Task, step: int, log: Callable[[dict[str, float]], None], world: World) -> float:
    """Validate in eval mode, log what was measured, return the score."""
    task.model.eval()
    with torch.no_grad():
        measured = world.once(task.validate)
    log({"step": step, **{f"val_{name}": value for name, value in measured.items()}})
    return measured["score"]


def _stale(state: _Progress, plan: Plan) -> bool:
    return 0 < plan.patience <= state.stale


def _save(path: Path, task: Task, state: _Progress, world: World) -> None:
    if not world.is_writer:
        return
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
        old = begun.get(name, 1 if name == "processes" else None)  # runs of one process did not always say so
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
