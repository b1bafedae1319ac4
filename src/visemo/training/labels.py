"""What the expression takes of one label tell when they are compared: its expression, and how people speak in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visemo.training.group import Group, means_of, weighted_mean
from visemo.training.prior import VARIETY, Field

Array = NDArray[np.floating]

CLEANEST = 0.05  # share of a label's takes that have less speech in them than its reference
COMPARED = 5  # takes of a label, of which fewer do not tell how they differ
SEALED_LABELS = 0.25  # share of labels whose cleanest takes part the lips by less than an expression may
LEAST_SEALED = 0.1  # mm that an expression may part the lips, however clean the takes
STRENGTHS = (0.3, 3.0)  # of a take, of its label's typical one
FAINT = 0.05  # energy of eyes and brows, of the mean take's, that says little of a take's strength
OWN_TIME = 1e-4  # energy of what comes and goes at times of its own, of all motion, that is more than rounding
TIMING_TELLS = 0.8  # of how takes of a label differ, when times within takes tell what differs


@dataclass(frozen=True, eq=False)
class Labels:
    """What the expression takes of every label tell, before anything is known of talk.

    pairs : a label's expression (P,) and way of speaking (P,), of those with enough takes
    within : mm that an expression may part the lips
    """

    pairs: Mapping[str, tuple[Array, Array]]
    within: float


def read_labels(expression: Group, field: Field) -> Labels:
    """How far expressions part the lips is what the cleanest takes show; labels with too few takes to tell count as
    shut."""
    takes = {label: expression.named(label) for label in sorted(set(expression.names))}
    faint = FAINT * np.mean([np.square(weighted_mean(take)).sum() for take in expression.takes])
    pairs = {label: _pair(own, field, float(faint)) for label, own in takes.items() if len(own) >= COMPARED}
    parted = [field.parted(pairs[label][0]) if label in pairs else 0.0 for label in takes]
    return Labels(pairs, max(LEAST_SEALED, float(np.quantile(parted, SEALED_LABELS))))


def reference(means: Array, some: Array, little: Array) -> Array:
    """A label's shape (P,) without speech: the means (n, P) of its takes, drawn out to where they have least.

    `some` and `little` are maps to what may be speech in them.
    """
    residual = means - means @ some
    typical = residual.mean(axis=0)
    strength = np.maximum(residual @ typical / max(typical @ typical, 1e-12), 0.2)
    unit = means / strength[:, None]
    leak = unit @ some
    amount = leak @ _growth(leak @ leak.mean(axis=0), leak)  # of speech in each take
    least = amount.mean() - np.quantile(amount, CLEANEST)
    shape = unit.mean(axis=0) - least * _growth(amount, unit)
    return shape - shape @ little


def _pair(takes: Sequence[Array], field: Field, faint: float) -> tuple[Array, Array]:
    """A label's expression (P,) and way of speaking (P,): its takes are one of each, in amounts of their own.

    What differs most between takes equally strong is how much speech is in them, and there is none in those that
    have least. Eyes and brows tell the strength, since speech does not move them; below the energy `faint` they hardly
    do. People differ too, but not within a take: so the way of speaking is made of the takes' mean and of what comes
    and goes at times of its own, as long as these hold most of how takes differ.
    """
    means = means_of(takes)
    typical = means.mean(axis=0)
    aloft = typical - typical @ field.lower
    strength = np.clip((means @ aloft + faint) / (typical @ aloft + faint), *STRENGTHS)
    unit = means / (strength / strength.mean())[:, None]
    middle = unit.mean(axis=0)
    beyond = unit - middle
    growth = _widest(beyond)
    timed = _own_time(takes, field)
    if timed @ timed > OWN_TIME * np.square(means).sum(axis=1).mean():
        plane = np.linalg.qr(np.stack([middle @ field.below, timed], axis=1))[0]
        inside = plane @ _widest(beyond @ plane)
        if np.square(beyond @ inside).sum() > TIMING_TELLS * np.square(beyond @ growth).sum():
            growth = inside
    if (growth @ field.parting) @ (middle @ field.parting) < 0:
        growth = -growth  # speech parts the lips
    amount = beyond @ growth
    least = np.quantile(amount, CLEANEST)
    talk = growth @ field.below
    return middle + least * growth, talk * np.sqrt(np.square(amount - least).mean())


def _own_time(takes: Sequence[Array], field: Field) -> Array:
    """(P,): how the lower faces of one take differ most from multiples of their mean, root mean square."""
    moment = np.zeros_like(field.lower)
    for take in takes:
        lower = take @ field.below
        mean = weighted_mean(lower)
        apart = lower - np.outer(lower @ mean, mean) / max(float(mean @ mean), 1e-12)
        moment += apart.T @ apart / (len(take) * len(takes))
    power, axes = np.linalg.eigh(moment)
    return axes[:, -1] * np.sqrt(max(float(power[-1]), 0.0))


def _widest(rows: Array) -> Array:
    """(P,) unit direction in which rows (n, P) are largest."""
    return np.linalg.svd(rows, full_matrices=False)[2][0]


def certainty(expression: Array, talk: Array) -> float:
    """How far takes tell a label's way of speaking: 0 where they differ no more than people do, at most 1."""
    spoken, people = talk @ talk, VARIETY * (expression @ expression)
    return float(spoken / (spoken + people + 1e-12))


def _growth(amount: Array, rows: Array) -> Array:
    """(P,): how much rows (n, P) gain with each unit of an amount (n,), by least squares."""
    beyond = amount - amount.mean()
    return beyond @ rows / max(float(beyond @ beyond), 1e-12)
