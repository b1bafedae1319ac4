"""Avatars of faces: they look like the mesh, go with its takes, and with no other face's."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from toy_face import toy_clip, toy_face
from visemo.avatar.description import read_description
from visemo.avatar.from_face import avatar_from_face, describe, write_avatar
from visemo.avatar.gaussians import write_gaussians
from visemo.render.avatar import AvatarRenderer
from visemo.render.raster import plain
from visemo.render.video import FaceRenderer, write_png, write_video
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("avatar")
    assert write_avatar(folder, toy_face()) > len(toy_face().triangles)
    return folder


def test_an_avatar_looks_like_its_mesh_and_moves_with_it(folder: Path) -> None:
    face, clip = toy_face(), toy_clip()
    avatar = AvatarRenderer(folder / "point_cloud.ply", face, clip.basis, 96)
    mesh = FaceRenderer(face, clip.basis, 96)
    for t in (0, 9):
        drawn, wanted = avatar.frame(clip, t).astype(int), mesh.frame(clip, t).astype(int)
        assert np.abs(drawn - wanted).mean() < 12
    moved = np.abs(avatar.frame(clip, 0).astype(int) - avatar.frame(clip, 9)).mean()
    assert moved > 0.5 * np.abs(mesh.frame(clip, 0).astype(int) - mesh.frame(clip, 9)).mean()


def test_every_triangle_with_area_has_its_gaussians(folder: Path) -> None:
    face = toy_face()
    gaussians, said = avatar_from_face(face), read_description(folder / "point_cloud.ply")
    assert said == describe(face) and said.total == len(face.triangles) + sum(len(p.triangles) for p in face.parts)
    assert set(np.unique(gaussians.binding[gaussians.binding < len(face.triangles)])) == set(range(len(face.triangles)))


def test_an_avatar_is_seen_from_where_the_camera_stands(folder: Path) -> None:
    face, clip = toy_face(), toy_clip()
    cloud, white = folder / "point_cloud.ply", plain("white")
    front, side = (AvatarRenderer(cloud, face, clip.basis, 64, view, studio=white) for view in ("front", "side"))
    assert (front.frame(clip, 0)[0] == 255).all() and (front.frame(clip, 0)[32, 32] < 255).any()
    front.look(front.camera.orbited(84))
    assert np.array_equal(front.frame(clip, 3), side.frame(clip, 3))


def test_films_and_sheets_are_drawn_of_the_avatar(folder: Path, tmp_path: Path) -> None:
    clip, face, shares = toy_clip(4, life=True), toy_face(), []
    cloud = folder / "point_cloud.ply"
    write_video(clip, tmp_path / "a.mp4", size=48, face=face, avatar=cloud, progress=shares.append)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.audio and sum(1 for _ in container.decode(video=0)) == 4
    assert shares[-1] == 1
    write_png(clip, tmp_path / "a.png", size=48, face=face, avatar=cloud)
    with Image.open(tmp_path / "a.png") as page:
        assert page.width > 4 * 48


def test_an_avatar_of_another_face_is_refused(folder: Path, tmp_path: Path) -> None:
    face, clip = toy_face(), toy_clip()
    cloud = folder / "point_cloud.ply"
    other = replace(face, triangles=np.ascontiguousarray(face.triangles[:, [1, 2, 0]]))
    for wrong in (other, replace(face, parts=face.parts[:-1])):
        with pytest.raises(VisemoError, match="got an avatar of the face toy"):
            AvatarRenderer(cloud, wrong, clip.basis)
    (tmp_path / "point_cloud.ply").write_bytes(cloud.read_bytes())
    with pytest.raises(VisemoError, match=r"no avatar.json beside it.*from-face toy"):
        AvatarRenderer(tmp_path / "point_cloud.ply", face, clip.basis)
    said = json.loads((folder / "avatar.json").read_text())
    for text, match in (("{", "damaged"), ("[]", "damaged"), (json.dumps(said | {"schema": "2"}), "got schema '2'")):
        (tmp_path / "avatar.json").write_text(text)
        with pytest.raises(VisemoError, match=match):
            AvatarRenderer(tmp_path / "point_cloud.ply", face, clip.basis)
    (tmp_path / "avatar.json").write_text(json.dumps(said))
    gaussians = avatar_from_face(face)
    gaussians.binding[0] = describe(face).total
    write_gaussians(tmp_path / "point_cloud.ply", gaussians)
    with pytest.raises(VisemoError, match="belongs to another mesh"):
        AvatarRenderer(tmp_path / "point_cloud.ply", face, clip.basis)
    with pytest.raises(VisemoError, match="no folder"):
        write_avatar(tmp_path / "no", face)
