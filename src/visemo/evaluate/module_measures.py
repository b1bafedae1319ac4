"""What the fusion module makes of one take: what it keeps, what it lets through, whether it is linear."""

from __future__ import annotations

import numpy as np
import torch

from visemo.data.store import KINDS
from visemo.evaluate import metrics
from visemo.evaluate.answers import Answers, truth_of
from visemo.evaluate.kept import Kept
from visemo.evaluate.places import Places
from visemo.evaluate.separation import linearity, lips_parted, region_leak
from visemo.evaluate.sheet import Sheet, Table
from visemo.evaluate.truth_errors import NAIVE, TruthErrors
from visemo.training.corpus import Recording
from visemo.types import FloatArray

RECORDED = " of the recorded take"  # and not of the speech model's motion
FACTORS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # sizes at which frames are played to the encoders
SPARSE = 10  # frames of a take from one that is played at all sizes to the next


class ModuleMeasures:
    """Writes the tables `module` and `leakage` of a sheet, and of the others what one take alone can say."""

    def __init__(self, answers: Answers, places: Places, sheet: Sheet) -> None:
        self.answers, self.places, self.sheet = answers, places, sheet
        self.kept = Kept(sheet.lips, "at the lips", "expression", "worst emotion at the lips")
        lips = places.lips.indices
        self.parts = {
            kind: TruthErrors(sheet.separation, f"{kind} part error", f"{kind} part ratio to the recording", lips)
            for kind in KINDS
        }

    def speech_take(self, recording: Recording, motion: FloatArray) -> None:
        """Measure a speech take, recorded as `motion` (T, V, 3) m, and what the speech model makes of it."""
        answers, name, lips = self.answers, self.answers.name(recording), self.places.lips.indices
        weights, spoken = answers.weights(recording), answers.spoken(recording)
        pure = truth_of(recording, "speech_pure") if "speech_pure" in recording.take.truth else None

        def note(table: Table, measure: str, moved: FloatArray, truth: FloatArray) -> None:
            table.note(measure, "speech", "mm", name, metrics.vertex_errors(moved, truth[:, lips]).max(axis=1).mean())

        if pure is not None:
            note(self.sheet.speech, "lve to pure speech", answers.said(spoken.latents, lips), pure)
        for source, given in (("", spoken.weights), (RECORDED, weights)):
            for ending, own in ((None, given), (", w_A alone", answers.speech_half(given))):
                moved = answers.decoded(own, lips)
                note(self.sheet.module, f"lve{source} through the fusion module{ending or ''}", moved, motion)
                if pure is not None:
                    through = ending or " through the fusion module"
                    note(self.sheet.module, f"lve{source} to pure speech{through}", moved, pure)
        self._either_kind(recording, motion, weights)
        alone = answers.decoded(answers.speech_half(weights))
        self._upper_face_moved(name, "speech", alone)
        if pure is not None:
            self._upper_face_moved(name, "truth", pure)
            self._part(name, "speech", alone, motion, pure)

    def expression_take(self, recording: Recording, motion: FloatArray) -> None:
        """Measure an expression take, recorded as `motion` (T, V, 3) m."""
        name, weights = self.answers.name(recording), self.answers.weights(recording)
        self._either_kind(recording, motion, weights)
        alone = self.answers.decoded(self.answers.expression_half(weights))
        self._lips_parted(recording, "expression", alone)
        if "expression_pure" in recording.take.truth:
            pure = truth_of(recording, "expression_pure")
            self._lips_parted(recording, "truth", pure)
            self._part(name, "expression", alone, motion, pure)
            lips = self.places.lips.indices
            self.kept.note(name, recording.take.label, alone[:, lips], pure[:, lips])

    def conclude(self) -> None:
        """What all takes together say."""
        module = self.sheet.module
        if module.has("lve through the fusion module", "speech"):
            through = module.column("lve through the fusion module", "speech")
            module.compare("lve change by the fusion module", through, self.sheet.speech.column("lve", "speech"))
            if module.has("lve to pure speech, w_A alone", "speech"):
                said, heard = (f"lve{source} to pure speech, w_A alone" for source in ("", RECORDED))
                gap = "lve to pure speech, w_A alone, speech model over recorded take"
                module.compare(gap, module.column(said, "speech"), module.column(heard, "speech"))
        for kind in KINDS:
            self.parts[kind].conclude()
            bent = f"deviation of the {kind} encoder from linear"
            if module.has(bent, kind):
                each = np.array(list(module.column(bent, kind).values.values()))
                module.conclude(f"{bent}, worst take", kind, "%", each, lambda sample: float(sample.max()))
        self.kept.conclude()

    def _either_kind(self, recording: Recording, motion: FloatArray, weights: FloatArray) -> None:
        """Reconstruction, energy of the leak, linearity."""
        answers, name, kind = self.answers, self.answers.name(recording), recording.take.kind
        lips = self.places.lips.indices
        again = metrics.vertex_errors(answers.decoded(weights, lips), motion[:, lips]).mean()
        self.sheet.module.note(f"reconstruction error of {kind}, lips", kind, "mm", name, again)
        leak = answers.expression_half(weights) if kind == "speech" else answers.speech_half(weights)
        whole = answers.energy(weights)
        if whole > 0:
            self.sheet.leakage.note("energy of eps", kind, "%", name, 100 * answers.energy(leak) / whole)
        some = torch.from_numpy(np.ascontiguousarray(motion[::SPARSE]))
        played = np.stack([answers.encode(kind, factor * some) for factor in FACTORS])
        if played.any():
            bent = 100 * linearity(played, np.array(FACTORS))
            self.sheet.module.note(f"deviation of the {kind} encoder from linear", kind, "%", name, bent)

    def _upper_face_moved(self, name: str, mode: str, motion: FloatArray) -> None:
        """By speech (T, V, 3) m: how far, and against all vertices."""
        if self.places.upper_face is None or not motion.any():
            return
        moved, share = region_leak(motion, self.places.upper_face.indices)
        self.sheet.leakage.note("upper face moved by speech, rms", mode, "mm", name, moved)
        self.sheet.leakage.note("upper face moved by speech, of the rms of all", mode, "%", name, 100 * share)

    def _lips_parted(self, recording: Recording, mode: str, motion: FloatArray) -> None:
        """By an expression (T, V, 3) m."""
        rest = self.answers.neutral(recording)[self.places.rim]
        parted = lips_parted(motion[:, self.places.rim], rest, self.places.rim_pairs)
        self.sheet.leakage.note("lips parted by expression", mode, "mm", self.answers.name(recording), parted)

    def _part(self, name: str, kind: str, alone: FloatArray, motion: FloatArray, pure: FloatArray) -> None:
        """How far one factor's blendshapes, and the recording as it is, are from the pure part, (T, V, 3) m each."""
        self.parts[kind].note(name, kind, alone, pure)
        self.parts[kind].note(name, NAIVE, motion, pure)
