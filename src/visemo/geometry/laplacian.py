"""The graph Laplacian of Eq. 12 as a sparse operator."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from visemo.geometry.mesh import adjacency
from visemo.types import IntArray


def graph_laplacian(triangles: IntArray, n: int) -> sp.csr_matrix:
    """L = I - D^-1 A of Eq. 12, (n, n) float64: a vertex minus the mean of its neighbours.

    A vertex without neighbours has an empty row: nothing pulls on it.
    """
    a = adjacency(triangles, n)
    degree = np.asarray(a.sum(axis=1)).ravel()
    inverse = np.divide(1.0, degree, out=np.zeros(n), where=degree > 0)
    return sp.csr_matrix(sp.diags((degree > 0).astype(np.float64)) - sp.diags(inverse) @ a)


def sparse_tensor(matrix: sp.csr_matrix) -> Tensor:
    """The same matrix as a float32 torch sparse CSR tensor, for `matrix @ field` in losses."""
    csr = sp.csr_matrix(matrix)
    csr.sort_indices()
    rows, columns = torch.from_numpy(csr.indptr.astype(np.int64)), torch.from_numpy(csr.indices.astype(np.int64))
    return csr_tensor(rows, columns, torch.from_numpy(csr.data.astype(np.float32)), matrix.get_shape())


def csr_tensor(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A torch sparse CSR tensor of `shape` from row starts (n + 1,), ascending columns and values (N,), unchecked.

    On a CPU its products run ten times faster than gathers or COO tensors, in both directions.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rows, columns, values, size=shape, check_invariants=False)
