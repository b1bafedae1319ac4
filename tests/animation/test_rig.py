"""Takes on another head: planted curves arrive, shut lips stay shut, and the command line takes any ARKit rig."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiny import tone
from visemo.animation.closure import lip_difference
from visemo.animation.lively import add_life
from visemo.animation.retarget.another_head import is_rig, onto_rig, performed
from visemo.animation.retarget.arkit import arkit_curves, arkit_map
from visemo.animation.retarget.habit import GAZE, NATURAL, OPPOSITES, Habit
from visemo.cli.entry import main
from visemo.export.tracks import read_take
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.attach import part_bases
from visemo.face.face import Face, Part
from visemo.face.library import save_face
from visemo.face.user_mesh import UserMesh
from visemo.geometry.mesh import write_mesh
from visemo.media import save_wav
from visemo.types import Animation, Mesh, VisemoError

SIZE = 1.2


@pytest.fixture(scope="module")
def source(tiny_face) -> Face:
    return replace(tiny_face, landmarks={36: 30, 45: 480, 30: 250, 8: 200})


@pytest.fixture(scope="module")
def rig(source) -> Face:
    """The tiny face, larger, elsewhere and with its vertices in another order; its smile parts the lips, and it has
    a shape that shuts them."""
    order = np.random.default_rng(4).permutation(len(source.template))
    place = np.argsort(order).astype(np.int32)
    shapes = np.zeros((len(ARKIT_NAMES), *source.template.shape), np.float32)
    for name in source.shape_names:
        shapes[ARKIT_NAMES.index(name)] = SIZE * source.shape(name)[order]
    lower = place[source.lip_pairs[:, 1]]
    for name, drop in (("mouthSmileLeft", -0.004), ("mouthClose", 0.006)):
        shapes[ARKIT_NAMES.index(name), lower, 1] += drop
    return replace(
        source,
        name="other",
        template=(SIZE * source.template[order] + [0.1, 1.5, 0]).astype(np.float32),
        triangles=place[source.triangles],
        regions={name: place[rows] for name, rows in source.regions.items()},
        lip_pairs=place[source.lip_pairs],
        mirror=place[source.mirror[order]],
        colors=source.colors[order],
        shape_names=ARKIT_NAMES,
        shapes=shapes,
        landmarks={number: int(place[vertex]) for number, vertex in source.landmarks.items()},
    )


def column(name: str) -> int:
    return ARKIT_NAMES.index(name)


@pytest.fixture(scope="module")
def clip(source) -> Animation:
    """A jaw that opens and shuts, and a smile that stays."""
    t = np.arange(60) / 30
    jaw = np.maximum(np.sin(2 * np.pi * t), 0).astype(np.float32)[:, None]
    smile = np.full((60, 1), 0.6, np.float32)
    zeros = np.zeros((60, 1), np.float32)
    basis = np.stack([0.5 * source.shape("jawOpen"), source.shape("mouthSmileLeft")])
    return Animation(
        jaw, smile, zeros, zeros, basis, source.template, source.triangles, source.lip_pairs, "tiny",
        meta={"model": "tiny", "model_hash": "0123", "mode": "fused"},
    )  # fmt: skip


def gap(curves, face) -> np.ndarray:
    return np.linalg.norm(lip_difference(curves, face.shapes, face), axis=2).mean(axis=1)


def test_planted_curves_arrive_and_the_two_parts_stay_apart(clip, source, rig):
    taken = onto_rig(clip, source, rig)
    assert taken.speech_weights.shape == taken.expression_weights.shape == (60, 52)
    opened = clip.speech_weights[:, 0] > 0.8  # well away from the closures
    assert np.allclose(taken.speech_weights[opened, column("jawOpen")], 0.5 * clip.speech_weights[opened, 0], atol=0.03)
    assert np.allclose(taken.expression_weights[opened, column("mouthSmileLeft")], 0.6, atol=0.06)
    assert np.abs(taken.speech_weights[opened, column("mouthSmileLeft")]).max() < 0.03
    total = taken.speech_weights + taken.expression_weights
    assert total.min() >= -1e-6 and total.max() <= 1 + 1e-6 and taken.speech_weights.min() >= 0
    assert not taken.speech_leak.any() and not taken.expression_leak.any()


def test_the_take_is_template_and_shapes_exactly(clip, source, rig):
    taken = onto_rig(clip, source, rig)
    total = (taken.speech_weights + taken.expression_weights).astype(np.float64)
    wanted = rig.template + np.tensordot(total, rig.shapes.astype(np.float64), 1)
    assert np.abs(taken.vertices - wanted).max() < 1e-6
    assert (taken.face, taken.meta["face_hash"]) == ("other", rig.hash)
    curves, residual = arkit_curves(taken, rig)
    assert np.allclose(curves, total, atol=1e-6) and residual == 0
    assert taken.meta["model_hash"] not in ("0123", onto_rig(clip, source, replace(rig, name="b")).meta["model"])


def test_lips_that_are_shut_stay_shut(clip, source, rig):
    """The rig's smile opens them by more than 2 mm; its own mouthClose is found to help, and only there."""
    taken = onto_rig(clip, source, rig)
    shut = clip.speech_weights[:, 0] < 0.02
    told = taken.meta["retarget"]
    assert told["rig"] == "other" and told["shut_frames"] >= shut.sum()
    before, after = told["gap_mm"]
    assert before > 2 and after < 1
    total = taken.speech_weights + taken.expression_weights
    assert gap(total[shut], rig).max() <= 1e-3
    assert total[shut, column("mouthClose")].min() > 0.2
    far = np.abs(np.arange(60)[:, None] - np.flatnonzero(shut)).min(axis=1) > 4
    assert far.any() and np.abs(total[far, column("mouthClose")]).max() < 0.05
    assert np.abs(total[:, [column("browInnerUp"), column("eyeBlinkLeft")]]).max() < 1e-3  # nothing above the mouth
    assert gap(taken.speech_weights[shut], rig).max() <= 1e-3


def test_a_take_without_shut_lips_is_left_alone(clip, source, rig):
    wide = replace(clip, speech_weights=0.5 + 0.5 * clip.speech_weights)
    taken = onto_rig(wide, source, rig)
    assert taken.meta["retarget"]["shut_frames"] == 0 and taken.meta["retarget"]["gap_mm"] == [0.0, 0.0]
    assert np.abs((taken.speech_weights + taken.expression_weights)[:, column("mouthClose")]).max() < 1e-3


def test_life_goes_along_about_the_rig_s_own_middle(clip, source, rig):
    lively = add_life(clip, seed=3)
    assert lively.head_pose is not None and lively.lively_names
    some = replace(rig, shape_names=tuple(n if n != lively.lively_names[0] else "x" for n in rig.shape_names))
    taken = onto_rig(lively, source, some)
    assert taken.lively_names == lively.lively_names[1:]
    assert np.array_equal(taken.lively_weights, lively.lively_weights[:, 1:])
    from visemo.geometry.rotation import quaternion_to_matrix

    t = int(np.linalg.norm(lively.head_pose[:, 4:], axis=1).argmax())
    middle = np.array([0.1, 1.5, 0.0])  # where the source's origin is on the rig
    for pose, point in ((lively.head_pose[t], np.zeros(3)), (taken.head_pose[t], middle)):
        moved = quaternion_to_matrix(pose[3:]) @ point + pose[:3] - point
        size = SIZE if point.any() else 1.0
        assert np.allclose(moved, size * lively.head_pose[t, :3], atol=1e-5)
    plain = onto_rig(lively, replace(source, landmarks={}), some)
    assert np.array_equal(plain.head_pose, lively.head_pose)


def test_habits_keep_opposites_from_pulling_at_once():
    matrix = Habit(0.0, 0.0, 1.0, 0.0).penalty(ARKIT_NAMES)
    assert np.array_equal(matrix, matrix.T) and np.linalg.eigvalsh(matrix)[0] > -1e-9
    one, both = np.zeros(52), np.zeros(52)
    one[column("mouthLeft")] = both[column("mouthLeft")] = both[column("mouthRight")] = 1
    assert both @ matrix @ both == 4 * (one @ matrix @ one)
    assert all(name in ARKIT_NAMES for pair in OPPOSITES for name in pair)
    looks = np.diag(Habit(0.0, 0.0, 0.0, 1.0).penalty([*ARKIT_NAMES, "lookUp"])) == 1
    assert (
        looks.sum() == 9
        and looks[-1]
        and all(name.lower().startswith(GAZE[0]) for name in np.array(ARKIT_NAMES)[looks[:-1]])
    )


def test_few_curves_where_many_would_do(source):
    """A motion that is a smile and a little noise: the habit leaves the noise alone."""
    chance = np.random.default_rng(2)
    noise = np.tensordot(0.02 * chance.normal(size=len(source.shapes)), source.shapes, 1)
    basis = (0.7 * source.shape("mouthSmileLeft") + noise).astype(np.float32)[None]
    one = np.ones((1, 1), np.float32)
    known = arkit_map(source, basis)
    free, exact = known.curves(one)
    held, residual = known.curves(one, NATURAL)
    smile = known.names.index("mouthSmileLeft")
    others = np.arange(len(known.names)) != smile
    assert held[0, others].sum() < 0.8 * free[0, others].sum() and exact <= residual < exact + 0.1
    assert abs(held[0, smile] - 0.7) < 0.05


def test_parts_follow_a_rig_s_own_shapes_exactly(rig):
    """Also shapes that do not move the face itself, such as a look of the eyes."""
    shapes = np.random.default_rng(5).normal(size=(52, 3, 3)).astype(np.float32)
    part = Part(
        "eye", np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32), np.eye(3, dtype=np.float32), shapes
    )
    bases = part_bases(replace(rig, parts=(part,)), np.concatenate([rig.shapes, rig.shapes]))
    assert np.allclose(bases["eye"], np.concatenate([shapes, shapes]), atol=1e-6)


def test_what_is_no_rig_is_refused(clip, source, rig):
    assert is_rig(rig) and not is_rig(source) and not is_rig(replace(source, shapes=None, shape_names=()))
    with pytest.raises(VisemoError, match="face tiny: got 8 of ARKit's 52 shapes, expected at least 30"):
        onto_rig(clip, source, source)
    small = replace(clip, basis=clip.basis[:, :5], template=clip.template[:5], triangles=clip.triangles[:0],
                    lip_pairs=clip.lip_pairs[:0])  # fmt: skip
    with pytest.raises(VisemoError, match="got 5 vertices, expected the"):
        onto_rig(small, source, rig)
    with pytest.raises(VisemoError, match="face tiny: got 8 of ARKit's 52 shapes"):
        performed(np.zeros((2, 52), np.float32), 30.0, source)
    with pytest.raises(VisemoError, match="curves: got shape"):
        performed(np.zeros((2, 51), np.float32), 30.0, rig)


def test_recorded_curves_move_the_rig_s_own_shapes(rig):
    curves = np.random.default_rng(7).uniform(0, 1, (9, 52)).astype(np.float32)
    taken = performed(curves, 60.0, rig)
    assert np.abs(taken.vertices - (rig.template + np.tensordot(curves, rig.shapes, 1))).max() < 1e-6
    assert (taken.fps, taken.face, taken.meta["face_hash"]) == (60.0, "other", rig.hash)
    again, residual = arkit_curves(taken, rig)
    assert np.array_equal(again, curves) and residual == 0


# ---------------------------------------------------------------- the command line


def test_animate_takes_any_rig(rig, tiny_folder, tmp_path, capsys):
    save_wav(tone(0.4), tmp_path / "hum.wav")
    save_face(rig, tmp_path / "rig")
    words = ["animate", str(tmp_path / "hum.wav"), "--model", str(tiny_folder), "--face", str(tmp_path / "rig")]
    outs = [str(tmp_path / name) for name in ("take.npz", "take.glb", "take.csv", "take.png", "take.mp4")]
    assert main([*words, "--expression", "happy", "--lively", *(f"-o{out}" for out in outs)]) == 0
    said = capsys.readouterr().out
    assert "carried over to other: " in said and "mm of the motion is beyond ARKit's curves" in said
    taken = read_take(tmp_path / "take.npz")
    assert taken.face == "other" and taken.basis.shape == (104, *rig.template.shape)
    assert (tmp_path / "take.csv").read_text().splitlines()[0].startswith("Timecode,BlendShapeCount")
    edit = ["edit", outs[0], "--model", str(tiny_folder), "--face", str(tmp_path / "rig")]
    assert main([*edit, "-o", str(tmp_path / "again.glb")]) == 0
    assert main([*edit, "--expression", "sad", "-o", str(tmp_path / "sad.glb")]) == 2
    assert "use the model that made it" in capsys.readouterr().err


@pytest.fixture
def hum(tmp_path) -> list[str]:
    save_wav(tone(0.3), tmp_path / "hum.wav")
    return ["animate", str(tmp_path / "hum.wav")]


def test_animate_takes_a_mesh_with_shapes_beside_it(rig, hum, tiny_folder, capsys, monkeypatch):
    from visemo.face import user_mesh

    tmp_path = Path(hum[1]).parent
    write_mesh(tmp_path / "head.obj", Mesh(rig.template, rig.triangles))
    (tmp_path / "head_shapes").mkdir()
    found = UserMesh(replace(rig, name="head"), ("taken as m",))
    monkeypatch.setattr(user_mesh, "read_user_mesh", {tmp_path / "head.obj": found}.get)
    words = [*hum, "--model", str(tiny_folder), "--face", str(tmp_path / "head.obj")]
    assert main([*words, "-o", str(tmp_path / "take.npz")]) == 0
    said = capsys.readouterr().out
    assert "taken as m" in said and "carried over to head" in said
    poor = replace(rig, shapes=rig.shapes[:8], shape_names=rig.shape_names[:8])
    monkeypatch.setattr(user_mesh, "read_user_mesh", lambda path: UserMesh(poor, ()))
    assert main([*words, "-o", str(tmp_path / "take.npz")]) == 2
    assert "with 8 of ARKit's 52 shapes" in capsys.readouterr().err
