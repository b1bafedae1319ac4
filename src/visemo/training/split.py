"""What of a recording is speech and what is expression, in closed form.

Reconstruction cannot tell S c + X d from S (c - M d) + (X + S M) d, whatever M; a penalty on the leaks
picks the M of the naive sum. Three facts from outside fix it: in speech takes, speech is fast and
expression slow; an expression is local, absent where slow speech is absent, and never parts the lips, which is
speech's to do; and some takes of an expression have hardly any speech in them. Here these become matrices in the
coordinates of a motion basis, which the fusion module is then taught.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor

from visemo.face.face import Face
from visemo.training.pca import MotionBasis
from visemo.types import VisemoError
from visemo.units import MM_PER_M

Array = NDArray[np.floating]

HALF_SPAN = 2  # frames: 133 ms between the two frames whose difference counts as fast
BLOCK = 20  # frames: means over 2/3 s, compared with other such means of the take that are not next to them
MOUTH_SHARE = 0.3  # directions with less of their energy in the lower face belong to the upper
STRANGER = 1e-4  # energy that an unmet speaker's mouth may put into any direction, of speech's energy
PRIOR_VERTICES = 300
PRIOR_NOISE = 0.05  # mm
PRIOR_FLOOR = 0.02  # expression energy allowed everywhere, of the mean
SPEECH_IN_EXPRESSION = 0.05  # energy of the speech in expression takes, of speech itself, where nothing else is known
SPEECH_BESIDE_REFERENCE = 0.3  # the same where the expression's own shape is known
SEALED = 0.3  # mm that an expression may part the lips
SEALED_IN_TALK = 0.03  # the same of the tenths of it that a speaker shows
CLEANEST = 0.05  # share of a label's takes that have less speech in them than its reference


@dataclass(frozen=True)
class SplitConfig:
    """Settings of the closed-form split.

    components : dimensions of the motion basis it works in
    length : reach of the local prior on expressions, mm
    trust : weight of the local prior beside the reference takes
    """

    components: int = 60
    length: float = 5.0
    trust: float = 7e-2


@dataclass(frozen=True, eq=False)
class Split:
    """Linear maps on row vectors of coordinates: `slow` takes speech motion to its expression part, `spoken` takes
    expression motion to its speech part, one map for each label and one, named "", for labels never met."""

    motion: MotionBasis
    slow: Tensor  # (P, P)
    spoken: Mapping[str, Tensor]  # (P, P) each

    def expression_in_speech(self, displacements: Tensor) -> Tensor:
        """(B, V, 3) m of speech takes -> what of it is expression, (B, V, 3) m."""
        return self.motion.displacements(self.motion.coordinates(displacements) @ self.slow)

    def speech_in_expression(self, displacements: Tensor, label: str = "") -> Tensor:
        """(B, V, 3) m of takes of one expression -> what of it is speech, (B, V, 3) m."""
        return self.motion.displacements(self.motion.coordinates(displacements) @ self.speech_of(label))

    def speech_of(self, label: str) -> Tensor:
        """The map (P, P) for takes of that label."""
        return self.spoken.get(label, self.spoken[""])

    def to(self, device: torch.device) -> Split:
        motion = MotionBasis(
            *(t.to(device) for t in (self.motion.directions, self.motion.deviation, self.motion.omega))
        )
        spoken = {label: matrix.to(device) for label, matrix in self.spoken.items()}
        return replace(self, motion=motion, slow=self.slow.to(device), spoken=spoken)


@dataclass(frozen=True, eq=False)
class Group:
    """Takes as coordinates (T, P) in mm, each with a name: the speaker, or the expression's label."""

    takes: Sequence[Array]
    names: Sequence[str]

    @property
    def frames(self) -> Array:
        return np.concatenate(self.takes)

    @property
    def moment(self) -> Array:
        """E[x^T x], (P, P) mm^2."""
        return self.frames.T @ self.frames / sum(len(take) for take in self.takes)


def closed_form_split(
    face: Face, motion: MotionBasis, speech: Group, expression: Group, config: SplitConfig | None = None
) -> Split:
    """Divide both data sets into speech and expression.

    Parameters
    ----------
    face : its template and regions locate the prior
    motion : basis of the coordinates, equal weight for every vertex
    speech : takes named by speaker
    expression : takes named by label

    Raises
    ------
    VisemoError
        when nothing in the speech takes is fast, or nothing lasts
    """
    config = config or SplitConfig()
    field = _Field.build(face, motion)
    spoken, worn = speech_and_expression(speech, field)
    stranger = STRANGER * np.trace(spoken) * np.eye(len(spoken))
    slow = _share(_sealed(worn, field, SEALED_IN_TALK), spoken + stranger)
    prior = _sealed(_local_prior(field, worn, expression, config.length), field)
    amount = SPEECH_IN_EXPRESSION * spoken
    references = _references(expression, _share(amount, prior), _share(0.1 * amount, prior))
    amount = SPEECH_BESIDE_REFERENCE * spoken
    shapes = {label: np.outer(shape, shape) for label, shape in references.items()}
    shapes[""] = np.mean(list(shapes.values()), axis=0)
    found = {label: _share(amount, _sealed(moment + config.trust * prior, field)) for label, moment in shapes.items()}
    return Split(motion, _tensor(slow), {label: _tensor(matrix) for label, matrix in found.items()})


def speech_and_expression(speech: Group, field: _Field) -> tuple[Array, Array]:
    """Second moments (P, P) of what is speech and of what is expression in speech takes.

    Speech changes within `HALF_SPAN` frames; expression is still there a second later. Blinks and brow flashes
    are fast too: what the upper face does fast without the lower face is expression.

    Raises VisemoError when nothing in the takes is fast, or nothing stays.
    """
    steps = np.concatenate([take[2 * HALF_SPAN :] - take[: -2 * HALF_SPAN] for take in speech.takes])
    fast, slow = steps.T @ steps / len(steps), _lasting(speech)
    if not np.trace(fast) > 0 or not np.trace(slow) > 0:
        raise VisemoError(
            "split: got speech takes without fast or without lasting motion, expected both; take longer ones"
        )
    amounts = _amounts(speech.moment, fast, slow)
    spoken, worn = amounts[0] * fast, amounts[1] * slow
    apart = _upper_alone(spoken, field)
    return spoken - apart, worn + apart


def _lasting(speech: Group) -> Array:
    """Covariance (P, P) between block means of one take that are at least a block apart, about the speaker's mean.

    Speech has forgotten itself by then, so it adds nothing on average, however short the takes.
    """
    total, count = np.zeros_like(speech.moment), 0.0
    for speaker in sorted(set(speech.names)):
        own = [take for take, name in zip(speech.takes, speech.names) if name == speaker]
        mean = np.concatenate(own).mean(axis=0)
        for take in own:
            blocks = len(take) // BLOCK
            means = (take[: blocks * BLOCK] - mean).reshape(blocks, BLOCK, -1).mean(axis=1)
            distant = (np.abs(np.subtract.outer(np.arange(blocks), np.arange(blocks))) > 1).astype(float)
            total += means.T @ distant @ means
            count += distant.sum()
    power, axes = np.linalg.eigh(total / max(count, 1.0))
    return (axes * np.maximum(power, 0)) @ axes.T


def _amounts(moment: Array, fast: Array, slow: Array) -> Array:
    """(2,) factors with which fast and slow covariance add up to the moment, fitted over their joint axes."""
    both = fast + slow
    both += 1e-6 * np.trace(both) / len(both) * np.eye(len(both))
    share, filters = scipy.linalg.eigh(fast, both)
    energy = np.einsum("pi,pq,qi->i", filters, moment, filters)
    return scipy.optimize.nnls(np.stack([share, 1 - share], axis=1), energy)[0]


def _upper_alone(spoken: Array, field: _Field) -> Array:
    """The part (P, P) of a covariance that the upper face has and the lower face does not predict."""
    share, axes = np.linalg.eigh(field.lower)
    upper, lower = axes[:, share < MOUTH_SHARE], axes[:, share >= MOUTH_SHARE]
    below, across = lower.T @ spoken @ lower, lower.T @ spoken @ upper
    below += 1e-3 * np.trace(below) / len(below) * np.eye(len(below))
    return upper @ (upper.T @ spoken @ upper - across.T @ np.linalg.solve(below, across)) @ upper.T


@dataclass(frozen=True, eq=False)
class _Field:
    """The motion basis seen at some vertices, spread evenly over the face."""

    points: Array  # (n, 3) mm
    axes: Array  # (3, n, P) displacement per unit of each coordinate
    lower: Array  # (P, P) mean square displacement that the lower face contributes
    parting: Array  # (P, 3N) upper minus lower lip; its squares add up to a mean square over the lip pairs

    @classmethod
    def build(cls, face: Face, motion: MotionBasis) -> _Field:
        directions = motion.directions.double().numpy().reshape(len(motion.directions), -1, 3)
        template = face.template.astype(np.float64) * MM_PER_M
        chosen = _spread(template, PRIOR_VERTICES)
        between = 0.5 * (template[face.region("lips"), 1].mean() + template[face.region("eyes"), 1].mean())
        below = directions[:, template[:, 1] < between].reshape(len(directions), -1)
        upper, lower = face.lip_pairs.T
        parting = (directions[:, upper] - directions[:, lower]).reshape(len(directions), -1) / np.sqrt(len(upper))
        seen = directions[:, chosen].transpose(2, 1, 0)
        return cls(template[chosen], seen, below @ below.T / len(template), parting)

    def energy(self, moment: Array) -> Array:
        """Mean square displacement (n,) at each vertex, of coordinates with second moment (P, P)."""
        return np.einsum("anp,pq,anq->n", self.axes, moment, self.axes)


def _spread(points: Array, count: int) -> NDArray[np.int64]:
    """Farthest-point sampling from the first vertex."""
    chosen = [0]
    distance = np.full(len(points), np.inf)
    for _ in range(min(count, len(points)) - 1):
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def _local_prior(field: _Field, worn: Array, expression: Group, length: float) -> Array:
    """Covariance (P, P) of expression: smooth over `length` mm, strong where speech takes wear expression."""
    place = field.energy(worn)
    place = (place / place.mean() + PRIOR_FLOOR) / (1 + PRIOR_FLOOR) * field.energy(expression.moment).mean() / 3
    apart = np.square(field.points[:, None] - field.points).sum(-1)
    kernel = np.sqrt(place[:, None] * place) * np.exp(-apart / (2 * length**2))
    kernel += PRIOR_NOISE**2 * np.eye(len(kernel))
    precision = sum(axis.T @ np.linalg.solve(kernel, axis) for axis in field.axes)
    return np.linalg.inv(np.asarray(precision))


def _sealed(covariance: Array, field: _Field, within: float = SEALED) -> Array:
    """A covariance (P, P) of expression, when it is known that the lips stay together, within so many mm."""
    seen = covariance @ field.parting
    noise = within**2 / field.parting.shape[1] * np.eye(field.parting.shape[1])
    known = covariance - seen @ np.linalg.solve(field.parting.T @ seen + noise, seen.T)
    return 0.5 * (known + known.T)


def _share(wanted: Array, other: Array) -> Array:
    """(P, P): x times this is the best linear estimate of what has covariance `wanted` in a sum with `other`."""
    return np.linalg.solve(wanted + other + 1e-9 * np.trace(other) * np.eye(len(other)), wanted)


def _references(expression: Group, speech_share: Array, gentle_share: Array) -> dict[str, Array]:
    """Each label's shape (P,) without speech: its takes, drawn out to where they have least."""
    labels = np.array(expression.names)
    shapes = {}
    for label in sorted(set(expression.names)):
        means = np.stack([_weighted_mean(take) for take, name in zip(expression.takes, labels) if name == label])
        residual = means - means @ speech_share
        typical = residual.mean(axis=0)
        strength = np.maximum(residual @ typical / max(typical @ typical, 1e-12), 0.2)
        unit = means / strength[:, None]
        leak = unit @ speech_share
        amount = leak @ _growth(leak @ leak.mean(axis=0), leak)  # of speech in each take
        least = amount.mean() - np.quantile(amount, CLEANEST)
        shape = unit.mean(axis=0) - least * _growth(amount, unit)
        shapes[label] = shape - shape @ gentle_share
    return shapes


def _growth(amount: Array, rows: Array) -> Array:
    """(P,): how much rows (n, P) gain with each unit of an amount (n,), by least squares."""
    beyond = amount - amount.mean()
    return beyond @ rows / max(float(beyond @ beyond), 1e-12)


def _weighted_mean(take: Array) -> Array:
    """Mean frame, each frame counting by its amplitude."""
    amplitude = np.sqrt(np.square(take).sum(axis=1)) + 1e-12
    return amplitude @ take / amplitude.sum()


def _tensor(matrix: Array) -> Tensor:
    return torch.from_numpy(matrix.astype(np.float32))
