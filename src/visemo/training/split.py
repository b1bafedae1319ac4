"""What of a recording is speech and what is expression, in closed form.

Reconstruction cannot tell S c + X d from S (c - M d) + (X + S M) d, whatever M; a penalty on the leaks
picks the M of the naive sum. Three facts from outside fix it: in speech takes, speech is fast and
expression slow; an expression is local, absent where slow speech is absent, and parts the lips no further than in the
cleanest takes; and some takes of an expression have hardly any speech in them. Here these become matrices in the
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
from visemo.training.prior import VARIETY, Field, local_prior, sealed, variety
from visemo.types import VisemoError

Array = NDArray[np.floating]

HALF_SPAN = 2  # frames: 133 ms between the two frames whose difference counts as fast
BLOCK = 20  # frames: means over 2/3 s, compared with other such means of the take that are not next to them
STRANGER = 1e-4  # energy that an unmet speaker's mouth may put into any direction, of speech's energy
SPEECH_IN_EXPRESSION = 0.05  # energy of the speech in expression takes, of speech itself, where nothing else is known
SPEECH_BESIDE_REFERENCE = 0.3  # the same where the expression's own shape is known
ANY_SPEECH = 0.02  # the same beside the way of speaking that is found for a label
CLEANEST = 0.05  # share of a label's takes that have less speech in them than its reference
COMPARED = 5  # takes of a label, of which fewer do not tell how they differ
SEALED_LABELS = 0.25  # share of labels whose cleanest takes part the lips by less than an expression may
LEAST_SEALED = 0.1  # mm that an expression may part the lips, however clean the takes
SEALED_IN_TALK = 0.03  # mm that the tenths of an expression that a speaker shows may part the lips
STRENGTHS = (0.3, 3.0)  # of a take, of its label's typical one
FAINT = 0.05  # energy of eyes and brows, of the mean take's, that says little of a take's strength


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

    def means(self, name: str) -> Array:
        """Mean frame (n, P) of each of its takes, each frame counting by its amplitude."""
        return np.stack([weighted_mean(take) for take, own in zip(self.takes, self.names) if own == name])


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
    field = Field.build(face, motion)
    spoken, worn = speech_and_expression(speech, field)
    stranger = STRANGER * np.trace(spoken) * np.eye(len(spoken))
    slow = _share(sealed(worn, field, SEALED_IN_TALK), spoken + stranger)
    maps = speech_in_labels(expression, field, spoken, worn, config)
    return Split(motion, _tensor(slow), {label: _tensor(matrix) for label, matrix in maps.items()})


def speech_and_expression(speech: Group, field: Field) -> tuple[Array, Array]:
    """Second moments (P, P) of what is speech and of what is expression in speech takes.

    Speech changes within `HALF_SPAN` frames; expression is still there a second later. Blinks are fast too, and brows
    go up with stressed vowels: whatever the upper face does is expression.

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
    return field.below @ spoken @ field.below, worn + field.above @ spoken @ field.above


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


def speech_in_labels(
    expression: Group, field: Field, spoken: Array, worn: Array, config: SplitConfig
) -> dict[str, Array]:
    """The map (P, P) of each label's takes to the speech in them, and one named "" for labels never met.

    Two estimates, which err in different places: of what has the covariance of speech beside the expression's
    reference, and of what the label's own way of speaking and that of all make up beside its own expression. A label
    takes the mean of both, as far as its takes tell its way of speaking. How far expressions part the lips is what the
    cleanest takes show; labels with too few takes to tell count as shut.
    """
    means = {label: expression.means(label) for label in sorted(set(expression.names))}
    faint = FAINT * np.mean(np.square(np.concatenate(list(means.values()))).sum(axis=1))
    pairs = {label: _pair(own, field, faint) for label, own in means.items() if len(own) >= COMPARED}
    parted = [field.parted(pairs[label][0]) if label in pairs else 0.0 for label in means]
    within = max(LEAST_SEALED, float(np.quantile(parted, SEALED_LABELS)))
    prior = sealed(local_prior(field, worn, expression.moment, config.length), field, within)

    def beside(speech: Array, shape: Array) -> Array:
        return _share(speech, sealed(shape + config.trust * prior, field, within))

    some, little = (_share(part * SPEECH_IN_EXPRESSION * spoken, prior) for part in (1.0, 0.1))
    moments = {label: _moment(_reference(own, some, little)) for label, own in means.items()}
    moments[""] = np.mean(list(moments.values()), axis=0)
    maps = {label: beside(SPEECH_BESIDE_REFERENCE * spoken, moment) for label, moment in moments.items()}
    for label, (face, talk) in pairs.items():
        said = _moment(talk) + variety(talk, field) + ANY_SPEECH * spoken
        own = beside(said, _moment(face) + variety(face, field))
        maps[label] = maps[label] + _certainty(face, talk) / 2 * (own - maps[label])
    return maps


def _share(wanted: Array, other: Array) -> Array:
    """(P, P): x times this is the best linear estimate of what has covariance `wanted` in a sum with `other`."""
    return np.linalg.solve(wanted + other + 1e-9 * np.trace(other) * np.eye(len(other)), wanted)


def _reference(means: Array, some: Array, little: Array) -> Array:
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


def _pair(means: Array, field: Field, faint: float) -> tuple[Array, Array]:
    """A label's expression (P,) and way of speaking (P,): its takes are one of each, in amounts of their own.

    What differs most between takes equally strong is how much speech is in them, and there is none in those that
    have least. Eyes and brows tell the strength, since speech does not move them; below the energy `faint` they hardly
    do.
    """
    typical = means.mean(axis=0)
    aloft = typical - typical @ field.lower
    strength = np.clip((means @ aloft + faint) / (typical @ aloft + faint), *STRENGTHS)
    unit = means / (strength / strength.mean())[:, None]
    middle = unit.mean(axis=0)
    growth = np.linalg.svd(unit - middle, full_matrices=False)[2][0]
    if (growth @ field.parting) @ (middle @ field.parting) < 0:
        growth = -growth  # speech parts the lips
    amount = (unit - middle) @ growth
    least = np.quantile(amount, CLEANEST)
    talk = growth @ field.below
    return middle + least * growth, talk * np.sqrt(np.square(amount - least).mean())


def _certainty(expression: Array, talk: Array) -> float:
    """How far takes tell a label's way of speaking: 0 where they differ no more than people do, at most 1."""
    spoken, people = talk @ talk, VARIETY * (expression @ expression)
    return float(spoken / (spoken + people + 1e-12))


def _growth(amount: Array, rows: Array) -> Array:
    """(P,): how much rows (n, P) gain with each unit of an amount (n,), by least squares."""
    beyond = amount - amount.mean()
    return beyond @ rows / max(float(beyond @ beyond), 1e-12)


def weighted_mean(take: Array) -> Array:
    """Mean frame, each frame counting by its amplitude."""
    amplitude = np.sqrt(np.square(take).sum(axis=1)) + 1e-12
    return amplitude @ take / amplitude.sum()


def _moment(shape: Array) -> Array:
    return np.outer(shape, shape)


def _tensor(matrix: Array) -> Tensor:
    return torch.from_numpy(matrix.astype(np.float32))
