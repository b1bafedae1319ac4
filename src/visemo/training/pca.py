"""Principal directions of motion that never fits into memory at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

Blocks = Callable[[], Iterable[Tensor]]  # begins anew at every call; (n, V, 3) m


@dataclass(frozen=True, eq=False)
class MotionBasis:
    """P directions of displacement fields, strongest first, through rest (uncentred).

    dV ~ (coordinates * deviation) @ directions: directions are orthonormal in the omega-weighted product
    sum_v omega_v <a_v, b_v>, sum(omega) = 1, so a squared coordinate is a mean square displacement in m^2.
    """

    directions: Tensor  # (P, 3V)
    deviation: Tensor  # (P,) m, root mean square of each coordinate over the data
    omega: Tensor  # (3V,), each vertex three times

    @classmethod
    def of(cls, basis: Tensor, omega: Tensor) -> MotionBasis:
        """The directions that a `basis` (P, 3V) was made of, for the same omega (V,)."""
        weight = (omega / omega.sum()).repeat_interleave(3)
        deviation = (basis.square() @ weight).sqrt()
        return cls(basis / deviation[:, None], deviation, weight)

    @property
    def basis(self) -> Tensor:
        """(P, 3V) m per unit of a coordinate that has unit mean square."""
        return self.directions * self.deviation[:, None]

    @property
    def dual(self) -> Tensor:
        """(3V, P): displacements times this are the unit coordinates."""
        return (self.directions * self.omega / self.deviation.clamp(min=1e-12)[:, None]).T.contiguous()

    def coordinates(self, displacements: Tensor) -> Tensor:
        """(n, V, 3) m -> (n, P) in metres, least squares in the omega-weighted norm."""
        return displacements.flatten(1) @ (self.directions * self.omega).T

    def displacements(self, coordinates: Tensor) -> Tensor:
        """(n, P) metres -> (n, V, 3) m."""
        return (coordinates @ self.directions).view(len(coordinates), -1, 3)


def principal_motion(blocks: Blocks, components: int, omega: Tensor, seed: int = 0, passes: int = 1) -> MotionBasis:
    """The P strongest directions of all frames that `blocks` yields, by randomised subspace iteration.

    Parameters
    ----------
    blocks : called once per pass
    components : P; fewer come back when there are fewer frames or dimensions
    omega : (V,) weight of each vertex
    passes : rounds of refinement before the last one

    Source: Halko, Martinsson, Tropp 2011, algorithm 4.4.
    """
    weight = (omega / omega.sum()).repeat_interleave(3).sqrt()
    size = len(weight)
    generator = torch.Generator().manual_seed(seed)
    span = torch.randn(size, min(size, components + 16), generator=generator)
    for _ in range(passes):
        image = torch.zeros_like(span)
        for block in blocks():
            rows = block.flatten(1) * weight
            image += rows.T @ (rows @ span)
        span = torch.linalg.qr(image).Q
    moment = torch.zeros(span.shape[1], span.shape[1], dtype=torch.float64)
    count = 0
    for block in blocks():
        reduced = ((block.flatten(1) * weight) @ span).double()
        moment += reduced.T @ reduced
        count += len(block)
    power, turn = torch.linalg.eigh(moment / max(1, count))
    kept = power.flip(0) > 1e-12 * power[-1]
    power, turn = power.flip(0)[kept][:components], turn.flip(1)[:, kept][:, :components]
    directions = (span @ turn.float()).T / weight.clamp(min=1e-12)
    return MotionBasis(directions, power.sqrt().float(), weight.square())
