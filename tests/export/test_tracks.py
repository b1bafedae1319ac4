"""Takes written and read back, the app's csv, a mesh per frame; every refusal."""

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toy_face import toy_clip, toy_face
from visemo.export import tracks
from visemo.export.tracks import (
    CSV_HEADER,
    read_take,
    take_size,
    time_code,
    write_arkit_csv,
    write_obj_folder,
    write_take,
)
from visemo.geometry.mesh import read_mesh
from visemo.geometry.rotation import axis_angle_to_matrix, matrix_to_quaternion
from visemo.types import Animation, VisemoError

ARRAYS = (
    "speech_weights", "expression_weights", "speech_leak", "expression_leak", "basis", "template", "triangles",
    "lip_pairs", "lively_weights", "head_pose", "vertices",
)  # fmt: skip


@pytest.fixture(scope="module")
def clip() -> Animation:
    return toy_clip(life=True)


def assert_same(first: Animation, second: Animation) -> None:
    for name in ARRAYS:
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert first.lively_names == second.lively_names and first.fps == second.fps and first.face == second.face
    assert first.audio is not None and second.audio is not None
    assert np.array_equal(first.audio.samples, second.audio.samples)
    assert first.audio.sample_rate == second.audio.sample_rate
    assert second.meta == {**first.meta, "face": first.face}


@pytest.mark.parametrize("include_vertices", [True, False])
def test_a_take_comes_back(clip: Animation, tmp_path: Path, include_vertices: bool) -> None:
    write_take(clip, tmp_path / "a.npz", include_vertices=include_vertices)
    assert_same(clip, read_take(tmp_path / "a.npz"))


def test_the_contract_of_the_file(clip: Animation, tmp_path: Path) -> None:
    """Keys, types and shapes; vertices are exactly template + B w."""
    write_take(clip, tmp_path / "a.npz")
    k_a, k_e, count = 2, 1, len(clip.template)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        shapes = {name: (file[name].dtype.str, file[name].shape) for name in file.files}
        assert np.array_equal(file["vertices"], clip.vertices)
        w = np.concatenate([file["speech_weights"], file["expression_weights"]], axis=1)
        assert np.abs(file["template"] + np.tensordot(w, file["basis"], axes=1) - file["vertices"]).max() < 1e-7
        meta = json.loads(str(file["meta"]))
    assert meta == {"model": "toy", "model_hash": "0123", "expression": "happy", "mode": "fused", "face": "toy"}
    assert shapes.pop("meta")[1] == () and shapes.pop("lively_names")[1] == (2,)
    assert shapes == {
        "vertices": ("<f4", (45, count, 3)),
        "faces": ("<i4", clip.triangles.shape),
        "template": ("<f4", (count, 3)),
        "basis": ("<f4", (k_a + k_e, count, 3)),
        "fps": ("<f8", ()),
        "speech_weights": ("<f4", (45, k_a)),
        "expression_weights": ("<f4", (45, k_e)),
        "speech_leak": ("<f4", (45, k_e)),
        "expression_leak": ("<f4", (45, k_a)),
        "lip_pairs": ("<i4", clip.lip_pairs.shape),
        "audio": ("<f4", (24000,)),
        "sample_rate": ("<i8", ()),
        "lively_weights": ("<f4", (45, 2)),
        "head_pose": ("<f4", (45, 7)),
    }


def test_optional_tracks_may_be_absent(tmp_path: Path) -> None:
    write_take(toy_clip(sound=False), tmp_path / "a.npz")
    read = read_take(tmp_path / "a.npz")
    assert read.audio is None and read.head_pose is None and read.lively_weights is None and read.lively_names == ()


def test_long_takes_are_written_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """700 frames in pieces of 256 make the same file as one array; nobody asks for all vertices."""
    clip = toy_clip(700, sound=False)
    whole = clip.vertices
    monkeypatch.setattr(Animation, "vertices", property(lambda self: pytest.fail("all vertices at once")))
    write_take(clip, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert np.array_equal(file["vertices"], whole)


def test_same_take_same_bytes(clip: Animation, tmp_path: Path) -> None:
    write_take(clip, tmp_path / "a.npz")
    write_take(toy_clip(life=True), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    write_take(read_take(tmp_path / "a.npz"), tmp_path / "c.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "c.npz").read_bytes()


@pytest.mark.parametrize("include_vertices", [True, False])
def test_the_size_is_said_before(clip: Animation, tmp_path: Path, include_vertices: bool) -> None:
    write_take(clip, tmp_path / "a.npz", include_vertices=include_vertices)
    actual = (tmp_path / "a.npz").stat().st_size
    assert take_size(clip, include_vertices=include_vertices) == pytest.approx(actual, abs=4000)


def bad_takes(folder: Path, clip: Animation) -> dict[str, str]:
    """Files that are no takes, with what the refusal has to say."""
    write_take(clip, folder / "good.npz")
    good = dict(np.load(folder / "good.npz"))
    (folder / "text.npz").write_text("no take")
    (folder / "empty.npz").write_bytes(b"")
    (folder / "cut.npz").write_bytes((folder / "good.npz").read_bytes()[:5000])
    np.savez(folder / "foreign.npz", weights=np.zeros(3))
    with (folder / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    objects = np.array([{"a": 1}], object)
    np.savez(folder / "pickled.npz", allow_pickle=True, **{**good, "basis": objects})
    np.savez(folder / "shape.npz", **{**good, "speech_weights": good["speech_weights"][:, :1]})
    np.savez(folder / "nan.npz", **{**good, "template": good["template"] * np.nan})
    np.savez(folder / "meta.npz", **{**good, "meta": np.array("not json")})
    np.savez(folder / "list.npz", **{**good, "meta": np.array("[1]")})
    np.savez(folder / "fps.npz", **{**good, "fps": np.zeros(2)})
    np.savez(folder / "rate.npz", **{name: array for name, array in good.items() if name != "sample_rate"})
    return {
        "missing.npz": "no such file",
        "text.npz": "it is no .npz of plain arrays",
        "empty.npz": "got no readable take",
        "cut.npz": "got no readable take",
        "foreign.npz": "got an npz without faces, template",
        "array.npz": "got a single array",
        "pickled.npz": "it is no .npz of plain arrays",
        "shape.npz": "expression_leak: got shape",
        "nan.npz": "template: got NaN",
        "meta.npz": "got no readable take",
        "list.npz": "meta: got no object",
        "fps.npz": "got no readable take",
        "rate.npz": "got no readable take",
    }


def test_refusals_are_one_line(clip: Animation, tmp_path: Path) -> None:
    for name, message in bad_takes(tmp_path, clip).items():
        with pytest.raises(VisemoError, match=message) as refusal:
            read_take(tmp_path / name)
        assert "\n" not in str(refusal.value) and name in str(refusal.value), name


def test_nothing_half_written(clip: Animation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracks, "_arrays", lambda clip: pytest.fail("stop"))
    with pytest.raises(pytest.fail.Exception, match="stop"):
        write_take(clip, tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())
    with pytest.raises(VisemoError, match="expected an existing one"):
        write_take(clip, tmp_path / "no" / "a.npz")


# ---------------------------------------------------------------- csv


def read_csv(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Header, time codes, values (T, 62): the count and the 61 curves."""
    rows = [line.split(",") for line in path.read_text().splitlines()]
    return rows[0], [row[0] for row in rows[1:]], np.array([[float(value) for value in row[1:]] for row in rows[1:]])


def test_csv_is_the_apps_own(clip: Animation, tmp_path: Path) -> None:
    residual = write_arkit_csv(clip, tmp_path / "a.csv", face=toy_face())
    header, codes, values = read_csv(tmp_path / "a.csv")
    assert len(header) == 63 and header[:4] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft", "EyeLookDownLeft"]
    assert header[16:20] == ["JawForward", "JawRight", "JawLeft", "JawOpen"]
    assert header[-9:] == [
        "HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll",
        "RightEyeYaw", "RightEyePitch", "RightEyeRoll",
    ]  # fmt: skip
    assert tuple(header) == CSV_HEADER and values.shape == (clip.frames, 62)
    assert np.all(values[:, 0] == 61)
    curves = values[:, 1:53]
    assert curves.min() >= 0 and curves.max() <= 1 and residual >= 0
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d:\d\d\.\d\d\d", code) for code in codes)
    assert codes[:2] == ["00:00:00:00.000", "00:00:00:01.000"] and codes[30] == "00:00:01:00.000"


def test_csv_order_is_that_of_recordings(shared_data: Path) -> None:
    recorded = np.load(next((shared_data / "motion" / "arkit_emotion_neurosync").glob("*.npz")))["names"]
    assert [name.lower() for name in CSV_HEADER[2:]] == [str(name).lower() for name in recorded]


def test_csv_angles_have_the_apps_signs(tmp_path: Path) -> None:
    """Turning to the own right, nodding down and leaning to the own left are positive."""
    clip = toy_clip(4)
    turns = np.array([[0, 0, 0], [0, -0.3, 0], [0.2, 0, 0], [0, 0, -0.1]])
    pose = np.zeros((4, 7), np.float32)
    pose[:, 3:] = matrix_to_quaternion(axis_angle_to_matrix(turns))
    gaze = np.array([0, 0.5, 1, 0], np.float32)[:, None]
    moving = replace(clip, head_pose=pose, lively_weights=gaze, lively_names=("eyeLookOutLeft",))
    write_arkit_csv(moving, tmp_path / "a.csv", face=toy_face())
    values = read_csv(tmp_path / "a.csv")[2][:, 53:]
    assert np.allclose(values[:, :3], [[0, 0, 0], [0.3, 0, 0], [0, 0.2, 0], [0, 0, 0.1]], atol=1e-5)
    assert values[2, 3] < -0.2 and not values[:, 4:].any()  # the left eye looks out: to the own left


@given(st.integers(0, 10**6), st.sampled_from([24.0, 25.0, 29.97, 30.0, 59.94, 60.0]))
def test_time_codes_say_when(frame: int, fps: float) -> None:
    hours, minutes, seconds, rest = time_code(frame, fps).split(":")
    assert int(minutes) < 60 and int(seconds) < 60 and float(rest) < round(fps)
    said = int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(rest) / round(fps)
    assert said == pytest.approx(frame / fps, abs=1e-3 / round(fps))


# ---------------------------------------------------------------- meshes


def test_a_mesh_per_frame(clip: Animation, tmp_path: Path) -> None:
    write_obj_folder(clip, tmp_path / "meshes")
    files = sorted((tmp_path / "meshes").iterdir())
    assert [file.name for file in files] == [f"frame_{t:06d}.obj" for t in range(clip.frames)]
    for t in (0, 17, 44):
        mesh = read_mesh(files[t])
        assert np.abs(mesh.vertices - clip.decode(t, t + 1)[0]).max() < 1e-7
        assert np.array_equal(mesh.triangles, clip.triangles)


def test_frames_are_replaced_but_nothing_else(clip: Animation, tmp_path: Path) -> None:
    write_obj_folder(clip, tmp_path / "meshes")
    write_obj_folder(toy_clip(3), tmp_path / "meshes")
    assert len(list((tmp_path / "meshes").iterdir())) == 3
    (tmp_path / "meshes" / "notes.txt").write_text("mine")
    with pytest.raises(VisemoError, match="folder with other files"):
        write_obj_folder(clip, tmp_path / "meshes")
    assert (tmp_path / "meshes" / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(VisemoError, match="got a file, expected a folder"):
        write_obj_folder(clip, tmp_path / "file")
    with pytest.raises(VisemoError, match="expected an existing one"):
        write_obj_folder(clip, tmp_path / "no" / "meshes")


def test_a_failed_folder_leaves_nothing(clip: Animation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Animation, "blocks", lambda self: (_ for _ in [pytest.fail("stop")]))
    with pytest.raises(pytest.fail.Exception, match="stop"):
        write_obj_folder(clip, tmp_path / "meshes")

    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracks.tempfile, "mkdtemp", full)
    with pytest.raises(VisemoError, match="cannot write there \\(No space left"):
        write_obj_folder(clip, tmp_path / "meshes")
    assert not list(tmp_path.iterdir())


def test_zip_members_are_plain(clip: Animation, tmp_path: Path) -> None:
    write_take(clip, tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.infolist()[0].filename == "vertices.npy"
