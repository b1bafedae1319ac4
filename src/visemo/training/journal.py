"""What a run says while it trains: `log.jsonl`, tensorboard's event files, a progress bar."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from visemo.assets import atomic
from visemo.types import VisemoError

LOG = "log.jsonl"


def trim_log(path: Path, step: int) -> None:
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
def open_log(run: Path, tensorboard: bool, writes: bool = True) -> Iterator[Any]:
    """A function that writes one row to the log, and to tensorboard if asked for; or one that does nothing."""
    if not writes:
        yield lambda row: None
        return
    events = _tensorboard(run) if tensorboard else None
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
def progress_bar(step: int, steps: int, shown: bool = True) -> Iterator[Any]:
    """A progress bar on a terminal's error stream; silent elsewhere, and where it is not to be shown."""
    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as progress:
        bar = progress.add_task("training", total=steps, completed=step, text="")

        def advance(loss: float, score: float) -> None:
            best = f", best {score:.4f}" if math.isfinite(score) else ""
            progress.update(bar, advance=1, text=f"loss {loss:.4f}{best}")

        yield advance
