"""Maps as files, the lively track through them, and the report."""

import json
from dataclasses import replace

import numpy as np
import pytest

from visemo.animation.animator import Animator
from visemo.animation.lively import add_life
from visemo.animation.retarget.report import markdown, report_of
from visemo.animation.retarget.rig_map import RigMap
from visemo.face.rigs.named import Rig
from visemo.types import Mesh, VisemoError

NAMES = ("A", "joy", "eyeBlinkLeft", "wink", "brow")


@pytest.fixture(scope="module")
def rig(tiny_face) -> Rig:
    """One shape by ARKit's name, one that is ARKit's by another, a mixture."""
    shape = tiny_face.shape
    shapes = [shape("jawOpen"), shape("mouthSmileLeft") + shape("mouthSmileRight"), shape("eyeBlinkLeft")]
    shapes += [shape("eyeBlinkRight"), shape("browInnerUp")]
    return Rig("avatar", Mesh(tiny_face.template, tiny_face.triangles), NAMES, np.stack(shapes), notes=("assumed",))


@pytest.fixture(scope="module")
def animator(tiny_model) -> Animator:
    return Animator(tiny_model)


@pytest.fixture(scope="module")
def rig_map(animator, rig) -> RigMap:
    return RigMap.of("tiny", animator.model.hash, animator.basis, animator.face, rig)


@pytest.fixture(scope="module")
def clip(animator):
    from tiny import tone

    return animator.animate(tone(0.8), "happy")


def test_life_goes_by_name_or_by_what_it_looks_like(rig_map, clip):
    lively = add_life(clip, seed=2)
    blink = np.zeros_like(lively.lively_weights)
    for column, name in enumerate(lively.lively_names):
        blink[:, column] = 0.8 * name.startswith("eyeBlink")
    plain, _ = rig_map.curves(clip)
    blinking, _ = rig_map.curves(replace(lively, lively_weights=blink))
    moved = blinking - plain
    assert np.allclose(moved[:, 2], np.minimum(0.8, 1 - plain[:, 2]), atol=1e-5)  # by name
    assert (moved[:, 3] > 0.7).all()  # by its shape
    assert np.abs(moved[:, [0, 1, 4]]).max() < 0.02 and blinking.max() <= 1


def test_a_map_is_the_same_after_a_file(rig_map, clip, tmp_path):
    rig_map.save(tmp_path / "map.npz")
    again = RigMap.load(tmp_path / "map.npz")
    assert (again.names, again.habit, again.notes, again.lively_names) == (
        NAMES, rig_map.habit, ("assumed",), rig_map.lively_names,
    )  # fmt: skip
    assert (again.model, again.model_hash, again.rig, again.rig_hash) == (
        "tiny", rig_map.model_hash, "avatar", rig_map.rig_hash,
    )  # fmt: skip
    assert again.shapes.matrix.shape == (5, 7) and again.shapes.limits.tolist() == [[0, 1]] * 5
    assert np.array_equal(again.curves(clip)[0], rig_map.curves(clip)[0])


def test_another_model_s_takes_are_refused(rig_map, clip):
    with pytest.raises(VisemoError, match="got a take of model 77, expected 0123456789abcdef"):
        rig_map.curves(replace(clip, meta={**clip.meta, "model_hash": "77"}))
    with pytest.raises(VisemoError, match="got a take of model unknown"):
        rig_map.check_model(None)


def changed(path, out, **arrays):
    with np.load(path) as file:
        content = dict(file) | arrays
    np.savez(out, **{name: array for name, array in content.items() if array is not None})
    return out


def test_files_that_are_no_map(rig_map, tmp_path):
    good, bad = tmp_path / "map.npz", tmp_path / "bad.npz"
    rig_map.save(good)
    meta = json.loads(str(np.load(good)["meta"]))
    refused = {
        "its arrays are": {"extra": np.zeros(1)},
        "its arrays are ": {"matrix": None},
        "matrix: got shape": {"matrix": np.zeros((5, 6), np.float32)},
        "shape_energy: got float32": {"shape_energy": np.zeros((5, 5), np.float32)},
        "limits without 0": {"limits": np.tile(np.float32([0.1, 1]), (5, 1))},
        "lively: got NaN": {"lively": np.full_like(rig_map.lively, np.nan)},
        "foreign description": {"meta": np.array(json.dumps({**meta, "schema": "other"}))},
        "foreign description ": {"meta": np.array(json.dumps([]))},
        "got no rig map": {"meta": np.array("{")},
        "got no rig map ": {"meta": np.array(json.dumps({**meta, "habit": {"speed": 1}}))},
    }
    for said, arrays in refused.items():
        with pytest.raises(VisemoError, match=said.strip()) as raised:
            RigMap.load(changed(good, bad, **arrays))
        assert str(raised.value).startswith(f"{bad}: ")
    with pytest.raises(VisemoError, match="no such file"):
        RigMap.load(tmp_path / "none.npz")
    bad.write_bytes(b"PK not a zip")
    with pytest.raises(VisemoError, match="got no rig map"):
        RigMap.load(bad)
    np.save(bad.open("wb"), np.array([{}], object), allow_pickle=True)
    with pytest.raises(VisemoError, match=r"it is no \.npz of plain arrays"):
        RigMap.load(bad)


def test_the_report_says_what_is_planted(rig_map, rig, animator, clip):
    """Against a slow count over vertices, region by region."""
    face = animator.face
    report = report_of(rig_map, rig.shapes, face, {"happy": clip, "lively": add_life(clip)})
    take = report.takes[0]
    curves, _ = rig_map.curves(clip)
    missed = np.tensordot(curves, rig.shapes, 1) - np.tensordot(clip.weights, clip.basis, 1)
    off = 1000 * np.sqrt((missed**2).sum(axis=2))
    rows = {"whole": np.arange(len(face.template)), "lips": face.regions["lips"]}
    rows["brows, eyes"] = np.union1d(face.regions["brows"], face.regions["eyes"])
    assert set(take.left_mm) == set(rows)  # the tiny face names no mouth
    for region, own in rows.items():
        assert np.isclose(take.left_mm[region], np.sqrt((off[:, own] ** 2).mean()), atol=1e-3)
    second, worst = take.worst[0]
    frames = np.sqrt((off**2).mean(axis=1))
    assert np.isclose(worst, frames.max(), atol=1e-3) and round(second * 30) == frames.argmax()
    assert report.takes[1].left_mm == take.left_mm  # life is not counted
    assert list(report.blendshapes) == ["speech_000", "speech_001", "speech_002", "speech_003",
                                        "expression_000", "expression_001", "expression_002"]  # fmt: skip
    page = markdown(report)
    assert page.startswith("# tiny on avatar") and "- assumed" in page and "5 curves: A, joy" in page
    assert f"| happy | {take.left_mm['whole']:.2f} / {take.motion_mm['whole']:.2f} |" in page
    with pytest.raises(VisemoError, match="got no takes"):
        report_of(rig_map, rig.shapes, face, {})
