"""Named sets of vertices that a measure looks at. Two lip sets of one face give two lip errors: a number without the
set's name, count and hash cannot be compared with another."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from visemo.assets import sha256
from visemo.face.face import Face
from visemo.face.flame_files import read_flame_masks
from visemo.types import IntArray, VisemoError


@dataclass(frozen=True, eq=False)
class VertexSet:
    """Vertices of one topology: `indices` (n,) int32, ascending, each once; `duplicates` says how many were dropped.

    It may be empty. Raises VisemoError for indices that are negative or no whole numbers.
    """

    name: str
    indices: IntArray
    duplicates: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        given = np.asarray(self.indices)
        if given.ndim != 1 or given.dtype.kind not in "iu" or given.min(initial=0) < 0:
            raise VisemoError(f"{self.name}: got {given.dtype} {given.shape}, expected a list of vertex numbers from 0")
        once = np.unique(given).astype(np.int32)
        object.__setattr__(self, "indices", once)
        object.__setattr__(self, "duplicates", len(given) - len(once))

    @property
    def count(self) -> int:
        return len(self.indices)

    @property
    def hash(self) -> str:
        """Six hex digits of the ascending indices: the same for the same vertices, whatever the file's order."""
        return sha256(self.indices.astype("<i4"))[:6]

    def __str__(self) -> str:
        dropped = f"; {self.duplicates} listed twice" if self.duplicates else ""
        return f"{self.name} ({self.count} vertices, {self.hash}{dropped})"

    @classmethod
    def of_face(cls, face: Face, region: str) -> VertexSet:
        """A region of a face. Raises VisemoError when it has none of that name."""
        return cls(region, face.region(region))

    @classmethod
    def of_flame_masks(cls, path: Path | str, *regions: str) -> VertexSet:
        """The union of some regions of `FLAME_masks.pkl`. Raises VisemoError for another file or unknown regions."""
        masks = read_flame_masks(path)
        if unknown := [region for region in regions if region not in masks]:
            raise VisemoError(f"{path}: got regions {', '.join(masks)}, expected {', '.join(unknown)} too")
        return cls(" + ".join(regions), np.concatenate([masks[region] for region in regions]))

    @classmethod
    def of_text(cls, path: Path | str) -> VertexSet:
        """Indices in a text file, apart by commas or white space, such as CodeTalker's and FaceDiffuser's `lve.txt`
        and `fdd.txt`. Raises VisemoError for a file that cannot be read or holds something else."""
        path = Path(path)
        try:
            words = re.split(r"[\s,]+", path.read_text(encoding="utf-8").strip().strip("[]"))
            indices = np.array([int(word) for word in words if word], np.int32)
        except (OSError, ValueError, OverflowError) as error:
            raise VisemoError(f"{path}: got no vertex numbers ({error}), expected whole numbers in a text") from error
        return cls(path.stem, indices)
