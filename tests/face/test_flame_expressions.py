"""Shapes in place of FLAME's expression components."""

import numpy as np
import pytest
import torch

from face.flame_models import random_model
from visemo.face.flame_expressions import with_expressions
from visemo.face.flame_layer import FlameLayer
from visemo.geometry.mesh import write_mesh
from visemo.types import Mesh, VisemoError


@pytest.fixture
def deltas() -> np.ndarray:
    return np.random.default_rng(2).normal(scale=1e-3, size=(4, 5023, 3)).astype(np.float32)


def check_shown(model, deltas: np.ndarray, atol: float = 1e-6) -> None:
    """Coefficient i is the weight of shape i."""
    layer, weights = FlameLayer(model), torch.tensor([[0.5, 0.0, -1.0, 2.0]])
    moved = (layer(expression=weights) - layer())[0].numpy()
    np.testing.assert_allclose(moved, np.tensordot(weights[0].numpy(), deltas, 1), atol=atol)


def test_an_npz_whose_first_rows_are_flames(deltas, tmp_path):
    finer = np.concatenate([deltas, np.ones((4, 10, 3), np.float32)], axis=1)  # rows beyond FLAME's are of a finer mesh
    np.savez(tmp_path / "toy.npz", arkit_deltas=finer, vertices=np.zeros((5033, 3)))
    plain, model = random_model(), with_expressions(random_model(), tmp_path / "toy.npz")
    check_shown(model, deltas)
    assert (model.basis, model.n_expr, model.edition) == ("toy shapes", 4, plain.edition)
    assert model.hash != plain.hash and plain.basis == "FLAME"
    np.testing.assert_array_equal(model.identities(), plain.identities())


def test_the_jaw_is_left_to_flames_own(deltas, tmp_path):
    names = np.array(["smile", "jawOpen", "blink", "jawLeft"])
    np.savez(tmp_path / "named.npz", arkit_deltas=deltas, arkit_names=names)
    model = with_expressions(random_model(), tmp_path / "named.npz")
    np.testing.assert_array_equal(model.expressions(), np.moveaxis(deltas[[0, 2]], 0, -1))


@pytest.mark.parametrize("neutral", [True, False])
def test_a_folder_of_meshes(deltas, tmp_path, neutral):
    plain = random_model()
    rest = plain.v_template + np.float32(0.01) if neutral else plain.v_template
    folder = tmp_path / "faces"
    folder.mkdir()
    named = {f"shape{i}": rest + delta for i, delta in enumerate(deltas)} | ({"neutral": rest} if neutral else {})
    named["jawOpen"] = rest + np.float32(0.02)
    for name, vertices in named.items():
        write_mesh(folder / f"{name}.ply", Mesh(vertices, plain.triangles))
    model = with_expressions(plain, folder)
    check_shown(model, deltas, 1e-5)
    assert model.basis == "faces shapes"


def test_what_is_refused(deltas, tmp_path):
    plain = random_model()

    def refuse(name: str, match: str) -> None:
        with pytest.raises(VisemoError, match=match) as caught:
            with_expressions(plain, tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)

    refuse("none.npz", "no such file or folder, expected shapes in FLAME's topology")
    (tmp_path / "text.npz").write_text("no arrays")
    refuse("text.npz", "got no readable arrays")
    np.savez(tmp_path / "few.npz", deltas=deltas[:, :100])
    refuse("few.npz", r"got deltas \(4, 100, 3\), expected one array")
    np.savez(tmp_path / "other.npz", vertices=deltas)
    refuse("other.npz", r"got no array \.\.\.deltas, expected one")
    np.savez(tmp_path / "nan.npz", deltas=deltas * np.float32(np.nan))
    refuse("nan.npz", "got NaN or infinite values")
    (tmp_path / "empty").mkdir()
    refuse("empty", "got no mesh")
    (tmp_path / "turned").mkdir()
    write_mesh(tmp_path / "turned" / "smile.ply", Mesh(plain.v_template, plain.triangles[::-1].copy()))
    refuse("turned", "got 5023 vertices and 9976 triangles, expected FLAME's 5023 and 9976 in its order")
