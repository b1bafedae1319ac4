"""Avatars on FLAME: the shared one lies where its source says, and a written take is posed as a viewer would."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from face.flame_models import OPEN_PACK, open_model, random_model
from toy_avatar import flame_avatar_in, some
from toy_face import toy_clip
from visemo.animation.flame import flame_motion_of
from visemo.export.flame_track import flame_size, write_flame_motion
from visemo.face.flame_layer import FlameLayer
from visemo.face.flame_motion import read_flame_motion
from visemo.face.flame_teeth import with_teeth
from visemo.models.flame_map import FlameMap
from visemo.render.flame_avatar import FlameAvatarRenderer
from visemo.types import VisemoError

SHARED = Path("gaussian_avatar") / "gaussianavatars_layout"


def known_map(rows: int = 5) -> FlameMap:
    matrix = 0.3 * np.random.default_rng(3).standard_normal((rows, 3)).astype(np.float32)
    return FlameMap(matrix, "0123", random_model().hash, "unknown", "FLAME", "toy")


def test_the_shared_avatar_lies_where_its_source_says(shared_data: Path) -> None:
    source = np.load(shared_data / "gaussian_avatar" / "lam_p2-1.npz")
    shown = FlameAvatarRenderer(shared_data / SHARED / "point_cloud.ply", open_model(shared_data), 32)
    splats = shown.splats(read_flame_motion(shared_data / SHARED / "flame_param.npz"), 0)
    wanted = source["vertices"] + source["gaussian_offset"] - source["flame_translation"]
    assert np.abs(splats.centres - wanted).max() < 1e-5
    assert (shared_data / OPEN_PACK).is_file()


def test_a_written_take_is_posed_as_a_viewer_poses_it(tmp_path: Path) -> None:
    clip, flame_map = toy_clip(7, fps=24, life=True), known_map()
    path, ply = tmp_path / "take.flame.npz", flame_avatar_in(tmp_path)
    write_flame_motion(clip, path, flame_map=flame_map)

    # a reader of its own: arrays that are not float32 are dropped, then these keys are asked for
    kept = {name: array for name, array in np.load(path).items() if array.dtype == np.float32}
    m = {name: kept[name] for name in ("translation", "rotation", "neck_pose", "jaw_pose", "eyes_pose", "expr")}
    assert {name: array.shape for name, array in m.items()} == {
        "translation": (7, 3), "rotation": (7, 3), "neck_pose": (7, 3), "jaw_pose": (7, 3), "eyes_pose": (7, 6),
        "expr": (7, 100),
    }  # fmt: skip
    assert kept["dynamic_offset"].shape == (7, 5143, 3) and not kept["dynamic_offset"].any()
    assert kept["dynamic_offset"].nbytes == flame_size(clip)
    assert "audio" not in kept and "fps" not in kept
    own = np.load(ply.parent / "flame_param.npz")
    model = with_teeth(random_model())
    parts = {
        "shape": own["shape"][None, :3], "expression": m["expr"][:, :2], "rotation": m["rotation"],
        "neck": m["neck_pose"], "jaw": m["jaw_pose"], "eyes": m["eyes_pose"], "translation": m["translation"],
        "static_offset": own["static_offset"],
    }  # fmt: skip
    meshes = FlameLayer(model)(**{name: torch.from_numpy(part) for name, part in parts.items()}).numpy()

    gaussians = some(40, triangles=10144)
    shown, motion = FlameAvatarRenderer(ply, random_model(), 32), read_flame_motion(path)
    direct = flame_motion_of(clip, flame_map)
    assert motion.fps == 24 and motion.sound is not None and clip.audio is not None
    np.testing.assert_allclose(motion.sound.samples, clip.audio.samples, atol=1 / 32767)
    for t in range(7):
        splats = shown.splats(motion, t)
        np.testing.assert_allclose(shown.splats(direct, t).centres, splats.centres, atol=1e-5)
        for n, face in enumerate(gaussians.binding):
            v0, v1, v2 = meshes[t, model.triangles[face]].astype(float)
            a0 = (v1 - v0) / np.linalg.norm(v1 - v0)
            a1 = np.cross(a0, v2 - v0) / np.linalg.norm(np.cross(a0, v2 - v0))
            a2 = -np.cross(a1, a0) / np.linalg.norm(np.cross(a1, a0))
            size = (np.linalg.norm(v1 - v0) + abs(a2 @ (v2 - v0))) / 2
            world = size * np.stack([a0, a1, a2], axis=1) @ gaussians.centres[n] + (v0 + v1 + v2) / 3
            assert np.abs(splats.centres[n] - world).max() < 1e-5


def test_looks_turn_the_eyes_and_the_head_the_neck() -> None:
    clip = toy_clip(5, life=True)
    motion = flame_motion_of(clip, known_map())
    assert clip.lively_weights is not None and clip.head_pose is not None
    np.testing.assert_allclose(motion.eyes_pose[:, 1], 0.5 * clip.lively_weights[:, 1], atol=1e-6)  # left, out
    assert not motion.eyes_pose[:, [0, 2, 3, 4, 5]].any()
    np.testing.assert_allclose(motion.neck_pose[:, 1], 0.1 * np.sin(2 * np.arange(5) / 30), atol=1e-5)


def test_blinks_are_what_the_map_makes_of_them() -> None:
    clip, columns = toy_clip(5, life=True), np.float32([[1, 2, 0.1, 0, 0.3]]).T
    still = flame_motion_of(clip, known_map())
    motion = flame_motion_of(clip, replace(known_map(), lively_names=("eyeBlinkLeft",), lively=columns))
    assert clip.lively_weights is not None
    blink = clip.lively_weights[:, :1]
    np.testing.assert_allclose(motion.expr[:, :2] - still.expr[:, :2], blink * [1, 2], atol=1e-6)
    np.testing.assert_allclose(motion.jaw_pose - still.jaw_pose, blink * [0.1, 0, 0.3], atol=1e-6)
    np.testing.assert_array_equal(motion.eyes_pose, still.eyes_pose)


def test_the_same_take_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_flame_motion(toy_clip(3), tmp_path / f"{name}.flame.npz", flame_map=known_map())
    assert (tmp_path / "a.flame.npz").read_bytes() == (tmp_path / "b.flame.npz").read_bytes()


def test_takes_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(VisemoError, match=r"no map .*visemo train flame-map"):
        write_flame_motion(toy_clip(2), tmp_path / "a.flame.npz")
    with pytest.raises(VisemoError, match="got weights of model feed"):
        flame_motion_of(replace(toy_clip(2), meta={"model_hash": "feed"}), known_map())
    with pytest.raises(VisemoError, match="got 101 components, expected at most 100"):
        flame_motion_of(toy_clip(2), known_map(104))
    assert not list(tmp_path.iterdir())


def test_avatars_that_cannot_be_drawn(tmp_path: Path) -> None:
    ply = flame_avatar_in(tmp_path, 60000)
    with pytest.raises(VisemoError, match="10143, the triangles of FLAME with teeth"):
        FlameAvatarRenderer(ply, random_model(), 32)
    ply = flame_avatar_in(tmp_path)
    np.savez(tmp_path / "flame_param.npz", **dict(np.load(tmp_path / "flame_param.npz")) | {"shape": np.ones(9, "f4")})
    with pytest.raises(VisemoError, match="shape: got coefficient 3 in use, expected none beyond the 3"):
        FlameAvatarRenderer(ply, random_model(), 32)
    (tmp_path / "flame_param.npz").unlink()
    with pytest.raises(VisemoError, match=r"no flame_param\.npz beside it"):
        FlameAvatarRenderer(ply, random_model(), 32)
