"""Gaussians fitted to pictures of the mesh: nearer to pictures that were held out, and the transpose is one."""

import re
from pathlib import Path

import numpy as np
import pytest

from toy_face import toy_clip, toy_face
from visemo.avatar.fit import fit_avatar
from visemo.avatar.from_face import avatar_from_face, write_avatar
from visemo.avatar.gaussians import read_gaussians
from visemo.cli.entry import main
from visemo.face.library import save_face
from visemo.render.avatar import AvatarRenderer
from visemo.render.video import FaceRenderer
from visemo.types import VisemoError


def test_a_fit_comes_nearer_to_what_it_has_not_seen() -> None:
    face = toy_face()
    gaussians = avatar_from_face(face)
    kept = gaussians.sh.copy()
    fitted = fit_avatar(gaussians, face, 16, size=64)
    for name, (before, after) in fitted.psnr.items():
        assert after > before, name
    new = fitted.gaussians
    assert np.array_equal(gaussians.sh, kept) and np.array_equal(new.sh[:, 1:], kept[:, 1:])
    off, grown = new.centres - gaussians.centres, new.scales - gaussians.scales
    assert 0.01 < np.abs(off).max() <= 0.3 + 1e-5 and not off[:, 1].any(), "in the plane of the triangle"
    assert 0.01 < np.abs(grown).max() <= 0.4 + 1e-5
    with pytest.raises(VisemoError, match="got 0 steps"):
        fit_avatar(gaussians, face, 0)


def test_the_verb_writes_the_avatar_that_is_nearer(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    face, clip = toy_face(), toy_clip()
    save_face(face, tmp_path / "toy")
    write_avatar(tmp_path, face)
    assert main(["avatar", "from-face", f"{tmp_path}/toy", "--fit", "8", "-o", f"{tmp_path}/new/fitted"]) == 0
    said = re.findall(r"(.+), not fitted: ([\d.]+) dB before, ([\d.]+) dB after", capsys.readouterr().out)
    assert [name for name, *_ in said] == ["other views", "other poses"]
    assert all(float(after) > float(before) for _, before, after in said)
    plain, fitted = tmp_path / "point_cloud.ply", tmp_path / "new" / "fitted" / "point_cloud.ply"
    old, new = read_gaussians(plain), read_gaussians(fitted)
    assert np.array_equal(old.rotations, new.rotations) and not np.array_equal(old.sh[:, 0], new.sh[:, 0])
    mesh = FaceRenderer(face, clip.basis, 128)
    errors = [
        sum(np.square(shown.frame(clip, t) - mesh.frame(clip, t).astype(float)).mean() for t in (5, 15, 25))
        for shown in (AvatarRenderer(cloud, face, clip.basis, 128, device="cpu") for cloud in (plain, fitted))
    ]
    assert errors[1] < errors[0], "a take that was not fitted either"
