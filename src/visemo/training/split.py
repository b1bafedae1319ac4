"""What of a recording is speech and what is expression, in closed form.

Reconstruction cannot tell S c + X d from S (c - M d) + (X + S M) d, whatever M; a penalty on the leaks
picks the M of the naive sum. Four facts from outside fix it: in speech takes, speech is fast and
expression slow; an expression is local, absent where slow speech is absent, and parts the lips no further than in the
cleanest takes; some takes of an expression have hardly any speech in them, and it comes and goes at times of its own;
and what a face shows while it talks is some of what it shows in expression takes. Here these become matrices in the
coordinates of a motion basis, which the fusion module is then taught.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor

from visemo.face.face import Face
from visemo.training.group import Group, means_of
from visemo.training.labels import Labels, certainty, read_labels, reference
from visemo.training.pca import MotionBasis
from visemo.training.prior import Field, local_prior, sealed, variety
from visemo.types import VisemoError

Array = NDArray[np.floating]

HALF_SPAN = 2  # frames: 133 ms between the two frames whose difference counts as fast
BLOCK = 20  # frames: means over 2/3 s, compared with other such means of the take that are not next to them
STRANGER = 1e-4  # energy that an unmet speaker's mouth may put into any direction, of speech's energy
SPEECH_IN_EXPRESSION = 0.05  # energy of the speech in expression takes, of speech itself, where nothing else is known
SPEECH_BESIDE_REFERENCE = 0.3  # the same where the expression's own shape is known
ANY_SPEECH = 0.02  # the same beside the way of speaking that is found for a label
SHOWN_IN_TALK = 0.3  # of an expression, by a speaker, where no take tells how much


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


class Talk(NamedTuple):
    """Second moments (P, P) of both parts of speech takes."""

    spoken: Array  # speech
    worn: Array  # the expression that a face shows meanwhile


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
    moments = {name: _moment(reference(means_of(expression.named(name)), some, little)) for name in names}
    moments[""] = np.mean(list(moments.values()), axis=0)
    maps = {label: beside(SPEECH_BESIDE_REFERENCE * spoken, moment) for label, moment in moments.items()}
    for label, (face, said) in labels.pairs.items():
        own = beside(_alike(said, field) + ANY_SPEECH * spoken, _alike(face, field))
        maps[label] = maps[label] + certainty(face, said) * (own - maps[label])
    return maps


def _share(wanted: Array, other: Array) -> Array:
    """(P, P): x times this is the best linear estimate of what has covariance `wanted` in a sum with `other`."""
    return np.linalg.solve(wanted + other + 1e-9 * np.trace(other) * np.eye(len(other)), wanted)


def _moment(shape: Array) -> Array:
    return np.outer(shape, shape)


def _alike(shape: Array, field: Field) -> Array:
    """Second moment (P, P) of a shape (P,) as many people show it."""
    return _moment(shape) + variety(shape, field)


def _tensor(matrix: Array) -> Tensor:
    return torch.from_numpy(matrix.astype(np.float32))
