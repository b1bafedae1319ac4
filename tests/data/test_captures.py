"""Captures come back as 52 curves at an even rate, whatever names and clock they were written with."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visemo.data.captures import arkit_columns, read_capture, read_translation
from visemo.export.tracks import APP_NAMES, CSV_HEADER, time_code
from visemo.face.arkit import ARKIT_NAMES
from visemo.types import VisemoError

JAW, SMILES = ARKIT_NAMES.index("jawOpen"), [ARKIT_NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right")]


def app_file(path, weights, fps, empty=()):
    """As the app writes it: its own order of curves, angles after them, nothing where it lost the face."""
    columns = weights[:, [ARKIT_NAMES.index(name) for name in APP_NAMES]]
    lines = [",".join(CSV_HEADER)]
    for t, row in enumerate(columns):
        shown = ",".join("" if t in empty else f"{value:.8f}" for value in (*row, *np.full(9, 0.2)))
        lines.append(f"{time_code(t + 40, fps)},61,{shown}")
    path.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([24.0, 30.0, 60.0]), st.integers(130, 200), st.integers(0, 2**32 - 1))
def test_a_file_of_the_app_comes_back(tmp_path_factory, fps, frames, seed):
    weights = np.random.default_rng(seed).uniform(0, 1, (frames, 52)).astype(np.float32)
    capture = read_capture(app_file(tmp_path_factory.mktemp("app") / "take.csv", weights, fps))
    assert capture.fps == fps
    np.testing.assert_allclose(capture.weights, weights, atol=1e-3)  # milliframes of the time code


def test_where_the_app_lost_the_face_neighbours_fill_in(tmp_path):
    weights = np.tile(np.linspace(0, 1, 100, dtype=np.float32)[:, None], (1, 52))
    capture = read_capture(app_file(tmp_path / "take.csv", weights, 60.0, empty=(30, 31, 70)))
    assert capture.weights.shape == (100, 52)
    np.testing.assert_allclose(capture.weights, weights, atol=1e-3)


def test_a_short_file_of_the_app_is_of_its_usual_rate(tmp_path):
    assert read_capture(app_file(tmp_path / "take.csv", np.zeros((10, 52), np.float32), 60.0)).fps == 60


def test_arrays_with_a_clock_or_a_rate(tmp_path):
    weights = np.linspace(0, 1, 60, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    np.savez(tmp_path / "rate.npz", names=["jawOpen", "mouthSmile"], weights=weights, fps=30.0)
    kept = np.delete(np.arange(60), [20, 21])
    np.savez(tmp_path / "clock.npz", names=["jawOpen", "mouthSmile"], weights=weights[kept], time=5 + kept / 30)
    for name in ("rate", "clock"):
        capture = read_capture(tmp_path / f"{name}.npz")
        assert capture.fps == 30 and capture.weights.shape == (60, 52)
        np.testing.assert_allclose(capture.weights[:, [JAW, *SMILES]], weights[:, [0, 0, 0]], atol=1e-5)
        assert capture.weights.sum() == pytest.approx(3 * weights[:, 0].sum(), rel=1e-5)
    np.savez(tmp_path / "one.npz", names=["jawOpen"], weights=[[0.5]], time=[0.0])
    assert len(read_capture(tmp_path / "one.npz").weights) == 1


def test_names_of_apple_the_app_and_ict():
    assert arkit_columns("JawOpen") == ([JAW], 1.0)
    assert arkit_columns("mouthSmile_L") == (SMILES[:1], 1.0)
    assert arkit_columns("mouthSmile") == (SMILES, 1.0)
    assert arkit_columns("jawLeft") == ([ARKIT_NAMES.index("jawLeft")], 1.0)
    assert arkit_columns("browInnerUp_R") == ([ARKIT_NAMES.index("browInnerUp")], 0.5)
    assert arkit_columns("HeadYaw") == ([], 1.0)


def test_other_names_are_translated(tmp_path):
    np.savez(tmp_path / "take.npz", names=["open", "other"], weights=np.full((3, 2), 0.5), fps=30.0)
    (tmp_path / "table.json").write_text(json.dumps({"open": [["jawOpen", 0.8], ["mouthSmile_L", 1.0]]}))
    capture = read_capture(tmp_path / "take.npz", read_translation(tmp_path / "table.json"))
    np.testing.assert_allclose(capture.weights[0, [JAW, SMILES[0], SMILES[1]]], [0.4, 0.5, 0.0])
    with pytest.raises(VisemoError, match=r"got curves open, other\.\.\., expected ARKit names"):
        read_capture(tmp_path / "take.npz")
    (tmp_path / "table.json").write_text("[1]")
    with pytest.raises(VisemoError, match="got no translation"):
        read_translation(tmp_path / "table.json")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"weights": np.full((3, 1), 40.0), "fps": 30.0}, "curves outside 0..1"),
        ({"weights": np.full((3, 1), np.nan), "fps": 30.0}, "expected finite curves"),
        ({"weights": np.zeros((0, 1)), "fps": 30.0}, "got 0 frames"),
        ({"weights": np.zeros((3, 1)), "time": [0.0, 1.0, 0.5]}, "expected one each, growing"),
        ({"weights": np.zeros((3, 2)), "fps": 30.0}, "for 1 names, expected a name for each column"),
        ({"weights": np.zeros((3, 1))}, "got no capture"),
    ],
)
def test_damaged_arrays_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "take.npz", names=["jawOpen"], **arrays)
    with pytest.raises(VisemoError, match=message):
        read_capture(tmp_path / "take.npz")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(VisemoError, match="got no such file"):
        read_capture(tmp_path / "none.csv")
    (tmp_path / "take.txt").write_text("x")
    with pytest.raises(VisemoError, match=r"got suffix '\.txt'"):
        read_capture(tmp_path / "take.txt")
    for text in ("a,b\n1,2\n", "", "Timecode,BlendShapeCount,JawOpen\nnoon,61,0.5\n"):
        (tmp_path / "take.csv").write_text(text)
        with pytest.raises(VisemoError, match="got no table of Live Link Face"):
            read_capture(tmp_path / "take.csv")


def test_real_captures_are_read(shared_data):
    paths = sorted((shared_data / "motion").glob("*/*.npz"))
    assert len(paths) >= 10
    for path in paths:
        guess = sorted(path.parent.glob("*_guess.json"))
        capture = read_capture(path, read_translation(guess[0]) if guess else None)
        assert capture.fps in (30.0, 60.0) and len(capture.weights) > 300
        assert capture.weights.max() > 0.5
