"""Other ways than the fusion module's to put a talking face and a shown expression on one face."""

from __future__ import annotations

from visemo.evaluate.rivals.blends import blends
from visemo.evaluate.rivals.closed_form import ClosedForm
from visemo.evaluate.rivals.double_encoder import DoubleEncoders
from visemo.evaluate.rivals.offsets import Offsets
from visemo.evaluate.rivals.one_third import one_third_rules
from visemo.evaluate.rivals.patterns import Patterns
from visemo.evaluate.rivals.rival import School
from visemo.training.recipes import FusionRecipe

STEPS = FusionRecipe.default().steps


def field_of_rivals(steps: int = STEPS) -> tuple[School, ...]:
    """All rivals of the fusion module; `steps` for those that are trained."""
    offsets, patterns = (tuple(kind(which) for which in (False, True)) for kind in (Offsets, Patterns))
    return (*blends(), *one_third_rules(), *offsets, DoubleEncoders(steps), *patterns, ClosedForm())
