"""Files: atomic writes, checksums, the data and cache folders, and arrays out of foreign pickles."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

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


# numpy moved its core modules; the names below are all that array pickles need
_ARRAY_GLOBALS = {
    "_reconstruct": ("numpy.core.multiarray", "numpy._core.multiarray"),
    "scalar": ("numpy.core.multiarray", "numpy._core.multiarray"),
    "ndarray": ("numpy",),
    "dtype": ("numpy",),
    "_frombuffer": ("numpy.core.numeric", "numpy._core.numeric"),
    "encode": ("_codecs",),  # how protocol 2 stores bytes
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles containers, numbers, text and numpy arrays; refuses everything else by name."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _ARRAY_GLOBALS.get(name, ()):
            return super().find_class(module, name)
        raise VisemoError(f"pickle asks for {module}.{name}, expected arrays only; nothing was run")


def read_array_pickle(path: Path) -> Any:
    """Read a pickle that holds only dicts, lists, numbers, text and numpy arrays (python 2 too).

    Raises VisemoError naming the first class that is neither, before anything of it runs, and for damage.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(Path(path).read_bytes()), encoding="latin1").load()
    except VisemoError:
        raise
    except (pickle.UnpicklingError, EOFError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise VisemoError(f"{path}: got a damaged pickle ({error}), expected arrays; get the file anew") from error
