"""What no reader believes: damage, other formats, code. One line each: got, expected, and nothing is run."""

import io
import json
import os
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

import peer_files as peer
from face.flame_models import random_model
from peer_files import SUBJECT, head, talking
from visemo.data.peers import Bodies, Clip, find_clips
from visemo.types import VisemoError


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder) -> None:
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def refusal(path, bodies=Bodies()):  # noqa: B008 - frozen
    """The line that is said of the clips of a path."""
    with pytest.raises(VisemoError) as refused:
        for found in find_clips(path, bodies):
            found.read()
    line = str(refused.value)
    assert "\n" not in line and ("expected" in line), line
    return line


# ---------------------------------------------------------------- code


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pkl", ".pt", "templates"])
def test_code_is_refused_by_name_and_not_run(tmp_path, suffix):
    trap, path = Trap(tmp_path / "sprung"), tmp_path / f"clip{suffix}"
    if suffix == ".npy":
        np.save(path, {"exp": trap}, allow_pickle=True)  # type: ignore[arg-type]
    elif suffix == ".npz":
        np.savez(path, **{"a.wav": {"D1": trap}})  # type: ignore[arg-type]
    elif suffix == ".pkl":
        path.write_bytes(pickle.dumps({"expression": trap}))
    elif suffix == ".pt":
        torch.save(trap, path)
    else:
        path = peer.write_vocaset(tmp_path, f"{SUBJECT}_sentence01", talking(60, 0.1))
        (tmp_path / "templates.pkl").write_bytes(pickle.dumps({SUBJECT: trap}))
    assert f"{os.mkdir.__module__}.mkdir" in refusal(path)
    assert not (tmp_path / "sprung").exists()


# ---------------------------------------------------------------- formats


def test_nothing_there_and_nothing_known(tmp_path):
    assert "got no such file or folder" in refusal(tmp_path / "none.npy")
    assert "got nothing that is known" in refusal(tmp_path)
    (tmp_path / "clip.fbx").write_text("Kaydara")
    assert "got nothing that is known" in refusal(tmp_path / "clip.fbx")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged array"),
        (b"hello, this is text", "damaged array"),
        (b"\x93NUMPY\x01\x00\x46\x00{'descr'", "damaged array"),
        (np.zeros((3, 7), np.float32), "got float32 (3, 7)"),
        (np.zeros((3, 6), np.int32), "got int32 (3, 6)"),
        (np.zeros((0, 6), np.float32), "got float32 (0, 6)"),
        (np.array([{"exp": 1}, {"exp": 2}], object), "got a pickled ndarray"),
        (np.array({"vertices": np.zeros(3)}, object), "got vertices, expected FLAME parameters"),
        (np.array([1, [2]], object)[:1].reshape(()), "got int, expected FLAME parameters"),
        (np.full((3, 30), np.nan, np.float32), "got NaN"),
        (1e-5 * talking(30, 0.1, 40), "expected a head in m, cm or mm"),
        (np.array({"exp": np.zeros((3, 2)), "pose": np.zeros((4, 6))}, object), "expected a row per frame"),
        (np.array({"exp": np.zeros((3, 2)), "pose": np.zeros((3, 4))}, object), "expected a row per frame"),
        (np.array({"exp": np.zeros(3), "pose": np.zeros((3, 6))}, object), "got exp of float64 (3,)"),
        (np.array({"exp": np.zeros((3, 2)), "pose": np.zeros((3, 6))}, object), "--flame FILE"),
    ],
)
def test_arrays(tmp_path, content, said):
    path = tmp_path / "clip.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content, allow_pickle=True)
    line = refusal(path)
    assert said in line and "clip" in line


def test_late_frames_are_looked_at_too(tmp_path):
    vertices = talking(30, 0.2, 40)
    vertices[-1, 3] = np.inf
    assert "clip: vertices: got NaN or infinite" in refusal(peer.write_flat(tmp_path / "clip.npy", vertices))


def test_archives(tmp_path, tiny_face):
    path = tmp_path / "clip.npz"
    path.write_text("hello")
    assert "got no readable arrays" in refusal(path)
    np.savez(path, a=np.zeros(3))
    assert "got a, expected FLAME parameters" in refusal(path)
    np.savez(path, **{"a.wav": np.array(None)})  # type: ignore[arg-type]
    assert "got NoneType for a.wav.npy, expected a dictionary by data set" in refusal(path)
    for field in (np.zeros((2, 4, 2, 3)), np.zeros((0, 4, 3)), np.zeros((3, 4)), np.zeros((3, 4, 3), np.int64)):
        assert "for a.wav, D1, expected vertices (T, V, 3)" in refusal(
            peer.write_unitalker(path, {"a.wav": {"D1": field}})
        )
    both = {name: {"D1": talking(30, 0.1, 40)} for name in ("a.wav", "b.wav")}
    whole = peer.write_unitalker(path, both).read_bytes()
    at = whole.rindex(b"OrderedDict")
    path.write_bytes(whole[:at] + b"orderedDict" + whole[at + 11 :])  # its checksum does not fit any more
    assert "got a damaged b.wav.npy (Bad CRC-32" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.wav.npy", _header_of_objects())
        archive.writestr("b.wav.npy", b"no array")
    assert "got a damaged" in refusal(path)
    take = peer.take_arrays(tiny_face, np.zeros((4, len(tiny_face.shapes))), 30, vertices=False)
    for wrong in ({"basis": take["basis"][1:]}, {"fps": np.array("slow")}, {"meta": np.array("[]")}):
        np.savez(path, **(take | wrong))  # type: ignore[arg-type]
        assert "got a damaged take" in refusal(path)
    np.savez(path, **(take | {"faces": take["faces"] + 9000}))  # type: ignore[arg-type]
    assert "clip: triangles: got indices" in refusal(path)


def _header_of_objects() -> bytes:
    """The beginning of a .npy that holds an object, and nothing after it."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    return stream.getvalue()


def test_clips_check_themselves():
    vertices = talking(30, 0.1, 40)
    for fps in (0.0, -30.0, np.nan, np.inf):
        with pytest.raises(VisemoError, match=f"got 3 frames, {fps} per second"):
            Clip("x", "", vertices, fps)
    with pytest.raises(VisemoError, match="got 0 frames"):
        Clip("x", "", vertices[:0], 30)
    with pytest.raises(VisemoError, match="template: got shape"):
        Clip("x", "", vertices, 30, template=head(41))


def test_meshes(tmp_path):
    other = peer.write_voca(tmp_path / "other", talking(60, 0.1, 30)) / "meshes"
    peer.write_obj(other / "00003.obj", head(33), np.arange(33).reshape(-1, 3), textured=False)
    assert "00003.obj: got 33 vertices in another topology, expected that of 00000.obj, 30" in refusal(
        tmp_path / "other"
    )
    turned = peer.write_voca(tmp_path / "turned", talking(60, 0.1, 30)) / "meshes"
    peer.write_obj(turned / "00003.obj", head(30), np.arange(30).reshape(-1, 3)[::-1], textured=False)
    assert "another topology" in refusal(tmp_path / "turned")
    (turned / "00003.obj").write_text("v 1 2\n")
    assert "00003.obj" in refusal(tmp_path / "turned")


def test_templates_that_are_none(tmp_path):
    folder = peer.write_vocaset(tmp_path, f"{SUBJECT}_sentence01", talking(60, 0.1))
    for table, got in (([1, 2], "list"), ({SUBJECT: "tall"}, "str")):
        (tmp_path / "templates.pkl").write_bytes(pickle.dumps(table))
        assert f"templates.pkl: got {got}, expected VOCASET's templates" in refusal(folder)
    (tmp_path / "templates.pkl").write_bytes(pickle.dumps({SUBJECT: head(40)}))
    assert "template: got shape (40, 3)" in refusal(folder)


def test_parameters(tmp_path):
    path = tmp_path / "clip.pt"
    path.write_text("hello")
    assert "got no tensor" in refusal(path)
    torch.save(torch.zeros(3, 60), path)
    assert "got a tensor (3, 60), expected ARTalk's motions, (T, 106)" in refusal(path)
    for what, available in (("expression", 2), ("shape", 3)):  # of the model
        parts = {"expression": np.zeros((3, 50)), "shape": np.zeros(100)}
        parts[what][..., available] = 1
        wide = peer.write_diffposetalk(tmp_path / "wide.npz", parts["expression"], np.zeros((3, 3)), parts["shape"])
        line = refusal(wide, Bodies(random_model()))
        assert line.startswith(f"{wide}: {what}: got coefficient {available} in use, expected none beyond the")


def test_curves(tmp_path, tiny_face):
    face = Bodies(face=tiny_face)
    curves = {"jawOpen": np.linspace(0, 1, 5)}
    emotalk = peer.write_emotalk(tmp_path / "level1.npy", curves)
    assert "got ARKit curves and no face" in refusal(emotalk)
    assert "--face NAME" in refusal(emotalk, Bodies(face=_shapeless(tiny_face)))
    path = tmp_path / "clip.json"
    for table in ([], {"facsNames": ["jawOpen"]}, {"facsNames": ["jawOpen"], "weightMat": [["a"]]}):
        path.write_text(json.dumps(table))
        assert "got no curves of Audio2Face" in refusal(path, face)
    path.write_text(json.dumps({"facsNames": ["jawOpen"], "weightMat": [[0.1, 0.2]]}))
    assert "got weightMat (1, 2) for 1 facsNames" in refusal(path, face)
    path.write_text(json.dumps({"facsNames": ["AU25"], "weightMat": [[0.1]]}))
    assert "got curves AU25..., expected ARKit's names" in refusal(path, face)
    time = np.arange(5) / 30
    for name, wrong in (("back", time[::-1]), ("far", time**9 * 1e12), ("nan", time * np.nan), ("same", 0 * time)):
        folder = peer.write_audio2face(tmp_path / name, wrong, curves)
        assert "got 5 time codes that do not grow frame by frame" in refusal(folder, face)
    table = folder / "animation_frames.csv"
    table.write_text("timeCode,blendShapes.JawOpen\n0.0,0.5\n0.1\n")
    assert "got a damaged table" in refusal(folder, face)
    table.write_text("timeCode,blendShapes.JawOpen\n0.0,0.5\n")
    assert "got 1 time codes" in refusal(folder, face)
    table.write_text('timeCode,"' + "x" * 200_000)
    assert "got no table (field larger" in refusal(folder, face)
    table.write_text("")
    assert "animation_frames.csv" in refusal(folder, face)


def _shapeless(face):
    return replace(face, shape_names=(), shapes=None)
