"""The closed-form split by itself: what teaches the default fusion module, without a network or blendshapes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from visemo.evaluate.rivals.lessons import Lessons
from visemo.evaluate.rivals.rival import Setting
from visemo.training.group import Group
from visemo.training.split import Split, SplitConfig, closed_form_split
from visemo.types import FloatArray


@dataclass(frozen=True, eq=False)
class Divided:
    """Both recordings, less what the split finds of the other factor in them."""

    split: Split

    def fuse(self, talk: FloatArray, face: FloatArray, label: str) -> FloatArray:
        shown = self.split.expression_in_speech(torch.from_numpy(talk)).numpy()
        return talk - shown + face - self.split.speech_in_expression(torch.from_numpy(face), label).numpy()


@dataclass(frozen=True)
class ClosedForm:
    """The split with the settings that training has."""

    name: str = "closed-form split"
    steps: int = 0
    settings: tuple[Setting, ...] = ({},)
    config: SplitConfig = field(default_factory=SplitConfig)

    def fit(self, lessons: Lessons, setting: Setting) -> Divided:
        talks, faces = (
            Group([take.astype(float) for take in group.takes], group.names) for group in (lessons.talks, lessons.faces)
        )
        return Divided(closed_form_split(lessons.face, lessons.motion, talks, faces, self.config))
