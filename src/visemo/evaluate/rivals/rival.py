"""What competes: ways to put a talking face and a shown expression on one face, and how they are fitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from visemo.evaluate.rivals.lessons import Lessons
from visemo.types import FloatArray

Setting = Mapping[str, float]
TRIALS = 8  # settings that every school may try on the validation pairs


class Rival(Protocol):
    """A fitted way to put two recordings on one face."""

    def fuse(self, talk: FloatArray, face: FloatArray, label: str) -> FloatArray:
        """The face that says `talk` and shows `face`.

        Parameters
        ----------
        talk, face : (T, V, 3) m, recordings frame by frame, each with some of the other factor in it
        label : what the expression is called

        Returns
        -------
        (T, V, 3) m
        """
        ...


class School(Protocol):
    """A family of rivals that differ in a few numbers; which of them competes, the validation pairs decide."""

    @property
    def name(self) -> str: ...

    @property
    def steps(self) -> int:
        """Optimiser steps of one fit; 0 in closed form."""
        ...

    @property
    def settings(self) -> tuple[Setting, ...]:
        """What is tried, `TRIALS` of them at most; with one there is nothing to search."""
        ...

    def fit(self, lessons: Lessons, setting: Setting) -> Rival:
        """The rival that the training takes make of a setting."""
        ...
