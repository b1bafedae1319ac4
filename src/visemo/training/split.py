"""What of a recording is speech and what is expression, in closed form.

Reconstruction cannot tell S c + X d from S (c - M d) + (X + S M) d, whatever M; a penalty on the leaks
picks the M of the naive sum. Four facts from outside fix it: in speech takes, speech is fast and
expression slow; an expression is local, absent where slow speech is absent, and parts the lips no further than in the
cleanest takes; some takes of an expression have hardly any speech in them, and it comes and goes at times of its own;
and what a face shows while it talks is some of what it shows in expression takes. Here these become matrices in the
coordinates of a motion basis, which the fusion module is then taught.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

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
SHOWN_IN_TALK = 0.3  # of an expression, by a speaker, where no take tells how much
STRENGTHS = (0.3, 3.0)  # of a take, of its label's typical one
FAINT = 0.05  # energy of eyes and brows, of the mean take's, that says little of a take's strength
OWN_TIME = 1e-4  # energy of what comes and goes at times of its own, of all motion, that is more than rounding
TIMING_TELLS = 0.8  # of how takes of a label differ, when times within takes tell what differs


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

    def named(self, name: str) -> list[Array]:
        """Its takes."""
        return [take for take, own in zip(self.takes, self.names) if own == name]


class Talk(NamedTuple):
    """Second moments (P, P) of both parts of speech takes."""

    spoken: Array  # speech
    worn: Array  # the expression that a face shows meanwhile


@dataclass(frozen=True, eq=False)
class Labels:
    """What the expression takes of every label tell, before anything is known of talk.

    pairs : a label's expression (P,) and way of speaking (P,), of those with enough takes
    within : mm that an expression may part the lips
    """

    pairs: Mapping[str, tuple[Array, Array]]
    within: float


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
    talk, labels = speech_and_expression(speech, field), read_labels(expression, field)
    maps, slow = speech_in_labels(expression, labels, field, talk, config), expression_in_talk(labels, field, talk)
    return Split(motion, _tensor(slow), {label: _tensor(matrix) for label, matrix in maps.items()})


def speech_and_expression(speech: Group, field: Field) -> Talk:
    """What is speech and what is expression in speech takes.

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
    return Talk(field.below @ spoken @ field.below, worn + field.above @ spoken @ field.above)


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


def expression_in_talk(labels: Labels, field: Field, talk: Talk) -> Array:
    """The map (P, P) of speech takes to the expression in them.

    Two estimates of what faces show in talk, which err in different places, are averaged: what lasts there, `worn`, and
    the labels' own expressions, at the strength that fits. That share of an expression parts the lips by the same share
    of what an expression may.
    """
    shown, worn = SHOWN_IN_TALK, talk.worn
    if labels.pairs:
        faces = np.mean([_alike(face, field) for face, _ in labels.pairs.values()], axis=0)
        shown = min(1.0, float(np.sqrt(np.trace(worn) / max(np.trace(faces), 1e-12))))
        worn = 0.5 * (worn + shown**2 * faces)
    stranger = STRANGER * np.trace(talk.spoken) * np.eye(len(worn))
    return _share(sealed(worn, field, shown * labels.within), talk.spoken + stranger)


def read_labels(expression: Group, field: Field) -> Labels:
    """How far expressions part the lips is what the cleanest takes show; labels with too few takes to tell count as
    shut."""
    takes = {label: expression.named(label) for label in sorted(set(expression.names))}
    faint = FAINT * np.mean([np.square(weighted_mean(take)).sum() for take in expression.takes])
    pairs = {label: _pair(own, field, float(faint)) for label, own in takes.items() if len(own) >= COMPARED}
    parted = [field.parted(pairs[label][0]) if label in pairs else 0.0 for label in takes]
    return Labels(pairs, max(LEAST_SEALED, float(np.quantile(parted, SEALED_LABELS))))


def speech_in_labels(
    expression: Group, labels: Labels, field: Field, talk: Talk, config: SplitConfig
) -> dict[str, Array]:
    """The map (P, P) of each label's takes to the speech in them, and one named "" for labels never met.

    As far as a label's takes tell its own way of speaking, what that and the way of all make up beside its own
    expression; else what has the covariance of speech beside the expression's reference.
    """
    spoken = talk.spoken
    prior = sealed(local_prior(field, talk.worn, expression.moment, config.length), field, labels.within)

    def beside(speech: Array, shape: Array) -> Array:
        return _share(speech, sealed(shape + config.trust * prior, field, labels.within))

    some, little = (_share(part * SPEECH_IN_EXPRESSION * spoken, prior) for part in (1.0, 0.1))
    names = sorted(set(expression.names))
    moments = {name: _moment(_reference(means_of(expression.named(name)), some, little)) for name in names}
    moments[""] = np.mean(list(moments.values()), axis=0)
    maps = {label: beside(SPEECH_BESIDE_REFERENCE * spoken, moment) for label, moment in moments.items()}
    for label, (face, said) in labels.pairs.items():
        own = beside(_alike(said, field) + ANY_SPEECH * spoken, _alike(face, field))
        maps[label] = maps[label] + _certainty(face, said) * (own - maps[label])
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


def _certainty(expression: Array, talk: Array) -> float:
    """How far takes tell a label's way of speaking: 0 where they differ no more than people do, at most 1."""
    spoken, people = talk @ talk, VARIETY * (expression @ expression)
    return float(spoken / (spoken + people + 1e-12))


def _growth(amount: Array, rows: Array) -> Array:
    """(P,): how much rows (n, P) gain with each unit of an amount (n,), by least squares."""
    beyond = amount - amount.mean()
    return beyond @ rows / max(float(beyond @ beyond), 1e-12)


def means_of(takes: Sequence[Array]) -> Array:
    """Mean frame (n, P) of each take."""
    return np.stack([weighted_mean(take) for take in takes])


def weighted_mean(take: Array) -> Array:
    """Mean frame, each frame counting by its amplitude."""
    amplitude = np.sqrt(np.square(take).sum(axis=1)) + 1e-12
    return amplitude @ take / amplitude.sum()


def _moment(shape: Array) -> Array:
    return np.outer(shape, shape)


def _alike(shape: Array, field: Field) -> Array:
    """Second moment (P, P) of a shape (P,) as many people show it."""
    return _moment(shape) + variety(shape, field)


def _tensor(matrix: Array) -> Tensor:
    return torch.from_numpy(matrix.astype(np.float32))
