"""What is known of expressions before their takes are compared: where, how smoothly, and with what lips."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from visemo.face.face import Face
from visemo.training.pca import MotionBasis
from visemo.units import MM_PER_M

Array = NDArray[np.floating]

VERTICES = 300  # at which a face is seen
MOUTH_SHARE = 0.3  # directions with less of their energy in the lower face belong to the upper
NOISE = 0.05  # mm
FLOOR = 0.02  # energy allowed everywhere, of the mean
VARIETY = 0.03  # energy of how people differ in a shape, of the shape's own
VARIETY_LENGTH = 30.0  # mm over which they do so smoothly


@dataclass(frozen=True, eq=False)
class Field:
    """A motion basis seen at some vertices, spread evenly over the face."""

    points: Array  # (n, 3) mm
    axes: Array  # (3, n, P) displacement per unit of each coordinate
    lower: Array  # (P, P) mean square displacement that the lower face contributes
    parting: Array  # (P, 3N) upper minus lower lip; its squares add up to a mean square over the lip pairs

    @classmethod
    def build(cls, face: Face, motion: MotionBasis) -> Field:
        directions = motion.directions.double().numpy().reshape(len(motion.directions), -1, 3)
        template = face.template.astype(np.float64) * MM_PER_M
        chosen = spread(template, VERTICES)
        between = 0.5 * (template[face.region("lips"), 1].mean() + template[face.region("eyes"), 1].mean())
        below = directions[:, template[:, 1] < between].reshape(len(directions), -1)
        upper, lower = face.lip_pairs.T
        parting = (directions[:, upper] - directions[:, lower]).reshape(len(directions), -1) / np.sqrt(len(upper))
        seen = directions[:, chosen].transpose(2, 1, 0)
        return cls(template[chosen], seen, below @ below.T / len(template), parting)

    @cached_property
    def above(self) -> Array:
        """Projector (P, P) on the directions that belong to the upper face."""
        share, axes = np.linalg.eigh(self.lower)
        upper = axes[:, share < MOUTH_SHARE]
        return upper @ upper.T

    @property
    def below(self) -> Array:
        """Projector (P, P) on those of the lower face, where speech is."""
        return np.eye(len(self.lower)) - self.above

    def energy(self, moment: Array) -> Array:
        """Mean square displacement (n,) at each vertex, of coordinates with second moment (P, P)."""
        return np.einsum("anp,pq,anq->n", self.axes, moment, self.axes)

    def parted(self, shape: Array) -> float:
        """How far a shape (P,) parts the lips, root mean square over their pairs, mm."""
        return float(np.linalg.norm(shape @ self.parting))

    def smooth(self, energy: Array, length: float) -> Array:
        """Covariance (P, P) of fields with that energy (n,) along each axis, smooth over `length` mm."""
        apart = np.square(self.points[:, None] - self.points).sum(-1)
        kernel = np.sqrt(energy[:, None] * energy) * np.exp(-apart / (2 * length**2))
        kernel += NOISE**2 * np.eye(len(kernel))
        return np.linalg.inv(np.asarray(sum(axis.T @ np.linalg.solve(kernel, axis) for axis in self.axes)))


def spread(points: Array, count: int) -> NDArray[np.int64]:
    """Farthest-point sampling from the first vertex."""
    chosen = [0]
    distance = np.full(len(points), np.inf)
    for _ in range(min(count, len(points)) - 1):
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def local_prior(field: Field, worn: Array, moment: Array, length: float) -> Array:
    """Covariance (P, P) of expressions with that moment: smooth over `length` mm, strong where talk wears them."""
    place = field.energy(worn)
    place = (place / place.mean() + FLOOR) / (1 + FLOOR) * field.energy(moment).mean() / 3
    return field.smooth(place, length)


def variety(shape: Array, field: Field) -> Array:
    """Covariance (P, P) of how people differ in a shape (P,)."""
    own = field.energy(np.outer(shape, shape))
    return field.smooth(VARIETY / 3 * (own + FLOOR * own.mean()), VARIETY_LENGTH)


def sealed(covariance: Array, field: Field, within: float) -> Array:
    """A covariance (P, P) of expressions, when it is known that the lips stay together, within so many mm."""
    seen = covariance @ field.parting
    noise = within**2 / field.parting.shape[1] * np.eye(field.parting.shape[1])
    known = covariance - seen @ np.linalg.solve(field.parting.T @ seen + noise, seen.T)
    return 0.5 * (known + known.T)
