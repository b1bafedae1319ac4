"""Several processes that train as one: torchrun starts them, a `World` is what each knows of the others.

Every process draws the batch of a step from the same seed and takes every size-th row of it, so that together they
learn from one batch `size` times as large. Gradients are averaged by hand, between backward and the optimiser's
step: a wrapper around the model would have to be told of layers that some processes skip, and of means that reach
over the whole batch. gloo carries everything on a processor, NCCL the tensors on a GPU.

Whatever stops one process stops all: it says so in the store they met at before its connections close, so that the
others know that it has been said.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from visemo.types import VisemoError

Made = TypeVar("Made")

TIMEOUT = timedelta(minutes=10)  # for all to come together in a step; beyond it, somebody hangs
PATIENCE = timedelta(hours=12)  # while the first one validates or writes; if it dies meanwhile, its connection tells
SOON = timedelta(seconds=10)  # to ask whether another process has said what is wrong
FAILED = "failed"  # how many processes have failed by themselves
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
HELP = "start them with torchrun, or unset WORLD_SIZE to train in one process"

_meetings = count()  # two runs of one process must not find each other's addresses


@dataclass(frozen=True)
class World:
    """The processes of a run, as one of them sees it. Alone, nothing here does or costs anything.

    Two processes with a batch of B frames learn what one learns from 2 B: losses are means over their rows, and what
    is averaged over a batch inside a loss goes through `mean`.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    local_rank: int = 0
    local_size: int = 1  # processes on this machine
    patient: Any = field(default=None, repr=False)  # a group over gloo that waits for `PATIENCE`

    @property
    def is_writer(self) -> bool:
        """Whether this process writes, validates and speaks."""
        return self.rank == 0

    def share(self, rows: Any) -> Any:
        """This process' rows of a batch of all: a tensor, an array or a list."""
        return rows[self.rank :: self.size]

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over all processes, of float32 where there are several.

        Its gradient reaches the own part with weight 1: `average_gradients` divides by the number of parts.
        """
        if self.size == 1:
            return tensor
        total = tensor.detach().float().clone()
        _reach(lambda: dist.all_reduce(total))
        average = total / self.size
        return tensor + (average - tensor.detach()) if tensor.requires_grad else average

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means over all processes: those of the mean loss.

        A gradient that some have and others do not (a layer skipped at random) counts as zero there; where nobody
        has one, there is none.
        """
        if self.size == 1:
            return
        learned = [p for p in parameters if p.requires_grad]
        present = torch.tensor([float(p.grad is not None) for p in learned], device=learned[0].device)
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learned] + [present])
        _reach(lambda: dist.all_reduce(flat))
        *means, present = flat.div_(self.size).split([*(p.numel() for p in learned), len(learned)])
        for parameter, mean, some in zip(learned, means, present.tolist()):
            parameter.grad = mean.view_as(parameter) if some else None

    def once(self, work: Callable[[], Made]) -> Made:
        """What `work` returns in the first process, while the others wait for it; tensors in it lie on the CPU."""
        if self.size == 1:
            return work()
        box: list[Any] = [work() if self.is_writer else None]
        _reach(lambda: dist.broadcast_object_list(box, 0, group=self.patient))
        return box[0]

    def barrier(self) -> None:
        """Wait until all are here."""
        self.gather(None)

    def gather(self, value: Made) -> list[Made]:
        """Everybody's value, in order of rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        _reach(lambda: dist.all_gather_object(values, value, group=self.patient))
        return values

    def spread(self, model: nn.Module) -> None:
        """Give all the first one's parameters and buffers."""
        if self.size == 1:
            return
        for tensor in (*model.parameters(), *model.buffers()):
            whole = tensor.detach().contiguous()
            _reach(lambda whole=whole: dist.broadcast(whole, 0))
            tensor.detach().copy_(whole)

    def hold(self, make: Callable[[], Made]) -> Made:
        """What `make` returns, a dataclass of CPU tensors, made once and kept in memory once per machine.

        The tensors lie in files that all map and that are gone from the folder of temporary files at once. They are
        for reading: what a process writes there, it alone sees.
        """
        if self.size == 1:
            return make()
        with tempfile.TemporaryDirectory(prefix="visemo-") as folder:
            written = _write(make(), Path(folder)) if self.local_rank == 0 else None
            told: list[Any] = self.gather(written)
            kind, tensors = told[self.rank - self.local_rank]
            held = kind(**{name: _mapped(*where) for name, where in tensors.items()})
            self.barrier()
        return held


@contextmanager
def join(device: torch.device) -> Iterator[World]:
    """Meet the other processes, if torchrun started any, and part from them at the end of the block.

    Without WORLD_SIZE in the environment, or with 1, the world is this process alone, on `device`; otherwise a
    "cuda" device becomes the GPU of this process' LOCAL_RANK.

    Raises
    ------
    VisemoError
        for an incomplete environment, more processes than GPUs, or processes that do not come or vanish
    SystemExit
        in place of any exception that another process has raised before: one speaks for all
    """
    rank, size, local_rank, local_size = _environment()
    if size == 1:
        yield World(device=device)
        return
    device = _own_device(device, local_rank, local_size)
    store, patient = _meet(device, rank, size)
    try:
        yield World(rank, size, device, local_rank, local_size, patient)
    except BaseException as error:  # the group stays: taking it down could wait for those who failed
        if not _first_to_fail(store):
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from None
        raise
    dist.destroy_process_group()


def first_process() -> bool:
    """Whether this process is alone or the first of several: the one that says what all found."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"


def spoken_for() -> bool:
    """Whether another process reports what stops this one. Once they have met, `join` has seen to it that one speaks;
    before, they may all make the same mistake."""
    if os.environ.get("WORLD_SIZE", "1") == "1" or dist.is_initialized():
        return False
    try:
        return not _first_to_fail(PrefixStore("visemo", _store(SOON)))
    except (RuntimeError, ValueError):  # nowhere to meet
        return not first_process()


def _environment() -> tuple[int, int, int, int]:
    """Rank, size, local rank and local size, as torchrun tells them."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return 0, 1, 0, 1
    told = [os.environ.get(name, "") for name in VARIABLES]
    if not all(text.isdecimal() for text in told) or int(told[0]) >= int(told[1]):
        got = ", ".join(f"{name} {text!r}" for name, text in zip(VARIABLES, told))
        raise VisemoError(f"processes: got {got}, expected four numbers, RANK below WORLD_SIZE; {HELP}")
    rank, size, local_rank, local_size = map(int, told)
    return rank, size, local_rank, local_size


def _own_device(device: torch.device, local_rank: int, local_size: int) -> torch.device:
    if device.type != "cuda":
        return device
    if local_size > torch.cuda.device_count():
        raise VisemoError(
            f"device: got {local_size} processes on a machine with {torch.cuda.device_count()} GPUs, expected one GPU "
            "for each; start fewer processes, or use --device cpu"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def _meet(device: torch.device, rank: int, size: int) -> tuple[Store, Any]:
    """Make the group of all; returns the store of this meeting and the group that waits longer."""
    try:
        store = PrefixStore(f"visemo{next(_meetings)}", _store(TIMEOUT))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
        return store, dist.new_group(backend="gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise VisemoError(f"processes: got no meeting of {size} ({_first_line(error)}); {HELP}") from error


@cache
def _store(timeout: timedelta) -> Store:
    """Where all find one another: torchrun's own store, or one that the first process keeps at MASTER_ADDR."""
    return next(rendezvous("env://", timeout=timeout))[0]


def _first_to_fail(store: Store) -> bool:
    """Claim the last word; False when another process has it, or when the first took the store down with itself."""
    try:
        return store.add(FAILED, 1) == 1
    except RuntimeError:
        return False


def _reach(others: Callable[[], Any]) -> None:
    """Do something that takes all processes."""
    try:
        others()
    except RuntimeError as error:
        raise VisemoError(
            f"processes: got no answer from another one ({_first_line(error)}), expected it to go on; it was killed or "
            "hangs; resume the run"
        ) from error


def _first_line(error: Exception) -> str:
    """What a library says, without the line of its source where it says so."""
    return re.sub(r"^\[\S+\] ", "", (str(error) or type(error).__name__).splitlines()[0])[:120]


def _write(made: Any, folder: Path) -> tuple[type, dict[str, tuple[Path, torch.Size, torch.dtype]]]:
    """Every tensor of a dataclass in a file of its own, and what it takes to map them."""
    tensors = {}
    for entry in fields(made):
        tensor, path = getattr(made, entry.name), folder / entry.name
        tensor.contiguous().numpy().tofile(path)
        tensors[entry.name] = path, tensor.shape, tensor.dtype
    return type(made), tensors


def _mapped(path: Path, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    if shape.numel() == 0:
        return torch.zeros(shape, dtype=dtype)  # no file maps to nothing
    return torch.from_file(str(path), shared=False, size=shape.numel(), dtype=dtype).view(shape)
