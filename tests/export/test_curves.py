"""Curves of any rig as files, with their names."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from toy_face import toy_clip, toy_face
from visemo.animation.retarget.rig_map import RigMap
from visemo.data.captures import read_capture
from visemo.export.curves import write_csv, write_curve_arrays
from visemo.export.writers import save, writer_for
from visemo.face.rigs.named import Rig
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def rig_map() -> RigMap:
    """A rig whose first name needs quotes, and whose others are the toy's in another order."""
    face, clip = toy_face(), toy_clip(3)
    rig = Rig.of_face(face)
    rig = replace(
        rig, name="doll", shape_names=("A, wide", *face.shape_names[:0:-1]), shapes=rig.shapes[[0, 5, 4, 3, 2, 1]]
    )
    return RigMap.of("toy", "0123", clip.basis, face, rig)


def test_a_csv_has_time_and_the_rig_s_own_names(rig_map, tmp_path):
    clip = toy_clip(20, fps=25.0)
    residual = write_csv(clip, tmp_path / "a.csv", rig_map=rig_map)
    with (tmp_path / "a.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["time", *rig_map.names]
    table = np.array(rows, float)
    curves, wanted = rig_map.curves(clip)
    assert np.allclose(table[:, 0], np.arange(20) / 25) and np.abs(table[:, 1:] - curves).max() < 1e-6
    assert residual == wanted


def test_arrays_have_the_names_too(rig_map, tmp_path):
    clip = toy_clip(20, fps=25.0)
    assert writer_for("a.curves.npz") is write_curve_arrays and writer_for("a.npz") is not write_curve_arrays
    save(clip, tmp_path / "a.curves.npz", rig_map=rig_map)
    with np.load(tmp_path / "a.curves.npz", allow_pickle=False) as file:
        assert tuple(file["names"]) == rig_map.names and float(file["fps"]) == 25
        assert np.array_equal(file["weights"], rig_map.curves(clip)[0])
        assert np.allclose(file["time"], np.arange(20) / 25)
    again = read_capture(tmp_path / "a.curves.npz")
    assert again.fps == 25 and again.unknown == ("A, wide",) and "jawOpen" in again.missing


def test_without_a_map(tmp_path):
    clip = toy_clip(4)
    write_csv(clip, tmp_path / "a.csv", face=toy_face())
    assert (tmp_path / "a.csv").read_text().startswith("Timecode,BlendShapeCount,EyeBlinkLeft")
    with pytest.raises(VisemoError, match="got no rig map, expected one; add --rig-map"):
        write_curve_arrays(clip, tmp_path / "a.curves.npz")
