"""The losses against numbers worked out by hand."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from visemo.models import losses


def test_reconstruction_weighs_vertices_and_speaks_millimetres():
    target = torch.zeros(2, 2, 3)
    predicted = torch.zeros(2, 2, 3)
    predicted[0, 0] = torch.tensor([3e-3, 4e-3, 0])  # 5 mm
    predicted[1, 1] = torch.tensor([0, 0, 2e-3])  # 2 mm
    omega = torch.tensor([3.0, 1.0])
    assert losses.reconstruction(predicted, target, omega).item() == pytest.approx((3 / 4 * 5 + 1 / 4 * 2) / 2)
    squared = losses.reconstruction(predicted, target, omega, squared=True)
    assert squared.item() == pytest.approx((3 / 4 * 25 + 1 / 4 * 4) / 2)


def test_perfect_reconstruction_has_a_gradient_of_zero():
    predicted = torch.zeros(1, 4, 3, requires_grad=True)
    losses.reconstruction(predicted, torch.zeros(1, 4, 3), torch.ones(4)).backward()
    assert predicted.grad is not None and torch.equal(predicted.grad, torch.zeros(1, 4, 3))


def test_sparsity_sums_over_shapes_and_averages_over_frames():
    speech_leak = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    expression_leak = torch.tensor([[-4.0]])
    assert losses.sparsity(speech_leak, expression_leak).item() == pytest.approx((3 + 3) / 2 + 4)


def test_group_sparsity_pays_once_for_a_shared_shape():
    shared = losses.group_sparsity(torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
    apart = losses.group_sparsity(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    assert shared.item() == pytest.approx(2.0, abs=1e-3)
    assert apart.item() == pytest.approx(2 * 2**0.5, abs=1e-3)


def test_laplace_is_zero_on_even_spacing_and_counts_a_spike():
    path = sp.csr_matrix(np.array([[1, -1, 0], [-0.5, 1, -0.5], [0, -1, 1]], np.float32))
    laplacian = torch.sparse_csr_tensor(
        torch.tensor(path.indptr, dtype=torch.int64), torch.tensor(path.indices, dtype=torch.int64),
        torch.tensor(path.data), size=(3, 3),
    )  # fmt: skip
    spike = torch.tensor([[[0.0, 0, 0], [0, 6e-3, 0], [0, 0, 0]]], requires_grad=True)
    loss = losses.laplace(losses.curvature(laplacian, spike))  # each vertex is 6 mm off its neighbours' mean
    assert loss.item() == pytest.approx(6.0)
    (gradient,) = torch.autograd.grad(loss, spike)
    # d/dy of the middle: (1 + 1 + 1) / 3 per metre; the ends pull with -(1 + 0.5) / 3
    np.testing.assert_allclose(gradient[0, :, 1], [-500, 1000, -500], rtol=1e-5)


def test_regularisation_is_the_mean_squared_length():
    predicted = torch.tensor([[[1e-3, 2e-3, 2e-3], [0, 0, 0]]])
    assert losses.regularisation(predicted).item() == pytest.approx(9 / 2)


def test_anchor_is_the_mean_distance():
    part = torch.tensor([[[0, 3e-3, 4e-3], [0, 0, 1e-3]]])
    assert losses.anchor(part, torch.zeros(1, 2, 3)).item() == pytest.approx(3.0)


def test_unit_rms_shapes():
    basis = torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(0))
    unit = losses.unit_rms(basis)
    np.testing.assert_allclose(losses.shape_rms(unit), np.ones(4), rtol=1e-5)
    direction = unit / unit.norm(dim=(1, 2), keepdim=True)
    np.testing.assert_allclose(direction, basis / basis.norm(dim=(1, 2), keepdim=True), atol=1e-6)
