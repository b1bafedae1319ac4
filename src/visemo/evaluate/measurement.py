"""Everything that is measured of a model on the held-out takes of a corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from visemo.evaluate.answers import Answers, recorded
from visemo.evaluate.baselines import Baselines
from visemo.evaluate.module_measures import ModuleMeasures
from visemo.evaluate.pair_measures import PairMeasures, duets_of
from visemo.evaluate.places import Places
from visemo.evaluate.sheet import Sheet
from visemo.evaluate.speech_measures import SpeechMeasures, Talk
from visemo.models.checkpoint import Model
from visemo.training.corpus import Corpus, Recording
from visemo.types import VisemoError

Progress = Callable[[float], None]  # the share that is done, 0..1
Item = TypeVar("Item")

# shares of the time
TALKS, FACES = 0.55, 0.65


@dataclass(frozen=True, eq=False)
class Findings:
    """What was measured: the tables, every speech take, and mean errors (V,) mm on the face by mode; `answers` to look
    closer."""

    answers: Answers
    places: Places
    sheet: Sheet
    talks: list[Talk]
    maps: dict[str, NDArray]


def measure(model: Model, corpus: Corpus, limit: int | None, progress: Progress) -> Findings:
    """Measure a model on the test part of a corpus, in `torch.inference_mode`.

    Parameters
    ----------
    limit : takes of each kind, and pairs, at most, evenly picked; None for all

    Raises
    ------
    VisemoError
        for a corpus without test takes
    """
    talks, faces = _takes(corpus, "test", "speech"), _takes(corpus, "test", "expression")
    if not talks and not faces:
        corpus.takes("test", "speech")  # says what is missing
    duets = _some(duets_of(corpus, talks, faces), limit)
    talks, faces = _some(talks, limit), _some(faces, limit)
    answers, places, sheet = Answers(model, corpus), Places(model.face), Sheet()
    known = _takes(corpus, "train", "speech")
    speech = SpeechMeasures(answers, places, sheet, Baselines(known, places.lips.indices) if known and talks else None)
    module, pairs = ModuleMeasures(answers, places, sheet), PairMeasures(answers, places, sheet)
    shown = []
    for k, recording in enumerate(talks):
        motion = recorded(recording)
        shown.append(speech.take(recording, motion))
        module.speech_take(recording, motion)
        progress(TALKS * (k + 1) / len(talks))
    for k, recording in enumerate(faces):
        module.expression_take(recording, recorded(recording))
        progress(TALKS + (FACES - TALKS) * (k + 1) / len(faces))
    for k, duet in enumerate(duets):
        pairs.pair(duet)
        progress(FACES + (1 - FACES) * (k + 1) / len(duets))
    for measures in (speech, module, pairs):
        measures.conclude()
    said = {"speech": np.mean([answers.spoken(r).error for r in talks], axis=0)} if talks else {}
    return Findings(answers, places, sheet, shown, said | pairs.errors.means())


def _takes(corpus: Corpus, part: str, kind: str) -> Sequence[Recording]:
    """Those of one kind, none where the corpus has none: speech alone can be measured, and so can expressions."""
    try:
        return corpus.takes(part, kind)
    except VisemoError:
        return ()


def _some(items: Sequence[Item], limit: int | None) -> Sequence[Item]:
    """At most `limit` of them, from the first to the last."""
    if limit is None or len(items) <= limit:
        return items
    return [items[k] for k in np.linspace(0, len(items) - 1, limit).round().astype(int)]
