"""A progress bar that only shows itself when something takes longer than two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

PATIENCE = 2.0  # s of work before the bar appears


@contextmanager
def progress_bar(label: str, console: Console | None = None) -> Iterator[Callable[[float], None]]:
    """Yield a function to be called with the share that is done, 0..1.

    >>> with progress_bar("video") as done:
    ...     for n in range(frames):
    ...         done(n / frames)

    The bar goes to the terminal's error stream and away again; without a terminal nothing is written.
    """
    console = console or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(label, total=1.0)
    began = time.monotonic()

    def done(share: float) -> None:
        bar.update(task, completed=share)
        if share < 1 and not bar.live.is_started and time.monotonic() - began > PATIENCE:
            bar.start()

    try:
        yield done
    finally:
        bar.stop()
