"""FLAME's parameters that make it move as a model's face does, through FLAME's own layer.

The cost of a frame, in mm^2 on the model's face: the mean over vertices, weighted by omega, of the squared distance
between the two motions; the same between lip pairs, so that lips that meet there meet here; and a price on the
parameters. A rotating jaw makes it non-linear, but mildly: preconditioned by its value at rest, L-BFGS needs few
steps from the linear solution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from visemo.face.face import Face
from visemo.face.flame import FlameModel
from visemo.face.flame_layer import FlameLayer
from visemo.face.flame_on_face import FlameOnFace
from visemo.face.flame_topology import VERTICES
from visemo.geometry.laplacian import sparse_tensor
from visemo.geometry.regions import vertex_weights
from visemo.types import FloatArray
from visemo.units import MM_PER_M

BLOCK = 64  # frames at a time
JAW_UNIT = 0.1  # rad of the jaw that cost as much as one standard deviation of a coefficient
STEP = 1e-2  # of each parameter, for slopes; expression is linear, the jaw nearly
HISTORY = 10  # steps that L-BFGS remembers
SETTLED = 1e-5  # mm^2 a frame: a step that gains less is the last one
TINY = 1e-6  # of the mean spread, for blendshapes that no frame uses


@dataclass(frozen=True)
class Cost:
    """What a frame costs.

    prior : mm^2 for the square of one coefficient
    lips : weight of lip vertices in omega (eyes and brows 2, rest 1)
    gap : weight of all lip pairs together, as a share of that of all lip vertices
    """

    prior: float = 1e-3
    lips: float = 4.0
    gap: float = 1.0


class FlameFit:
    """One FLAME under one face, and a model's blendshapes on it.

    Parameters
    ----------
    basis : (K, V, 3) m.
    """

    def __init__(
        self,
        flame: FlameModel,
        ground: FlameOnFace,
        face: Face,
        basis: FloatArray,
        *,
        cost: Cost = Cost(),
        device: torch.device | str = "cpu",
    ) -> None:
        self.layer = FlameLayer(flame).to(device)
        self.components = flame.n_expr
        self.cost, self.device, self.vertices = cost, device, ground.on
        self.rows = sparse_tensor(_carrying(ground, face)).to(device)
        self.turn = torch.from_numpy(ground.pose.turn_back(np.eye(3) * MM_PER_M)).float().to(device)
        upper, lower = face.lip_pairs.T
        shapes = np.concatenate([basis[:, ground.on], basis[:, upper] - basis[:, lower]], axis=1) * MM_PER_M
        self.shapes = torch.from_numpy(shapes).float().to(device)  # (K, R, 3) mm
        omega = vertex_weights(face.regions, len(face.template), cost.lips)
        pairs = np.full(len(upper), cost.gap * omega[face.region("lips")].sum() / max(len(upper), 1))
        weights = np.concatenate([omega[ground.on], pairs]) / omega[ground.on].sum()
        self.omega = torch.from_numpy(weights).float().to(device)
        price = np.full(self.components + 3, cost.prior)
        price[self.components :] /= JAW_UNIT**2
        self.price = torch.from_numpy(price).float().to(device)
        with torch.no_grad():
            self.rest = self.layer()[0]
        self._linearise()

    def motion(self, params: Tensor) -> Tensor:
        """What FLAME makes of parameters (B, n + 3) on the face's vertices and between lip pairs: (B, R, 3) mm."""
        expression, jaw = params[:, : self.components], params[:, self.components :]
        moved = (self.layer(expression=expression, jaw=jaw) - self.rest) @ self.turn
        columns = moved.permute(1, 0, 2).flatten(1)
        return (self.rows @ columns).view(-1, len(params), 3).permute(1, 0, 2)

    def wanted(self, weights: Tensor) -> Tensor:
        """What the model makes of weights (B, K) there: (B, R, 3) mm."""
        return (weights @ self.shapes.flatten(1)).view(len(weights), -1, 3)

    def of(self, params: Tensor, weights: Tensor) -> Tensor:
        """Cost of some frames together, mm^2."""
        off = (self.motion(params) - self.wanted(weights)).square().sum(dim=2)
        return (off * self.omega).sum() + (params.square() * self.price).sum()

    def fit_map(self, weights: Tensor, steps: int) -> Tensor:
        """L (n + 3, K): the one matrix that costs least over frames of weights (T, K)."""
        spread = weights.double().T @ weights.double() / len(weights)
        spread += TINY * spread.diagonal().mean() * torch.eye(len(spread), device=self.device)
        left, right = self.factor, torch.linalg.cholesky(spread).float()

        def matrix(x: Tensor) -> Tensor:
            """Of coordinates in which the linear problem is round."""
            inner = torch.linalg.solve_triangular(left.T, x, upper=True)
            return torch.linalg.solve_triangular(right, inner, upper=False, left=False)

        def parts(x: Tensor) -> Iterator[Tensor]:
            return (self.of(block @ matrix(x).T, block) / len(weights) for block in weights.split(BLOCK))

        return matrix(_descend(left.T @ self.linear @ right, parts, steps))

    def fit_frames(self, weights: Tensor, steps: int) -> Tensor:
        """Parameters (T, n + 3) that cost least, frame by frame: the best that FLAME can do."""

        def params(x: Tensor) -> Tensor:
            return torch.linalg.solve_triangular(self.factor, x, upper=False, left=False)

        found = []
        for block in weights.split(BLOCK):
            start = block @ self.linear.T @ self.factor

            def parts(x: Tensor, block: Tensor = block) -> Iterator[Tensor]:
                yield self.of(params(x), block) / len(block)

            found.append(params(_descend(start, parts, steps)))
        return torch.cat(found)

    @torch.no_grad()
    def errors(self, params: Tensor, weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Block by block: distances (B, V') mm at `vertices`, and (B, N) mm between what each lip pair does."""
        count = len(self.vertices)
        for p, w in zip(params.split(BLOCK), weights.split(BLOCK)):
            off = (self.motion(p) - self.wanted(w)).norm(dim=2)
            yield off[:, :count], off[:, count:]

    @torch.no_grad()
    def _linearise(self) -> None:
        """At rest: the Cholesky factor (n + 3, n + 3) of half the Hessian, and the best linear map (n + 3, K)."""
        steps = STEP * torch.eye(self.components + 3, device=self.device)
        slopes = ((self.motion(steps) - self.motion(-steps)) / (2 * STEP)).double()
        weighted = (slopes * self.omega[:, None]).flatten(1)
        hessian = weighted @ slopes.flatten(1).T + torch.diag(self.price.double())
        factor = torch.linalg.cholesky(hessian)
        self.linear = torch.cholesky_solve(weighted @ self.shapes.double().flatten(1).T, factor).float()
        self.factor = factor.float()


def _descend(x: Tensor, parts: Callable[[Tensor], Iterator[Tensor]], steps: int) -> Tensor:
    """From x to where the sum of `parts` is least, by L-BFGS; each part is differentiated alone, to save memory."""
    x = x.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], max_iter=steps, tolerance_change=SETTLED, history_size=HISTORY, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        total = 0.0
        for part in parts(x):
            part.backward()
            total += part.item()
        return total

    optimizer.step(closure)
    return x.detach()


def _carrying(ground: FlameOnFace, face: Face) -> sp.csr_matrix:
    """(R, 5023): rows of the vertices that lie on FLAME, then of upper minus lower lip for each pair."""
    upper, lower = face.lip_pairs.T
    matrix = ground.transfer.matrix(VERTICES)
    rows = sp.csr_matrix(sp.vstack([matrix[ground.on], matrix[upper] - matrix[lower]]))
    rows.sum_duplicates()
    return rows
