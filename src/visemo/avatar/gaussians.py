"""Gaussians bound to the triangles of a mesh, and the PLY files that hold them.

The layout is that of GaussianAvatars (Qian et al., "GaussianAvatars: Photorealistic Head Avatars with Rigged 3D
Gaussians", CVPR 2024): the PLY of 3D Gaussian splatting (Kerbl et al., 2023) with one more property, the
parent triangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visemo.assets import atomic
from visemo.geometry.mesh import Column, read_ply
from visemo.types import FloatArray, IntArray, VisemoError, check_array

COEFFICIENTS = 16  # of spherical harmonics to degree 3, per colour
_REST = 3 * (COEFFICIENTS - 1)
_CENTRE, _NORMAL, _DC = ("x", "y", "z"), ("nx", "ny", "nz"), tuple(f"f_dc_{i}" for i in range(3))
_SCALE, _ROTATION = tuple(f"scale_{i}" for i in range(3)), tuple(f"rot_{i}" for i in range(4))
_FLOAT_BINDINGS = 1 << 24  # triangle numbers are kept as float32, which counts no further


@dataclass(frozen=True, eq=False)
class Gaussians:
    """N Gaussians, each in the frame of the triangle it is bound to (see `rig`), as files keep them.

    Raises VisemoError for no Gaussians, wrong shapes, NaN or infinite values, rotations of length 0 and negative
    bindings.
    """

    centres: FloatArray  # (N, 3) in the triangle's frame, in units of its size
    sh: FloatArray  # (N, 16, 3) spherical harmonics of the sRGB colour less 1/2, constant term first
    opacity: FloatArray  # (N,) logit
    scales: FloatArray  # (N, 3) log of the standard deviations, in units of the triangle's size
    rotations: FloatArray  # (N, 4) wxyz, of any length
    binding: IntArray  # (N,) number of the parent triangle

    def __post_init__(self) -> None:
        count = len(self.centres)
        if not count:
            raise VisemoError("avatar: got no Gaussians, expected at least one")
        check_array("avatar centres", self.centres, (None, 3), np.float32)
        check_array("avatar colours", self.sh, (count, COEFFICIENTS, 3), np.float32)
        check_array("avatar opacity", self.opacity, (count,), np.float32)
        check_array("avatar scales", self.scales, (count, 3), np.float32)
        check_array("avatar rotations", self.rotations, (count, 4), np.float32)
        check_array("avatar bindings", self.binding, (count,), np.int32)
        if not (np.square(self.rotations, dtype=np.float64).sum(axis=1) > 0).all():
            raise VisemoError("avatar rotations: got quaternions of length 0, expected any other length")
        if self.binding.min() < 0:
            raise VisemoError(f"avatar bindings: got {self.binding.min()}, expected numbers of triangles from 0")

    def __len__(self) -> int:
        return len(self.centres)

    def check_triangles(self, count: int, mesh: str) -> None:
        """Raises VisemoError unless every Gaussian is bound to one of the first `count` triangles of `mesh`."""
        if self.binding.max() >= count:
            raise VisemoError(
                f"avatar bindings: got triangles up to {self.binding.max()}, expected 0..{count - 1}, the triangles of "
                f"{mesh}; it belongs to another mesh"
            )


def read_gaussians(path: str | Path) -> Gaussians:
    """Read an avatar's point_cloud.ply, its properties in any order.

    Fewer than 45 `f_rest` (0, 9 or 24, of degree 0, 1 or 2) are filled up with zeros; other properties are ignored.

    Raises
    ------
    VisemoError
        In one line that names the file: missing or damaged, properties missing or of another type, Gaussians that are
        bound to nothing, none at all, NaN or infinite values.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VisemoError(f"{path}: cannot be read ({error.strerror}), expected an avatar's point_cloud.ply") from error
    try:
        return _gaussians(read_ply(data).get("vertex", {}))
    except VisemoError as error:
        raise VisemoError(f"{path}: {error}") from error


def write_gaussians(path: str | Path, gaussians: Gaussians) -> None:
    """Write the 63 float32 properties that GaussianAvatars reads, in its order; what `read_gaussians` read comes back
    bit for bit. Raises VisemoError when the folder is missing."""
    rest = gaussians.sh[:, 1:].transpose(0, 2, 1).reshape(-1, _REST)  # red, green, blue one after the other
    columns = [gaussians.centres, np.zeros_like(gaussians.centres), gaussians.sh[:, 0], rest]
    columns += [gaussians.opacity[:, None], gaussians.scales, gaussians.rotations, gaussians.binding[:, None]]
    names = [
        *_CENTRE,
        *_NORMAL,
        *_DC,
        *(f"f_rest_{i}" for i in range(_REST)),
        "opacity",
        *_SCALE,
        *_ROTATION,
        "binding_0",
    ]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(gaussians)}"]
    header += [*(f"property float {name}" for name in names), "end_header\n"]
    body = np.concatenate(columns, axis=1, dtype="<f4", casting="unsafe")
    with atomic(Path(path)) as temporary:
        temporary.write_bytes("\n".join(header).encode() + body.tobytes())


def _gaussians(columns: dict[str, Column]) -> Gaussians:
    binding = [name for name in columns if name.startswith("binding")]
    if columns and not binding:
        raise VisemoError("got Gaussians without a binding, expected the triangle of each in binding_0; rig them first")
    _numbers(columns, ("x",))
    rest = tuple(f"f_rest_{i}" for i in range(sum(name.startswith("f_rest_") for name in columns)))
    if len(rest) not in (0, 9, 24, _REST):
        raise VisemoError(f"got {len(rest)} properties f_rest, expected 0, 9, 24 or {_REST}")
    centres = _numbers(columns, _CENTRE)
    sh = np.zeros((len(centres), COEFFICIENTS, 3), np.float32)
    sh[:, 0] = _numbers(columns, _DC)
    if rest:
        sh[:, 1 : 1 + len(rest) // 3] = (
            _numbers(columns, rest).reshape(len(centres), 3, len(rest) // 3).transpose(0, 2, 1)
        )
    parents = _numbers(columns, (binding[0],))[:, 0]
    known = np.isfinite(parents) & (np.abs(parents) < _FLOAT_BINDINGS)
    if not (known & (parents == np.round(parents))).all():
        raise VisemoError(f"got {binding[0]} that are no whole numbers, expected numbers of triangles")
    opacity, scales, rotations = (_numbers(columns, names) for names in (("opacity",), _SCALE, _ROTATION))
    return Gaussians(centres, sh, opacity[:, 0].copy(), scales, rotations, parents.astype(np.int32))


def _numbers(columns: dict[str, Column], names: tuple[str, ...]) -> FloatArray:
    """Some properties side by side, (N, len(names)). Raises VisemoError where one is missing or is not float32."""
    for name in names:
        if name not in columns:
            raise VisemoError(f"got no property {name}, expected those of 3D Gaussians: x, f_dc_0, opacity, scale_0...")
        column = columns[name]
        if isinstance(column, list) or column.dtype.kind != "f" or column.dtype.itemsize > 4:
            raise VisemoError(f"got property {name} that is not float, expected single floats")
    return np.stack([np.asarray(columns[name], np.float32) for name in names], axis=1)
