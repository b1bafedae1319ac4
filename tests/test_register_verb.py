"""`visemo register`: mesh, report and picture; what is wrong is said in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from visemo.cli import register as verb
from visemo.cli.register import Register
from visemo.face.library import save_face
from visemo.geometry.mesh import read_mesh, write_mesh
from visemo.geometry.register import RegisterConfig, Stage
from visemo.types import Mesh, VisemoError

POINTS = (0, 60, 130, 200, 280, 350, 430, 500)  # vertices of the tiny face


@pytest.fixture
def face(tiny_face, tmp_path):
    known = replace(tiny_face, landmarks=dict(zip(range(30, 38), POINTS)))
    save_face(known, tmp_path / "face")
    return known


@pytest.fixture
def scan(face, tmp_path):
    """The tiny face in other numbers, twice as large."""
    path = tmp_path / "scan.ply"
    write_mesh(path, Mesh(2 * face.template, face.triangles[::-1].copy()))
    return path


@pytest.fixture
def quick(monkeypatch):
    """Registration with few rounds: what is tested here is what becomes of it."""
    from visemo.face import registering

    config, full = RegisterConfig(stages=(Stage(0.01, 2, 0.01, 0.0, 0.01),)), registering.register
    monkeypatch.setattr(
        registering, "register", lambda face, triangles, scan, pairs, _: full(face, triangles, scan, pairs, config)
    )


@pytest.mark.usefixtures("quick")
def test_mesh_report_and_picture_are_written(face, scan, tmp_path, capsys):
    points = tmp_path / "points.json"
    named = {
        str(number): POINTS[i] if i % 2 else (2 * face.template[POINTS[i]]).tolist()
        for i, number in enumerate(face.landmarks)
    }
    points.write_text(json.dumps(named))
    truth = tmp_path / "truth.ply"
    write_mesh(truth, Mesh(2 * face.template, face.triangles))
    out = tmp_path / "laid.ply"
    assert Register(scan, str(out), str(tmp_path / "face"), points, truth).run() == 0
    np.testing.assert_allclose(read_mesh(out).vertices, 2 * face.template, atol=2e-4)
    np.testing.assert_array_equal(read_mesh(out).triangles, face.triangles)
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["scale"] == pytest.approx(2)
    assert report["surface_max_mm"] < 0.1
    assert report["correspondence_mean_mm"] < 0.1
    assert report["flips"] == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: surface 0.0")
    assert len(said.splitlines()) == 1
    assert Image.open(out.with_suffix(".png")).size == (3 * verb.PANEL, verb.PANEL)


def test_a_folder_of_scans_in_the_faces_own_topology(face, tmp_path):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for name in "ab":
        write_mesh(scans / f"{name}.obj", Mesh(face.template, face.triangles))
    assert Register(scans, f"{out}/", str(tmp_path / "face")).run() == 0
    assert sorted(path.name for path in out.iterdir()) == [f"{n}.{s}" for n in "ab" for s in ("json", "ply", "png")]
    np.testing.assert_array_equal(read_mesh(out / "a.ply").vertices, face.template)
    assert Register(scans / "a.obj", f"{out}/", str(tmp_path / "face")).run() == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "no readable JSON"),
        ("[1]", "got list"),
        ('{"99": [0, 0, 0]}', "got 99"),
        ('{"30": [0, 0]}', r"got 30: \[0, 0\]"),
        ('{"30": 100000}', "got 30: 100000"),
        ('{"nose": [0, 0, 0]}', "got nose"),
    ],
)
def test_landmark_files_that_cannot_be_used_are_refused(face, scan, tmp_path, text, complaint):
    (tmp_path / "points.json").write_text(text)
    with pytest.raises(VisemoError, match=complaint):
        verb.read_landmarks(tmp_path / "points.json", Mesh(face.template, face.triangles))


def test_places_that_cannot_be_written_or_read_are_refused(face, scan, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for source, out, complaint in (
        (scan, "x.stl", "got x.stl"),
        (scan, str(scan), "the scan itself"),
        (empty, f"{tmp_path}/", "without meshes"),
        (tmp_path, "x.ply", "for a folder of scans"),
        (tmp_path, f"{tmp_path}/", "holds the scans"),
    ):
        with pytest.raises(VisemoError, match=complaint):
            Register(source, out, str(tmp_path / "face")).run()
    truth = tmp_path / "truth.ply"
    write_mesh(truth, Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32)))
    with pytest.raises(VisemoError, match="got 3 vertices"):
        Register(scan, str(tmp_path / "x.ply"), str(tmp_path / "face"), truth=truth).run()
