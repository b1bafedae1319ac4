"""Loops over plain arrays, compiled to machine code by numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

# a product and the sum that takes it may be one operation, and a division a product: the last digit may differ from
# the written order's, though not from run to run or with the number of threads
RELAXED = frozenset({"contract", "arcp", "nsz"})


def compiled(parallel: bool, relaxed: bool = False) -> Callable[[Callable], Any]:
    """Compile to machine code, kept on disk where a place for it can be written; `relaxed` as RELAXED says."""
    options = {"parallel": parallel, "fastmath": set(RELAXED) if relaxed else False}

    def compile_kernel(function: Callable) -> Any:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # no cache folder can be written: compile anew in every process
            return njit(**options)(function)

    return compile_kernel
