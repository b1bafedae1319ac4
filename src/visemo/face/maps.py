"""The geometry map of a face: flattened once, remembered on disk."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visemo.assets import atomic, cache_folder, sha256
from visemo.face.face import Face
from visemo.geometry import geomap
from visemo.geometry.geomap import GeometryMap, flatten, symmetric_triangles
from visemo.types import FloatArray, VisemoError

# pixels per area that a region gets, next to the rest of the face; smiles bend the cheeks as well
REGIONS = {"lips": 4.0, "eyes": 3.0, "mouth": 3.0, "cheeks": 2.0}


def geometry_map(face: Face, size: int = 128) -> GeometryMap:
    """Vertex fields of `face` to images of `size` x `size` pixels and back.

    The first call on a face flattens it (about a second) and keeps the result in the cache folder; each
    call returns a module of its own. Raises VisemoError when the face cannot be flattened.
    """
    return GeometryMap(_uv(face), symmetric_triangles(face.template, face.triangles, face.mirror), size)


def importance(face: Face) -> FloatArray:
    """(V,) float32: how many pixels per area a vertex asks for; the most demanding of its regions decides."""
    wanted = np.ones(len(face.template), np.float32)
    for region, weight in REGIONS.items():
        members = face.regions.get(region, np.zeros(0, np.int32))
        wanted[members] = np.maximum(wanted[members], weight)
    return wanted


@lru_cache(maxsize=8)
def _uv(face: Face) -> NDArray[np.float64]:
    wanted = importance(face)
    key = sha256(Path(geomap.__file__), face.hash.encode(), face.mirror, wanted)[:32]
    path = cache_folder() / "maps" / f"{key}.npy"
    known = _read(path, len(face.template))
    if known is not None:
        return known
    uv = flatten(face.template, face.triangles, face.mirror, wanted)
    _keep(path, uv)
    return uv


def _read(path: Path, count: int) -> NDArray[np.float64] | None:
    """What the cache holds, or None when it holds nothing or nothing usable."""
    try:
        uv = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = isinstance(uv, np.ndarray) and uv.shape == (count, 2) and uv.dtype == np.float64
    return uv if fits and uv.min() >= 0 and uv.max() <= 1 else None


def _keep(path: Path, uv: NDArray[np.float64]) -> None:
    """Remember for the next time; a cache folder that cannot be written is no reason to stop."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            np.save(temporary, uv)
    except (OSError, VisemoError):
        return
