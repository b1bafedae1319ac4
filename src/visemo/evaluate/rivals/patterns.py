"""Common spatial patterns in time: what changes fast in talk is speech, what differs between takes is not.

C_f, the covariance of differences over 133 ms, and C_s, that of the means of whole takes, are diagonal in one basis;
its directions with a large share of C_f are speech. Linear, without a prior on where expressions are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from visemo.evaluate.rivals.lessons import Lessons
from visemo.evaluate.rivals.rival import Setting
from visemo.training.group import Group
from visemo.training.split import HALF_SPAN
from visemo.types import FloatArray, VisemoError

WEAKEST = 3e-4  # of the strongest direction's deviation: below it talk does not move
THRESHOLDS, RIDGES = (0.5, 0.8), (0.03, 0.1, 0.3, 1.0)


def speech_projection(talks: Group, threshold: float, ridge: float) -> tuple[NDArray, NDArray]:
    """Maps (P, P) of row vectors of coordinates: onto what is fast in talk, and onto what is slow.

    Parameters
    ----------
    talks : takes (T, P) named by speaker
    threshold : share of C_f from which on a direction is fast, 0..1
    ridge : added to C_f + C_s, of their mean eigenvalue

    Raises
    ------
    VisemoError
        when no take is long enough to change
    """
    power, axes = np.linalg.eigh(talks.moment.astype(np.float64))
    moved = axes[:, power > WEAKEST**2 * power[-1]]
    steps = [take[2 * HALF_SPAN :] - take[: -2 * HALF_SPAN] for take in talks.takes if len(take) > 2 * HALF_SPAN]
    if not steps:
        raise VisemoError(f"patterns: got no talk of more than {2 * HALF_SPAN} frames, expected longer takes")
    fast = _moment(np.concatenate(steps) @ moved)
    slow = _moment(_about_speaker(talks) @ moved)
    both = fast + slow
    both += ridge * np.trace(both) / len(both) * np.eye(len(both))
    share, filters = scipy.linalg.eigh(fast, both)  # filters' inverse transposed, the patterns, is both @ filters
    spoken = filters[:, share > threshold]
    within = spoken @ spoken.T @ both
    return moved @ within @ moved.T, moved @ (np.eye(len(within)) - within) @ moved.T


def _about_speaker(talks: Group) -> NDArray:
    """Mean of every take (n, P) less the mean of its speaker's."""
    means = np.stack([take.mean(axis=0) for take in talks.takes]).astype(np.float64)
    names = np.array(talks.names)
    for speaker in set(talks.names):
        means[names == speaker] -= means[names == speaker].mean(axis=0)
    return means


def _moment(rows: NDArray) -> NDArray:
    return rows.T @ rows / len(rows)


@dataclass(frozen=True, eq=False)
class Pattern:
    """Talk without what is slow in it, plus the expression, without what is fast in talk if `project`."""

    lessons: Lessons
    spoken: NDArray  # (P, P)
    slow: NDArray
    project: bool

    def fuse(self, talk: FloatArray, face: FloatArray, label: str) -> FloatArray:
        lost = self.lessons.coordinates(talk) @ self.slow
        if self.project:
            lost = lost + self.lessons.coordinates(face) @ self.spoken
        return talk + face - self.lessons.displacements(lost)


@dataclass(frozen=True)
class Patterns:
    """The separation by time, with the expression as recorded or projected."""

    project: bool
    steps: int = 0
    settings: tuple[Setting, ...] = tuple({"threshold": t, "ridge": r} for t in THRESHOLDS for r in RIDGES)

    @property
    def name(self) -> str:
        return "temporal patterns, projected" if self.project else "temporal patterns"

    def fit(self, lessons: Lessons, setting: Setting) -> Pattern:
        spoken, slow = speech_projection(lessons.talks, setting["threshold"], setting["ridge"])
        return Pattern(lessons, spoken, slow, self.project)
