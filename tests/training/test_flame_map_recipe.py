"""L_G planted and demanded back, its cost against a slow twin, and runs on a model's own frames and on stores."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from face.flame_models import random_model
from flame_ground import made_up_ground
from tiny import K_A, K_E
from toy_corpus import make_toy_store
from visemo.animation.lively import LIVELY_NAMES
from visemo.face.flame_layer import FlameLayer
from visemo.face.flame_on_face import FlameOnFace
from visemo.geometry.regions import vertex_weights
from visemo.models.flame_map import FlameMap
from visemo.training.flame_fit import JAW_UNIT, Cost, FlameFit
from visemo.training.flame_map import LIDS, _blinks
from visemo.training.recipes import FlameMapRecipe, train_flame_map
from visemo.types import FloatArray, VisemoError
from visemo.units import MM_PER_M

FREE = Cost(prior=1e-9)
SMALL = FlameMapRecipe(steps=8, frames=60)


@pytest.fixture(scope="module")
def ground(tiny_face) -> FlameOnFace:
    return made_up_ground(tiny_face)


def on_face(ground: FlameOnFace, params: np.ndarray) -> FloatArray:
    """What FLAME makes of parameters (B, 2 + 3), seen on the face: (B, V, 3) m."""
    layer, given = FlameLayer(random_model()), torch.from_numpy(params.astype(np.float32))
    with torch.no_grad():
        return ground.carry((layer(expression=given[:, :2], jaw=given[:, 2:]) - layer()).numpy())


def some_params(count: int, jaw: float, seed: int = 0) -> np.ndarray:
    """(count, 2 + 3)."""
    chance = np.random.default_rng(seed)
    return np.concatenate([chance.normal(size=(count, 2)), jaw * chance.normal(size=(count, 3))], axis=1)


def off_floor(weights: torch.Tensor, matrix: torch.Tensor, fit: FlameFit) -> float:
    return fit.of(weights @ matrix.T, weights).item()


def test_planted_parameters_come_back_frame_by_frame_with_the_jaw_wide_open(tiny_face, ground):
    planted = some_params(9, jaw=0.3)
    fit = FlameFit(random_model(), ground, tiny_face, on_face(ground, planted), cost=FREE)
    found = fit.fit_frames(torch.eye(9), steps=40)
    np.testing.assert_allclose(found.numpy(), planted, atol=2e-3)


def test_a_planted_matrix_comes_back_through_the_bent_jaw(tiny_face, ground):
    """Frames that each use one blendshape: there a matrix can be exact, though the jaw is not linear."""
    planted = some_params(6, jaw=0.3, seed=1)
    fit = FlameFit(random_model(), ground, tiny_face, on_face(ground, planted), cost=FREE)
    found = fit.fit_map(torch.eye(6), steps=60)
    np.testing.assert_allclose(found.numpy().T, planted, atol=3e-3)
    assert np.abs(fit.linear.numpy().T - planted).max() > 0.02  # the linear solution alone would not do


def test_a_matrix_found_is_a_minimum_where_nothing_is_exact(tiny_face, tiny_model, ground):
    basis = tiny_model.fusion.basis.detach().numpy()
    fit = FlameFit(random_model(), ground, tiny_face, basis, cost=Cost(prior=1e-6))
    chance = torch.Generator().manual_seed(0)
    weights = torch.rand(40, len(basis), generator=chance)
    found = fit.fit_map(weights, steps=60)
    least = off_floor(weights, found, fit)
    for _ in range(20):
        turned = found * (1 + 0.02 * torch.randn(found.shape, generator=chance))
        assert off_floor(weights, turned, fit) > least
    assert off_floor(weights, fit.linear, fit) >= least
    best = fit.fit_frames(weights, steps=60)
    assert fit.of(best, weights).item() <= least


def test_the_cost_against_a_twin_in_loops(tiny_face, tiny_model, ground):
    basis, cost = tiny_model.fusion.basis.detach().numpy(), Cost(prior=0.01, lips=5.0, gap=0.7)
    fit = FlameFit(random_model(), ground, tiny_face, basis, cost=cost)
    params, weights = some_params(3, jaw=0.2), np.random.default_rng(8).random((3, len(basis))).astype(np.float32)
    moved = MM_PER_M * on_face(ground, params).astype(float)
    wanted = MM_PER_M * np.tensordot(weights.astype(float), basis, 1)
    omega = vertex_weights(tiny_face.regions, len(tiny_face.template), 5.0)
    whole = sum(float(omega[v]) for v in ground.on)
    pair = 0.7 * sum(float(omega[v]) for v in tiny_face.regions["lips"]) / len(tiny_face.lip_pairs)
    expected = 0.0
    for t in range(3):
        off = moved[t] - wanted[t]
        expected += sum(float(omega[v]) * off[v] @ off[v] for v in ground.on) / whole
        for upper, lower in tiny_face.lip_pairs:
            apart = off[upper] - off[lower]
            expected += pair * apart @ apart / whole
        expected += 0.01 * (params[t, :2] @ params[t, :2] + params[t, 2:] @ params[t, 2:] / JAW_UNIT**2)
    found = fit.of(torch.from_numpy(params).float(), torch.from_numpy(weights)).item()
    assert found == pytest.approx(expected, rel=1e-4)
    distances, gaps = (
        part.numpy() for part in next(fit.errors(torch.from_numpy(params).float(), torch.from_numpy(weights)))
    )
    np.testing.assert_allclose(distances, np.linalg.norm(moved - wanted, axis=2)[:, ground.on], atol=1e-3)
    off = (moved - wanted)[:, tiny_face.lip_pairs]
    np.testing.assert_allclose(gaps, np.linalg.norm(off[:, :, 0] - off[:, :, 1], axis=2), atol=1e-3)


def planted_model(model, ground: FlameOnFace, planted: np.ndarray):
    """A model whose blendshapes are what FLAME makes of the columns of a matrix."""
    fusion = copy.deepcopy(model.fusion)
    fusion.set_basis(torch.from_numpy(on_face(ground, planted.T)))
    return replace(model, fusion=fusion)


def test_a_run_finds_what_was_planted_and_says_so(tiny_model, ground, tmp_path):
    planted = some_params(K_A + K_E, jaw=0.0).T
    recipe = replace(SMALL, cost=FREE)
    model = planted_model(tiny_model, ground, planted)
    report = train_flame_map(recipe, model, random_model(), tmp_path / "run", ground=ground, device="cpu")
    known = FlameMap.load(tmp_path / "run")
    np.testing.assert_allclose(known.matrix, planted, atol=2e-3)
    known.check_model(model.hash)
    known.check_flame(random_model())
    assert (known.basis, known.model) == ("FLAME", "tiny")
    assert known.residual_mm == report["regions"]["all"]["map_mean"] < 0.01 < report["regions"]["all"]["motion_mean"]
    assert json.loads((tmp_path / "run" / "report.json").read_text()) == report
    table = (tmp_path / "run" / "report.md").read_text()
    assert "| lips |" in table and f"| expression {K_E - 1} |" in table and "worst frame" in table
    assert known.lively_names == LIDS and "| eyeBlinkLeft |" in table
    assert len(report["blendshapes"]) == K_A + K_E and max(row["map"] for row in report["blendshapes"]) < 0.01
    assert report["held_out"] == 15 and report["frames"] == 60 + 2 * (K_A + K_E)


def test_planted_blinks_come_back_and_their_residual_is_told(tiny_face, ground):
    planted = some_params(2, jaw=0.1, seed=4)
    shapes = tiny_face.shapes.copy()
    rows = [tiny_face.shape_names.index(name) for name in LIDS]
    shapes[rows] = on_face(ground, planted)
    face = replace(tiny_face, shapes=shapes)
    report, columns = _blinks(random_model(), ground, face, FlameMapRecipe(steps=40, cost=FREE), torch.device("cpu"))
    np.testing.assert_allclose(columns.T, planted, atol=2e-3)
    assert [row["name"] for row in report] == list(LIDS)
    moved = MM_PER_M * np.linalg.norm(shapes[rows][:, ground.on], axis=2)
    for row, field in zip(report, moved):
        assert row["motion_mean"] == pytest.approx(field.mean(), rel=1e-4)
        assert row["motion_max"] == pytest.approx(field.max(), rel=1e-4)
        assert row["map_mean"] < 0.01 and row["map_max"] < 0.05
    bare = replace(tiny_face, shape_names=(), shapes=None)
    assert _blinks(random_model(), ground, bare, SMALL, torch.device("cpu")) == ([], None)


def test_blinks_are_all_that_life_moves_beside_the_eyes():
    assert set(LIDS) == {name for name in LIVELY_NAMES if not name.startswith("eyeLook")}


def test_a_run_on_stores_is_beside_flames_best(tiny_face, tiny_model, ground, tmp_path):
    store = make_toy_store(tmp_path / "store", tiny_face)
    runs = []
    for name in ("a", "b"):
        report = train_flame_map(
            SMALL, tiny_model, random_model(), tmp_path / name, data=[store], ground=ground, device="cpu"
        )
        runs.append((tmp_path / name / "flame_map.safetensors").read_bytes())
        row = report["regions"]["all"]
        assert 0 < row["floor_mean"] <= 1.05 * row["map_mean"] and row["map_mean"] <= row["map_max"]
        assert any(row["frame"].startswith("S0") for row in report["worst"])  # takes by name
        assert report["data"][0]["licence"] == "Apache-2.0"
    assert runs[0] == runs[1]


def test_the_price_of_the_gap_brings_lips_together(tiny_face, tiny_model, ground):
    basis = tiny_model.fusion.basis.detach().numpy()
    weights = torch.rand(30, len(basis), generator=torch.Generator().manual_seed(1))
    apart = []
    for gap in (0.0, 20.0):
        fit = FlameFit(random_model(), ground, tiny_face, basis, cost=Cost(gap=gap))
        params = weights @ fit.fit_map(weights, steps=30).T
        apart.append(torch.cat([gaps for _, gaps in fit.errors(params, weights)]).square().mean().item())
    assert apart[1] < apart[0]


def test_presets_differ_in_the_gap_alone():
    paper, default = FlameMapRecipe.paper(), FlameMapRecipe.default()
    assert paper.cost.gap == 0 < default.cost.gap and replace(paper, cost=default.cost) == default


def test_what_is_refused(tiny_model, ground, tmp_path):
    for wrong in ({"steps": 0}, {"frames": 0}):
        with pytest.raises(VisemoError, match=r"flame map: got \d+ steps and \d+ frames, expected 1 or more"):
            FlameMapRecipe(**wrong)
    flame = random_model()
    bare = replace(flame, shapedirs=flame.shapedirs[..., :3], n_expr=0)
    with pytest.raises(VisemoError, match="got a FLAME without expression components"):
        train_flame_map(SMALL, tiny_model, bare, tmp_path / "run", ground=ground)
    assert not (tmp_path / "run").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("do not lose")
    with pytest.raises(VisemoError, match="not an empty folder"):
        train_flame_map(SMALL, tiny_model, flame, tmp_path / "full", ground=ground)
