"""The objective of the deformation fusion module: one function per equation, all in millimetres.

Displacements and vertices come in metres, B frames by V vertices by 3; weights are (B, K).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from visemo.units import MM_PER_M

_SMOOTH = 1e-8  # keeps the square root of an unused blendshape differentiable


def vertex_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Distance of every vertex from its target.

    Parameters
    ----------
    predicted, target : (B, V, 3) m

    Returns
    -------
    (B, V) mm
    """
    # the tiny constant (1e-6 mm) gives a perfect vertex a gradient of zero instead of none
    return ((predicted - target).mul(MM_PER_M).square().sum(-1) + 1e-12).sqrt()


def reconstruction(predicted: Tensor, target: Tensor, omega: Tensor, squared: bool = False) -> Tensor:
    """Eq. 11: how far the decoded face is from the given one.

    Parameters
    ----------
    predicted, target : (B, V, 3) m
    omega : (V,), weight of each vertex; only its proportions count
    squared : False takes the norm, as the formula is printed; True its square, as the text says

    Returns
    -------
    scalar, the omega-weighted mean over vertices and the mean over frames; mm, or mm^2 if squared
    """
    error = vertex_error(predicted, target)
    return ((error.square() if squared else error) @ (omega / omega.sum())).mean()


def sparsity(speech_leak: Tensor, expression_leak: Tensor) -> Tensor:
    """Eq. 9: the L1 norm of what each data set holds of the other factor.

    Parameters
    ----------
    speech_leak : (B, K_E), eps_A
    expression_leak : (B', K_A), eps_E

    Returns
    -------
    scalar, mean over frames of the sum over blendshapes, both sets added
    """
    return speech_leak.abs().sum(1).mean() + expression_leak.abs().sum(1).mean()


def group_sparsity(speech: Tensor, expression: Tensor, average: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Price of using a blendshape at all: it is paid once for both data sets, so sharing is cheap.

    Parameters
    ----------
    speech, expression : (B, K), all the weights [w_A, eps_A] and [eps_E, w_E] of the two batches
    average : takes the mean squares (K,) of these rows to those of a whole batch that lies in several places

    Returns
    -------
    scalar, the sum over blendshapes of their root mean square weight over both batches
    """
    power = torch.cat([speech, expression]).square().mean(0)
    return ((average(power) if average else power) + _SMOOTH).sqrt().sum()


def curvature(laplacian: Tensor, field: Tensor) -> Tensor:
    """How far each vertex lies from the mean of its neighbours; linear in the field.

    Parameters
    ----------
    laplacian : (V, V) sparse, I - D^-1 A
    field : (B, V, 3) m, vertices or displacements

    Returns
    -------
    (B, V, 3) m
    """
    batch, count, _ = field.shape
    columns = field.transpose(0, 1).reshape(count, batch * 3)
    return (laplacian @ columns).view(count, batch, 3).transpose(0, 1)


def laplace(curved: Tensor) -> Tensor:
    """Eq. 12, divided by V.

    Parameters
    ----------
    curved : (B, V, 3) m, `curvature` of absolute vertices: the sequence's neutral plus the predicted
        displacement

    Returns
    -------
    scalar, mean over frames and vertices of its length, mm
    """
    return ((curved * MM_PER_M).square().sum(-1) + 1e-12).sqrt().mean()


def regularisation(predicted: Tensor) -> Tensor:
    """The l2 term: mean squared length of the decoded displacements.

    Parameters
    ----------
    predicted : (B, V, 3) m

    Returns
    -------
    scalar, mm^2
    """
    return (predicted * MM_PER_M).square().sum(-1).mean()


def anchor(part: Tensor, target: Tensor) -> Tensor:
    """Distance of a decoded part (B_A w_A or B_A eps_E) from its closed-form target.

    Parameters
    ----------
    part, target : (B, V, 3) m

    Returns
    -------
    scalar, mean over frames and vertices, mm
    """
    return vertex_error(part, target).mean()


def shape_rms(basis: Tensor) -> Tensor:
    """Root mean square displacement of each blendshape's vertices.

    Parameters
    ----------
    basis : (K, V, 3) m

    Returns
    -------
    (K,) mm
    """
    return (basis * MM_PER_M).square().sum(-1).mean(-1).add(1e-12).sqrt()


def unit_rms(basis: Tensor) -> Tensor:
    """The blendshapes at a root mean square displacement of 1 mm each, so that penalties on weights
    cannot be dodged by growing the shapes.

    Parameters
    ----------
    basis : (K, V, 3) m

    Returns
    -------
    (K, V, 3) m
    """
    return basis / shape_rms(basis)[:, None, None]
