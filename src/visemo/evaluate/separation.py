"""How well two factors of a face are kept apart: what speech moves of the expression, and the reverse.

Displacements are (T, V, 3) m from the neutral; results are in mm, or shares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visemo.evaluate.metrics import lip_gap
from visemo.types import FloatArray, IntArray, VisemoError
from visemo.units import MM_PER_M


def leakage(part: NDArray, own: NDArray) -> float:
    """Energy (sum of squares) of what does not belong as a share of that of the motion it is held against, as of the
    expression that speech weights make against all that they make. Any shapes, one unit. Raises VisemoError when
    `own` does not move."""
    whole = _energy(own)
    if not whole > 0:
        raise VisemoError("leakage: got a motion of nothing, expected one that moves")
    return _energy(part) / whole


def region_leak(displacement: FloatArray, region: IntArray, whole: IntArray | None = None) -> tuple[float, float]:
    """How much a motion moves a region where it should not, such as speech the brows.

    Returns the rms over frames and the region's vertices in mm, and its share of the rms over `whole`, which is all
    vertices when absent. Raises VisemoError when `whole` does not move.
    """
    inside = _rms(displacement[:, region])
    everywhere = _rms(displacement if whole is None else displacement[:, whole])
    if not everywhere > 0:
        raise VisemoError("region leak: got a motion of nothing, expected one that moves")
    return inside, inside / everywhere


def lips_parted(displacement: FloatArray, template: FloatArray, lip_pairs: IntArray) -> float:
    """How much a motion that should not speak opens or shuts the lips: mean over frames of |change of the lip gap|
    from that of the template (V, 3) m, in mm."""
    rest = template[None]
    return float(np.abs(lip_gap(rest + displacement, lip_pairs) - lip_gap(rest, lip_pairs)).mean())


def linearity(weights: NDArray, factors: NDArray) -> float:
    """Largest relative deviation from weights in proportion to their take: max over k of |w_k - f_k w_1| / |f_k w_1|.

    Parameters
    ----------
    weights : (n, T, K) what an encoder gives for one take scaled by each of the factors
    factors : (n,) none of them 0, one of them 1

    Raises
    ------
    VisemoError
        for other factors or shapes, or when the take itself gets no weights
    """
    weights, factors = np.asarray(weights, np.float64), np.asarray(factors, np.float64)
    if weights.ndim != 3 or factors.shape != (len(weights),) or not (factors == 1).any() or not factors.all():
        raise VisemoError(
            f"linearity: got weights {weights.shape} for factors {factors.tolist()}, expected (n, T, K) for n factors "
            "other than 0, one of them 1"
        )
    expected = factors[:, None, None] * weights[factors == 1][0]
    if not expected.any():
        raise VisemoError("linearity: got no weights for the take itself, expected some")
    off, size = (np.linalg.norm(w.reshape(len(w), -1), axis=1) for w in (weights - expected, expected))
    return float((off / size).max())


def _energy(motion: NDArray) -> float:
    return float(np.square(motion).sum())


def _rms(displacement: FloatArray) -> float:
    """Over frames and vertices, mm."""
    return MM_PER_M * float(np.square(displacement, dtype=np.float64).sum(axis=2).mean()) ** 0.5
