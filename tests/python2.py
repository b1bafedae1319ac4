"""Pickles as python 2 wrote them, of classes that need not exist: chumpy's, and scipy's under their old names."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import numpy as np

MODULES = {
    "numpy._core.multiarray": "numpy.core.multiarray",
    "scipy.sparse._csc": "scipy.sparse.csc",
    "scipy.sparse._csr": "scipy.sparse.csr",
    "copyreg": "copy_reg",
    "builtins": "__builtin__",
}


class Ch:
    """Pickles as chumpy.ch.Ch does: by its dictionary, in which `x` is the array."""

    __module__ = "chumpy.ch"

    def __init__(self, x: np.ndarray | None = None, **more: Any) -> None:
        self.__dict__ |= {"_dirty_vars": [], "_itr": None} | ({} if x is None else {"x": x}) | more


class Select(Ch):
    """chumpy.reordering.Select: picks entries of another object."""

    __module__ = "chumpy.reordering"


class _Pickler(pickle._Pickler):  # type: ignore[misc]
    """Text and bytes as python 2's `str`, old names of modules, and classes nobody can import."""

    dispatch = pickle._Pickler.dispatch.copy()  # type: ignore[attr-defined]

    def save_text(self, text: str) -> None:
        self.save_raw(text.encode("latin1"))

    def save_raw(self, data: bytes) -> None:
        if self.proto == 0:
            self.write(b"S" + repr(data)[1:].encode() + b"\n")
        elif len(data) < 256:
            self.write(b"U" + bytes([len(data)]) + data)
        else:
            self.write(b"T" + struct.pack("<i", len(data)) + data)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = MODULES.get(obj.__module__, obj.__module__)
        self.write(b"c" + module.encode() + b"\n" + (name or obj.__qualname__).encode() + b"\n")

    dispatch[str] = save_text
    dispatch[bytes] = save_raw
    dispatch[type] = save_global
    dispatch[type(len)] = save_global
    dispatch[type(save_global)] = save_global


def dumps(value: Any, protocol: int = 2) -> bytes:
    """The bytes of a pickle of protocol 0, 1 or 2."""
    file = io.BytesIO()
    _Pickler(file, protocol=protocol, fix_imports=False).dump(value)
    return file.getvalue()
