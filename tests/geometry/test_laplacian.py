"""The Laplacian of Eq. 12 against its definition, vertex by vertex."""

import numpy as np
import torch

from visemo.geometry.laplacian import graph_laplacian, sparse_tensor

TRIANGLES = np.array([[0, 1, 2], [0, 2, 3], [3, 2, 4]], np.int32)
NEIGHBOURS = {0: [1, 2, 3], 1: [0, 2], 2: [0, 1, 3, 4], 3: [0, 2, 4], 4: [2, 3]}


def test_vertex_minus_the_mean_of_its_neighbours():
    x = np.random.default_rng(0).normal(size=(6, 3))
    found = graph_laplacian(TRIANGLES, 6) @ x
    for vertex, neighbours in NEIGHBOURS.items():
        assert np.allclose(found[vertex], x[vertex] - x[neighbours].mean(axis=0))
    assert (found[5] == 0).all(), "nothing pulls on a loose vertex"


def test_a_translation_is_free():
    assert np.abs(graph_laplacian(TRIANGLES, 5) @ np.ones((5, 3))).max() < 1e-15


def test_sparse_tensor_is_the_same_operator_with_its_gradient():
    operator = graph_laplacian(TRIANGLES, 6)
    x = torch.randn(6, 4, requires_grad=True)
    product = sparse_tensor(operator) @ x
    assert np.allclose(product.detach().numpy(), operator @ x.detach().numpy(), atol=1e-6)
    product.square().sum().backward()
    dense = torch.from_numpy(operator.toarray()).float()
    assert x.grad is not None
    assert torch.allclose(x.grad, 2 * dense.T @ dense @ x.detach(), atol=1e-5)
