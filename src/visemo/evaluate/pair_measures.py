"""What becomes of a speech take and an expression take on one face: fused by the module in both of its forms, and as
the naive sum of the two recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visemo.animation.guard import guard_lips
from visemo.data.dataset import worn_frames
from visemo.evaluate.answers import Answers, recorded, truth_of
from visemo.evaluate.closures import Closures
from visemo.evaluate.kept import Kept
from visemo.evaluate.metrics import lip_gap
from visemo.evaluate.places import Places
from visemo.evaluate.sheet import Sheet
from visemo.evaluate.truth_errors import NAIVE, TruthErrors
from visemo.training.corpus import Corpus, Recording
from visemo.types import Animation, FloatArray

PARTNERS = 2  # expression takes that a speech take is put together with where the store names no pairs


@dataclass(frozen=True)
class Duet:
    """Two takes for one face; `planted` when the truth of both is known."""

    speech: Recording
    expression: Recording

    @property
    def planted(self) -> bool:
        return "speech_pure" in self.speech.take.truth and "expression_pure" in self.expression.take.truth


def duets_of(corpus: Corpus, talks: Sequence[Recording], faces: Sequence[Recording]) -> list[Duet]:
    """The pairs that the stores name; where they name none, each speech take with the next `PARTNERS` expressions."""
    named = [
        Duet(*(Recording(store, store.sequence(id)) for id in pair)) for store in corpus.stores for pair in store.pairs
    ]
    if named or not faces:
        return named
    return [Duet(talk, faces[(PARTNERS * n + k) % len(faces)]) for n, talk in enumerate(talks) for k in range(PARTNERS)]


class PairMeasures:
    """Writes the table `separation` of a sheet, and the closures of `lips`, pair by pair."""

    def __init__(self, answers: Answers, places: Places, sheet: Sheet) -> None:
        self.answers, self.places, self.sheet = answers, places, sheet
        lips = places.lips.indices
        self.errors = TruthErrors(sheet.separation, "fused face error", "ratio to the naive sum", lips)
        self.kept = Kept(sheet.separation, "beside the lips", "fused")

    def pair(self, duet: Duet) -> None:
        """Measure one pair."""
        answers = self.answers
        name = f"{answers.name(duet.speech)} + {answers.name(duet.expression)}"
        worn = worn_frames(duet.speech.frames, duet.expression.frames)
        heard, shown = answers.weights(duet.speech), answers.weights(duet.expression)[worn]
        fused = answers.speech_half(heard) + answers.expression_half(shown)
        guarded = self._guarded(fused)
        naive = recorded(duet.speech) + recorded(duet.expression)[worn]
        self._closures(name, duet, naive, {"fused": fused, "fused, guarded": guarded})
        if not duet.planted:
            return
        pure = truth_of(duet.expression, "expression_pure")[worn]
        truth = truth_of(duet.speech, "speech_pure") + pure
        self.errors.note(name, "fused", answers.decoded(fused), truth)
        # Eq. 8: the recordings less what each holds of the other factor
        leaks = answers.expression_half(heard) + answers.speech_half(shown)
        self.errors.note(name, "residual", naive - answers.decoded(leaks), truth)
        self.errors.note(name, NAIVE, naive, truth)
        beside = self.places.beside_lips.indices
        left = answers.decoded(answers.expression_half(guarded), beside)
        self.kept.note(name, duet.expression.take.label, left, pure[:, beside])

    def conclude(self) -> None:
        """What all pairs together say."""
        self.errors.conclude()
        self.kept.conclude()

    def _guarded(self, fused: FloatArray) -> FloatArray:
        """Weights (T, K) when the lip guard has had its way."""
        face, k_a = self.answers.model.face, self.answers.speech_shapes
        w_a, w_e = np.ascontiguousarray(fused[:, :k_a]), np.ascontiguousarray(fused[:, k_a:])
        none = np.zeros_like(w_e), np.zeros_like(w_a)
        clip = Animation(w_a, w_e, *none, self.answers.basis, face.template, face.triangles, face.lip_pairs, face.name)
        return guard_lips(clip).weights

    def _closures(self, name: str, duet: Duet, naive: FloatArray, weights: dict[str, FloatArray]) -> None:
        """How many of the speech take's closures are left on the face with the expression."""
        rim, rest = self.places.rim, self.answers.neutral(duet.speech)[self.places.rim]

        def gap(motion: FloatArray) -> np.ndarray:
            return lip_gap(rest + motion, self.places.rim_pairs)

        closures = Closures.of(duet.speech, gap(recorded(duet.speech, rim)))
        gaps = {mode: gap(self.answers.decoded(own, rim)) for mode, own in weights.items()}
        closures.note(self.sheet.lips, name, gaps | {NAIVE: gap(naive[:, rim])})
