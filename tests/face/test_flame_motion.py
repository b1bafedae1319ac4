"""FLAME motions as files: what the viewer would not take is said in one line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visemo.face.flame_motion import FlameMotion, flame_motion, holds_motion, read_flame_motion, used_components
from visemo.types import VisemoError

WIDTHS = {"rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "translation": 3, "expr": 100}


def arrays(frames: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {name: rng.normal(size=(frames, width)).astype(np.float32) for name, width in WIDTHS.items()}


def saved(folder: Path, **extra: np.ndarray) -> Path:
    np.savez(folder / "a.npz", **arrays() | extra)
    return folder / "a.npz"


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    shape, offset = np.arange(300, dtype=np.float32), np.ones((1, 5023, 3), np.float32)
    moved = np.full((4, 5143, 3), 2, np.float32)
    extra = {"shape": shape, "static_offset": offset, "dynamic_offset": moved, "fps": np.array(60.0)}
    path = saved(tmp_path, **extra, audio=np.int16([0, 32767]), sample_rate=np.array(16000))
    motion = read_flame_motion(path)
    assert holds_motion(path) and motion.frames == 4 and motion.fps == 60
    for name, array in arrays().items():
        np.testing.assert_array_equal(getattr(motion, name), array)
    assert motion.shape is not None and motion.static_offset is not None and motion.sound is not None
    np.testing.assert_array_equal(motion.shape, shape)
    assert motion.static_offset[:5023].all() and not motion.static_offset[5023:].any()
    np.testing.assert_array_equal(motion.dynamic_offset, moved)
    np.testing.assert_array_equal(motion.sound.samples, [0, 1])


def test_zero_offsets_take_no_room_and_the_rate_is_the_viewers(tmp_path: Path) -> None:
    motion = read_flame_motion(saved(tmp_path, dynamic_offset=np.zeros((4, 5143, 3), np.float32)))
    assert motion.dynamic_offset is None and motion.fps == 25


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"jaw_pose": None}, "got no jaw_pose, expected .*KeyError"),
        ({"expr": np.zeros((4, 100))}, "got expr of float64, expected float32: .*leaves out other types.*KeyError"),
        ({"dynamic_offset": np.zeros((4, 5143, 3), np.float16)}, "got dynamic_offset of float16"),
        ({"eyes_pose": np.zeros((3, 6), np.float32)}, "got frames .*eyes_pose 3.*expected the same number"),
        ({"dynamic_offset": np.zeros((3, 5143, 3), np.float32)}, "dynamic_offset: got shape"),
        ({"rotation": np.full((4, 3), np.nan, np.float32)}, "rotation: got"),
        ({"neck_pose": np.zeros((4, 2), np.float32)}, "neck_pose: got shape"),
        ({"static_offset": np.zeros((1, 6000, 3), np.float32)}, "got static_offset"),
        ({"fps": np.array(0.0)}, "got 0.0 frames per second"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, change: dict, said: str) -> None:
    kept = {name: array for name, array in (arrays() | change).items() if array is not None}
    np.savez(tmp_path / "a.npz", **kept)
    with pytest.raises(VisemoError, match=said) as refusal:
        read_flame_motion(tmp_path / "a.npz")
    assert "\n" not in str(refusal.value) and str(tmp_path) in str(refusal.value)


def test_no_file_no_npz_no_objects(tmp_path: Path) -> None:
    with pytest.raises(VisemoError, match="no such file"):
        read_flame_motion(tmp_path / "b.npz")
    (tmp_path / "b.npz").write_bytes(b"nothing")
    assert not holds_motion(tmp_path / "b.npz")
    with pytest.raises(VisemoError, match="no readable arrays"):
        read_flame_motion(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", expr=np.array([None]))
    with pytest.raises(VisemoError, match="no readable arrays"):
        read_flame_motion(tmp_path / "c.npz")


@given(st.integers(1, 6), st.integers(0, 8))
def test_only_zeros_are_cut(used: int, available: int) -> None:
    coefficients = np.zeros((2, 8), np.float32)
    coefficients[1, used - 1] = 1
    if used > available:
        with pytest.raises(VisemoError, match=f"coefficient {used - 1} in use"):
            used_components("expr", coefficients, available, "FLAME")
    else:
        assert used_components("expr", coefficients, available, "FLAME").shape == (2, available)


def test_empty_motions_are_refused() -> None:
    with pytest.raises(VisemoError, match="expected the same number, 1 or more"):
        flame_motion(arrays(0))
    still = {name: array[:1] for name, array in arrays().items()}
    assert FlameMotion(**still).frames == 1
