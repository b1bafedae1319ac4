"""Avatars' files: there and back bit for bit, and every way in which a file can be wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toy_avatar import some
from visemo.avatar.gaussians import Gaussians, read_gaussians, write_gaussians
from visemo.types import VisemoError

FIELDS = ("centres", "sh", "opacity", "scales", "rotations", "binding")


@given(
    count=st.integers(1, 9),
    seed=st.integers(0, 999),
    triangles=st.sampled_from([1, 9976, 1 << 24]),
    value=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_come_back_bit_for_bit(tmp_path: Path, count: int, seed: int, triangles: int, value: float) -> None:
    wrote = some(count, seed, triangles)
    wrote.sh[0, 3, 1] = wrote.centres[-1, 2] = value
    write_gaussians(tmp_path / "a.ply", wrote)
    read = read_gaussians(tmp_path / "a.ply")
    for name in FIELDS:
        assert getattr(read, name).tobytes() == getattr(wrote, name).tobytes(), name
    write_gaussians(tmp_path / "b.ply", read)
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()


def columns_of(gaussians: Gaussians, folder: Path) -> tuple[list[str], np.ndarray]:
    """Names and values of a written file, read without the package."""
    write_gaussians(folder / "columns.ply", gaussians)
    head, body = (folder / "columns.ply").read_bytes().split(b"end_header\n")
    names = [line.split()[-1].decode() for line in head.splitlines() if line.startswith(b"property")]
    return names, np.frombuffer(body, "<f4").reshape(-1, len(names))


def write_columns(path: Path, names: list[str], values: np.ndarray, kind: str = "float") -> Path:
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(values)}"]
    header += [f"property {kind} {name}" for name in names]
    path.write_bytes("\n".join([*header, "end_header\n"]).encode() + values.astype("<f4").tobytes())
    return path


def test_the_layout_is_the_published_one(tmp_path: Path) -> None:
    avatar = some()
    names, values = columns_of(avatar, tmp_path)
    assert len(names) == 63 and names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[9:54] == [f"f_rest_{i}" for i in range(45)]
    assert names[54:] == ["opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4)), "binding_0"]
    assert not values[:, 3:6].any()
    assert np.array_equal(values[:, 9 + 15 : 9 + 30], avatar.sh[:, 1:, 1]), "green comes after all of red"


def test_properties_come_in_any_order_and_lower_degrees_are_filled_up(tmp_path: Path) -> None:
    avatar = some()
    names, values = columns_of(avatar, tmp_path)
    order = np.random.default_rng(1).permutation(len(names))
    shuffled = read_gaussians(write_columns(tmp_path / "a.ply", [names[i] for i in order], values[:, order]))
    for name in FIELDS:
        assert np.array_equal(getattr(shuffled, name), getattr(avatar, name))
    kept = [i for i, name in enumerate(names) if not name.startswith("f_rest_")]
    flat = read_gaussians(write_columns(tmp_path / "b.ply", [names[i] for i in kept], values[:, kept]))
    assert np.array_equal(flat.sh[:, 0], avatar.sh[:, 0]) and not flat.sh[:, 1:].any()
    nine = [names[i] for i in kept] + [f"f_rest_{i}" for i in range(9)]
    linear = read_gaussians(write_columns(tmp_path / "c.ply", nine, values[:, [*kept, *range(9, 18)]]))
    assert np.array_equal(linear.sh[:, 1:4].transpose(0, 2, 1).reshape(5, 9), values[:, 9:18])


def test_files_that_are_no_avatar_are_refused_in_one_line(tmp_path: Path) -> None:
    names, values = columns_of(some(), tmp_path)
    file = tmp_path / "a.ply"

    def refused(match: str, names: list[str] = names, values: np.ndarray = values, kind: str = "float") -> None:
        with pytest.raises(VisemoError, match=match) as caught:
            read_gaussians(write_columns(file, names, values, kind))
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)

    refused("without a binding", names[:-1], values[:, :-1])
    refused("no property opacity", [name.replace("opacity", "alpha") for name in names])
    refused("44 properties f_rest", [name.replace("f_rest_44", "other") for name in names])
    refused("no property f_rest_44", [name.replace("f_rest_44", "f_rest_45") for name in names])
    refused("property x that is not float", kind="int")
    refused("no Gaussians", values=values[:0])
    for bad in (np.nan, np.inf):
        broken = values.copy()
        broken[2, names.index("scale_1")] = bad
        refused("NaN", values=broken)
    for bad, match in ((0.5, "whole"), (np.nan, "whole"), (3e9, "whole"), (-1, "from 0")):
        broken = values.copy()
        broken[1, -1] = bad
        refused(match, values=broken)
    broken = values.copy()
    broken[0, names.index("rot_0") : names.index("rot_3") + 1] = 0
    refused("length 0", values=broken)
    with pytest.raises(VisemoError, match="cannot be read"):
        read_gaussians(tmp_path / "nothing.ply")
    file.write_bytes(b"not a ply")
    with pytest.raises(VisemoError, match="PLY header"):
        read_gaussians(file)
    with pytest.raises(VisemoError, match="no folder"):
        write_gaussians(tmp_path / "no" / "a.ply", some())


def test_bindings_stay_within_the_mesh() -> None:
    avatar = replace(some(3), binding=np.int32([0, 7, 9976]))
    avatar.check_triangles(9977, "FLAME")
    with pytest.raises(VisemoError, match=r"up to 9976, expected 0\.\.9975, the triangles of FLAME"):
        avatar.check_triangles(9976, "FLAME")
