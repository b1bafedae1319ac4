"""The fusion module as a rival: its blendshapes (Eq. 13), the recordings less its leaks (Eq. 8), its own sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from visemo.evaluate.rivals.lessons import Lessons
from visemo.evaluate.rivals.rival import Setting
from visemo.models.checkpoint import Model, Parts
from visemo.models.fusion import Fusion, fuse
from visemo.types import FloatArray, VisemoError

Form = Literal["basis", "residual", "naive"]
FORMS: tuple[Form, ...] = ("basis", "residual", "naive")
Halves = tuple[Tensor, Tensor]


@dataclass(eq=False)
class Encoded:
    """Both encoders on the pair of recordings that was asked for last: the forms of a module share the work."""

    hash: str  # of the model that the module is part of
    fusion: Fusion = field(repr=False)
    _last: tuple[FloatArray, FloatArray] | None = field(default=None, repr=False)
    _halves: tuple[Halves, Halves] | None = field(default=None, repr=False)

    def halves(self, talk: FloatArray, face: FloatArray) -> tuple[Halves, Halves]:
        """(w_A, eps_A) of the talk and (eps_E, w_E) of the expression, (T, V, 3) m each."""
        if self._halves is None or self._last is None or self._last[0] is not talk or self._last[1] is not face:
            self._last = talk, face
            speech, expression = torch.from_numpy(talk), torch.from_numpy(face)
            self._halves = self.fusion.encode_speech(speech), self.fusion.encode_expression(expression)
        return self._halves


@dataclass(frozen=True, eq=False)
class Module:
    """A trained fusion module in one of its forms; its own school, since it was fitted elsewhere."""

    name: str
    encoded: Encoded
    form: Form
    steps: int = 0
    settings: tuple[Setting, ...] = field(default=({},))

    def fit(self, lessons: Lessons, setting: Setting) -> Module:
        return self

    @torch.inference_mode()
    def fuse(self, talk: FloatArray, face: FloatArray, label: str) -> FloatArray:
        fusion = self.encoded.fusion
        speech, expression = self.encoded.halves(talk, face)
        if self.form == "residual":
            both = torch.from_numpy(talk), torch.from_numpy(face)
            return fusion.fuse_residual(*both, speech, expression).numpy()
        mode = "fused" if self.form == "basis" else "naive"
        return fusion.decode(fuse(speech, expression, mode)).numpy()


def modules_of(models: Mapping[str, Parts | Model], forms: tuple[Form, ...] = FORMS) -> list[Module]:
    """The modules of some models, by what they are to be called, in each form.

    Raises VisemoError for a model without one.
    """
    found = []
    for name, model in models.items():
        if model.fusion is None:
            raise VisemoError(f"{name}: got a model without a fusion module, expected one that has it")
        steps = int(model.config["training"].get("fusion", {}).get("steps", 0))
        encoded = Encoded(model.hash, model.fusion)
        found += [Module(name if form == "basis" else f"{name}, {form}", encoded, form, steps) for form in forms]
    return found
