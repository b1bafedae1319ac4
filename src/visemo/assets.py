"""Files: atomic writes, checksums, the data and cache folders, and arrays out of foreign pickles."""

from __future__ import annotations

import hashlib
import io
import math
import os
import pickle
import pickletools
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from visemo.types import VisemoError

ASSETS = Path(__file__).parent / "embedded"  # what ships inside the package: default model, sounds


def cache_folder() -> Path:
    """Where derived files (geometry maps, compiled heads) are kept: $VISEMO_CACHE or ~/.cache/visemo."""
    root = os.environ.get("VISEMO_CACHE") or str(Path.home() / ".cache" / "visemo")
    return Path(root)


def sha256(*parts: bytes | np.ndarray | Path) -> str:
    """Hex digest over bytes, arrays (dtype, shape and content) and files, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
        elif isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(part)
    return digest.hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    Raises VisemoError when the folder does not exist or cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise VisemoError(f"{path}: got no folder {path.parent}, expected an existing one; create it first")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise VisemoError(f"{path}: cannot write there ({error.strerror}); choose another folder") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private; outputs are ordinary files
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


# ---------------------------------------------------------------- arrays out of foreign pickles


class _StandIn:
    """What a pickle builds in place of the class it names: it keeps its state and does nothing."""

    origin = "object"  # the class that was named
    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def value(self, restore: Callable[[Any], Any]) -> Any:
        """The array that is meant, made of checked parts; `restore` does the same for what is inside."""
        raise ValueError(f"{self.origin} stands alone")


class _Call:
    """A function that a pickle may call. Nothing can be set on it, as could be on a plain function."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a function was given a state")


class _Dtype(_StandIn):
    origin = "numpy.dtype"

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
            raise ValueError(f"dtype {str(code)[:20]!r}")
        self.code = code

    def value(self, restore: Callable[[Any], Any]) -> np.dtype:
        dtype = np.dtype(self.code)
        order = self.state[1] if self.state else "="
        return dtype.newbyteorder(order) if order in ("<", ">") else dtype


class _Array(_StandIn):
    """A numpy array; its state is (version, shape, dtype, Fortran order, bytes or list of objects)."""

    origin = "numpy.ndarray"
    axes: tuple[int, ...] | None = None

    def value(self, restore: Callable[[Any], Any]) -> np.ndarray:
        _, shape, dtype, fortran, raw = self.state
        dtype = _restored_dtype(dtype, restore)
        if not all(isinstance(length, int) and length >= 0 for length in shape):
            raise ValueError("a shape of something else than lengths")
        if dtype.hasobject:
            flat = _objects(raw, math.prod(shape), restore)
        else:
            flat = _numbers(raw, math.prod(shape), dtype)
        array = flat.reshape(shape, order="F" if fortran else "C")
        return array if self.axes is None else array.transpose(self.axes)


class _Scalar(_StandIn):
    origin = "numpy.scalar"

    def __init__(self, dtype: Any, raw: Any) -> None:
        self.dtype, self.raw = dtype, raw

    def value(self, restore: Callable[[Any], Any]) -> Any:
        return _numbers(self.raw, 1, _restored_dtype(self.dtype, restore))[0]


class _Sparse(_StandIn):
    """A compressed sparse matrix of scipy, checked before it becomes one."""

    def value(self, restore: Callable[[Any], Any]) -> sp.csc_matrix | sp.csr_matrix:
        parts = [np.asarray(restore(self.state[name])) for name in ("data", "indices", "indptr")]
        shape = restore(self.state["_shape"] if "_shape" in self.state else self.state["shape"])
        rows, columns = (int(length) for length in shape)
        data, indices, starts = parts
        by_column = "csc" in self.origin
        lines, across = (columns, rows) if by_column else (rows, columns)
        numbers = data.dtype.kind in "biuf" and indices.dtype.kind in "iu" and starts.dtype.kind in "iu"
        fits = numbers and data.shape == indices.shape == (data.size,) and starts.shape == (lines + 1,)
        if not fits or starts[0] != 0 or starts[-1] != len(data) or (np.diff(starts.astype(np.int64)) < 0).any():
            raise ValueError(f"{self.origin} of parts that do not fit")
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < across:
            raise ValueError(f"{self.origin} with indices outside its shape")
        kind = sp.csc_matrix if by_column else sp.csr_matrix
        return kind((data, indices.astype(np.int64), starts.astype(np.int64)), shape=(rows, columns))


class _Chumpy(_StandIn):
    """A chumpy object: its array is `x`, or picked from another one's by chumpy.reordering.Select."""

    def value(self, restore: Callable[[Any], Any]) -> np.ndarray:
        state = self.state if isinstance(self.state, dict) else {}
        if "x" in state:
            return np.asarray(restore(state["x"]))
        if {"a", "idxs"} <= set(state):
            picked = np.asarray(restore(state["a"])).ravel()[np.asarray(restore(state["idxs"]))]
            shape = state.get("preferred_shape")
            return picked if shape is None else picked.reshape(tuple(int(n) for n in restore(shape)))
        raise VisemoError(f"pickle holds a {self.origin} without an array of its own, expected one; store plain arrays")


class _Storage(_StandIn):
    """The numbers of a torch tensor: bytes that torch itself reads as weights, running nothing of them."""

    origin = "torch.storage"

    def __init__(self, raw: Any) -> None:
        if not isinstance(raw, bytes):
            raise ValueError("a tensor without bytes")
        self.raw = raw

    def value(self, restore: Callable[[Any], Any]) -> Any:
        import torch

        return torch.load(io.BytesIO(self.raw), map_location="cpu", weights_only=True)


class _Tensor(_StandIn):
    """A torch tensor, which becomes an array."""

    origin = "torch.Tensor"

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> None:
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def value(self, restore: Callable[[Any], Any]) -> np.ndarray:
        import torch

        storage = restore(self.storage)
        flat = torch.empty(0, dtype=storage.dtype).set_(storage)
        return flat.as_strided(restore(self.size), restore(self.stride), self.offset).numpy().copy()


def _restored_dtype(dtype: Any, restore: Callable[[Any], Any]) -> np.dtype:
    if not isinstance(dtype, _Dtype):
        raise ValueError("an array without a dtype")
    return restore(dtype)


def _numbers(raw: Any, count: int, dtype: np.dtype) -> np.ndarray:
    """(count,) out of bytes; python 2 has them as text."""
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(raw, bytes | bytearray) or not dtype.itemsize or len(raw) != count * dtype.itemsize:
        raise ValueError("an array whose bytes do not fit its shape")
    return np.frombuffer(raw, dtype).copy() if count else np.zeros(0, dtype)


def _objects(raw: Any, count: int, restore: Callable[[Any], Any]) -> np.ndarray:
    if not isinstance(raw, list) or len(raw) != count:
        raise ValueError("an array whose objects do not fit its shape")
    array = np.empty(count, object)
    for i, item in enumerate(raw):
        array[i] = restore(item)
    return array


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _Array:
        raise ValueError("an array of another class")
    return _Array()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> _Array:
    array = _Array()
    array.state, array.axes = (1, shape, dtype, order == "F", raw), axes
    return array


def _rebuild(kind: Any, base: Any, state: Any) -> _StandIn:
    """copyreg._reconstructor, by which protocols 0 and 1 make objects."""
    if not (isinstance(kind, type) and issubclass(kind, _StandIn)) or base is not _StandIn or state is not None:
        raise ValueError("an object made in an unknown way")
    return kind()


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes in an unknown encoding")
    return text.encode("latin1")


_PLAIN_DTYPE = re.compile(r"[|<>=]?(\?|[biufc][0-9]{1,2}|[SU][0-9]{1,9}|O[48]?)")
_PYTHON2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
# what array pickles name; numpy moved its core modules
_GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Call(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Call(_Scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Call(_from_buffer) for core in ("core", "_core")},
    ("_codecs", "encode"): _Call(_encode),  # how protocol 2 stores bytes
    ("builtins", "bytes"): _Call(lambda: b""),  # and none of them
    ("builtins", "object"): _StandIn,
    ("copyreg", "_reconstructor"): _Call(_rebuild),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_Tensor),
    ("torch.storage", "_load_from_bytes"): _Call(_Storage),
    ("collections", "OrderedDict"): _Call(lambda: {}),  # the hooks of a tensor, none of them
}
_SPARSE_MODULES = {f"scipy.sparse{end}" for end in ("", ".csc", ".csr", "._csc", "._csr")}
_SPARSE = {"csc_matrix", "csr_matrix", "csc_array", "csr_array"}
_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles containers, numbers, text and stand-ins for arrays; refuses everything else by name."""

    def find_class(self, module: str, name: str) -> Any:
        module = _PYTHON2.get(module, module)
        if (module, name) in _GLOBALS:
            return _GLOBALS[module, name]
        if module in _SPARSE_MODULES and name in _SPARSE:
            return type(name, (_Sparse,), {"origin": f"{module}.{name}"})
        if f"{module}.".startswith("chumpy.") and name.isidentifier():
            return type(name, (_Chumpy,), {"origin": f"{module}.{name}"})
        raise VisemoError(f"pickle asks for {module}.{name}, expected arrays only; nothing was run")


def _check_sizes(stream: BinaryIO) -> None:
    """Walk over the instructions before any is followed: the pickle machine reserves what a file merely claims, be
    it terabytes, so every length has to be there and no memo number may be beyond what was stored."""
    name, count = "", 0
    while name != "STOP":
        opcode = _OPCODES.get(stream.read(1))
        if opcode is None:
            raise ValueError("an unknown instruction")
        name, count = opcode.name, count + 1
        if opcode.arg is None:
            continue
        if opcode.arg.n == pickletools.UP_TO_NEWLINE:  # of protocol 0
            argument = stream.readline()
            if name in ("GLOBAL", "INST"):
                stream.readline()
        else:
            argument = opcode.arg.reader(stream)
        if name in ("PUT", "LONG_BINPUT") and int(argument) > count + 256:
            raise ValueError("a memo number out of order")


class _Restorer:
    """Puts arrays where the stand-ins are, inside dicts, lists and tuples; each once, wherever it is named."""

    def __init__(self) -> None:
        self.done: dict[int, tuple[Any, Any]] = {}  # id -> (what was there, kept alive; what is there now)

    def __call__(self, item: Any) -> Any:
        if not isinstance(item, dict | list | tuple | set | frozenset | _StandIn | type | _Call):
            return item
        if id(item) not in self.done:
            if isinstance(item, dict | list):  # first, as they may hold themselves
                self.done[id(item)] = item, item
            self.done[id(item)] = item, self._restored(item)
        return self.done[id(item)][1]

    def _restored(self, item: Any) -> Any:
        if isinstance(item, dict):
            pairs = [(self(key), self(value)) for key, value in item.items()]
            item.clear()
            item.update(pairs)
        elif isinstance(item, list):
            item[:] = [self(value) for value in item]
        elif isinstance(item, tuple | set | frozenset):
            return type(item)([self(value) for value in item])
        elif isinstance(item, _StandIn):
            value, item.state = item.value(self), None  # its bytes are not needed any more
            return value
        else:
            raise ValueError("a class or function stands alone")
        return item


def read_array_pickle(path: Path) -> Any:
    """Read a pickle file that holds only dicts, lists, numbers, text and arrays; see `array_pickle` for those.

    Raises VisemoError as that does, and for a missing file.
    """
    try:
        with Path(path).open("rb") as file:  # read piece by piece: recordings come in pickles of gigabytes
            return array_pickle(file, str(path))
    except FileNotFoundError as error:
        raise VisemoError(f"{path}: no such file, expected a pickle of arrays") from error


def array_pickle(stream: BinaryIO, what: str) -> Any:
    """Read a pickle of dicts, lists, numbers, text and arrays (python 2 too) from where a seekable stream stands.

    Arrays are numpy's, scipy's compressed sparse matrices, torch's tensors, and chumpy's, which need no chumpy; the
    last two become numpy's. None of these classes is made by the pickle itself: it fills inert stand-ins, of whose
    checked contents the arrays are made afterwards.

    Raises VisemoError, naming `what` it is, for the first class that is none of these, before anything of it runs,
    and for damage.
    """
    start = stream.tell()
    try:
        _check_sizes(stream)
        stream.seek(start)
        return _Restorer()(_ArrayUnpickler(stream, encoding="latin1").load())
    except VisemoError as error:
        raise VisemoError(f"{what}: {error}") from error
    except Exception as error:  # there is little that damaged instructions cannot make the machine raise
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise VisemoError(f"{what}: got a damaged pickle ({why}), expected arrays; get the file anew") from error
