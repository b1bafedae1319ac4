"""FLAME maps: the product, the storage, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from face.flame_models import random_model
from visemo.models.flame_map import FILE, FlameMap
from visemo.types import VisemoError


@pytest.fixture
def known() -> FlameMap:
    matrix = np.random.default_rng(3).standard_normal((2 + 3, 7)).astype(np.float32)
    flame = random_model()
    return FlameMap(matrix, "0123456789abcdef", flame.hash, flame.edition, flame.basis, "toy", "free", 0.25, 0.125)


def test_params_are_the_product_row_by_row(known):
    weights = np.random.default_rng(4).standard_normal((6, 7)).astype(np.float32)
    params = known.params(weights, 25.0)
    assert params.fps == 25.0 and known.components == 2
    for t, w in enumerate(weights):
        whole = [sum(float(m) * float(x) for m, x in zip(row, w)) for row in known.matrix]
        np.testing.assert_allclose(params.expression[t], whole[:2], atol=1e-5)
        np.testing.assert_allclose(params.jaw_pose[t], whole[2:], atol=1e-5)


def test_curves_that_it_knows_are_added(known):
    lively = np.random.default_rng(6).standard_normal((5, 2)).astype(np.float32)
    blinking = replace(known, lively_names=("eyeBlinkLeft", "eyeBlinkRight"), lively=lively)
    weights = np.random.default_rng(4).standard_normal((3, 7)).astype(np.float32)
    right = np.array([0, 0.5, 1], np.float32)
    params = blinking.params(weights, curves={"eyeBlinkRight": right, "eyeLookUpLeft": 9 * right})
    without = known.params(weights, curves={"eyeBlinkRight": right})
    for t, w in enumerate(right):
        np.testing.assert_allclose(params.expression[t] - without.expression[t], w * lively[:2, 1], atol=1e-6)
        np.testing.assert_allclose(params.jaw_pose[t] - without.jaw_pose[t], w * lively[2:, 1], atol=1e-6)


def test_rest_is_rest(known):
    params = known.params(np.zeros((2, 7), np.float32))
    assert not params.expression.any() and not params.jaw_pose.any()


@pytest.mark.parametrize("name", ["", "mine.safetensors"])
def test_it_comes_back_as_it_was_written(known, tmp_path, name):
    known.save(tmp_path / name if name else tmp_path)
    again = FlameMap.load(tmp_path / name)
    np.testing.assert_array_equal(again.matrix, known.matrix)
    assert replace(again, matrix=known.matrix).__dict__ == known.__dict__
    assert (tmp_path / (name or FILE)).is_file()
    blinking = replace(known, lively_names=("a", "b"), lively=np.float32(np.arange(10).reshape(5, 2)))
    blinking.save(tmp_path / name)
    again = FlameMap.load(tmp_path / name)
    np.testing.assert_array_equal(again.lively, blinking.lively)
    assert again.lively_names == ("a", "b")


def test_the_same_map_is_the_same_bytes(known, tmp_path):
    for name in ("a", "b"):
        known.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_its_own_model_and_flame_are_accepted(known):
    known.check_model("0123456789abcdef")
    known.check_flame(random_model())


def test_another_model_is_refused(known):
    with pytest.raises(VisemoError, match=r"got weights of model feed, expected toy \(0123456789abcdef\); train"):
        known.check_model("feed")


@pytest.mark.parametrize("change", ["expression", "basis"])
def test_another_flame_is_refused_though_its_name_be_the_same(known, change):
    flame = random_model()
    shapedirs = flame.shapedirs.copy()
    shapedirs[..., flame.n_shape] *= 1.001
    other = replace(flame, shapedirs=shapedirs, basis="LAM shapes" if change == "basis" else "FLAME")
    with pytest.raises(VisemoError, match=r"FLAME: got FLAME unknown with .* expected unknown with FLAME expressions"):
        known.check_flame(other)


def test_weights_of_another_width_are_refused(known):
    with pytest.raises(VisemoError, match=r"weights: got shape \(2, 6\), expected \(any, 7\)"):
        known.params(np.zeros((2, 6), np.float32))


@pytest.mark.parametrize("matrix", [np.zeros((2, 7), np.float32), np.full((5, 7), np.nan, np.float32)])
def test_a_matrix_that_is_none_is_refused(known, matrix):
    with pytest.raises(VisemoError, match="FLAME map: got"):
        replace(known, matrix=matrix)


def test_blinks_without_their_columns_are_refused(known):
    with pytest.raises(VisemoError, match="FLAME map: lively: got"):
        replace(known, lively_names=("a",))
    with pytest.raises(VisemoError, match=r"FLAME map: lively: got shape \(5, 2\), expected \(5, 1\)"):
        replace(known, lively_names=("a",), lively=np.zeros((5, 2), np.float32))


def test_a_missing_map_says_how_to_make_one(tmp_path):
    with pytest.raises(VisemoError, match="no such file, expected a FLAME map; make one with visemo train flame-map"):
        FlameMap.load(tmp_path)


def test_damaged_and_foreign_files_are_refused(known, tmp_path):
    path = tmp_path / "map"
    known.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VisemoError, match="map: got a damaged or foreign file"):
        FlameMap.load(path)
    save_file({"matrix": known.matrix}, path)
    with pytest.raises(VisemoError, match=r"map: got schema none, expected visemo\.flame_map/1"):
        FlameMap.load(path)
    save_file({"matrix": known.matrix}, path, {"about": '{"schema": "visemo.flame_map/1", "wit": 1}'})
    with pytest.raises(VisemoError, match=r"map: got a damaged or foreign file .*wit"):
        FlameMap.load(path)
    save_file({"matrix": known.matrix}, path, {"about": "[]"})
    with pytest.raises(VisemoError, match="map: got a damaged or foreign file"):
        FlameMap.load(path)
