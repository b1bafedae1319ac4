"""What a model is worth on held-out takes of a store: a table, and the same numbers for machines.

Where the store has planted truth, the separation is measured too: the fused face of two takes against the sum
of their pure parts, beside the naive sum of the two recordings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visemo.animation.guard import guard_lips
from visemo.assets import atomic
from visemo.data.dataset import Pair, Store
from visemo.evaluate.baselines import Baselines
from visemo.evaluate.metrics import bootstrap_interval, lve, mean_vertex_error, vertex_errors
from visemo.models.checkpoint import Model
from visemo.models.expressions import NEUTRAL
from visemo.models.fusion import fuse
from visemo.training.corpus import Corpus, Recording
from visemo.types import Animation, FloatArray, VisemoError

Progress = Callable[[float], None]  # the share that is done, 0..1

SHOWING = ("upper_face", "cheeks", "mouth")  # where a face, lips aside, shows what it feels


@dataclass(frozen=True)
class Row:
    """One number: `low`..`high` is its 95 % bootstrap interval over `n` sequences."""

    name: str
    value: float
    unit: str
    low: float
    high: float
    n: int
    mode: str


def evaluate(
    model: Model,
    data: Sequence[Path | str],
    out: Path | str,
    split: str = "faceformer",
    progress: Progress | None = None,
) -> list[Row]:
    """Measure a model on the test part of some stores; writes `out`/metrics.json and `out`/report.md.

    Parameters
    ----------
    data : stores on the model's face, speech and expression takes
    out : a folder; made if its parent exists
    split : the division whose test part is used; its training part gives the baselines

    Raises
    ------
    VisemoError
        for stores of another face or without test takes, or a folder that cannot be made
    """
    corpus = Corpus(data, model.face, split)
    out = _folder(out)
    with torch.inference_mode():
        rows = _Evaluation(model, corpus, progress or (lambda share: None)).rows()
    content = {"model": model.hash, "data": corpus.facts, "split": split, "rows": [asdict(row) for row in rows]}
    with atomic(out / "metrics.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    with atomic(out / "report.md") as temporary:
        temporary.write_text(_markdown(model, corpus, split, rows))
    return rows


class _Evaluation:
    """The measurements of one model on one corpus."""

    def __init__(self, model: Model, corpus: Corpus, progress: Progress) -> None:
        self.model, self.corpus, self.progress = model, corpus, progress
        self.lips = model.face.region("lips")
        rows = torch.from_numpy(self.lips.astype(np.int64))
        self.lip_basis = model.fusion.basis[:, rows].flatten(1)  # (K, 3L)
        showing = [model.face.regions[name] for name in SHOWING if name in model.face.regions]
        everywhere = [np.arange(len(model.face.template))]
        self.beside_lips = np.setdiff1d(np.concatenate(showing or everywhere), self.lips)
        weight, bias = model.speech.output_basis()
        self.spoken_lips = weight[:, rows].flatten(1), bias[rows].flatten()

    def rows(self) -> list[Row]:
        talks, faces = self.corpus.takes("test", "speech"), self.corpus.takes("test", "expression")
        pairs = [(store, pair) for store in self.corpus.stores for pair in store.pairs]
        rows = self._speech_rows(talks)
        rows += self._reconstruction_rows(talks, faces)
        return rows + (self._fusion_rows(pairs) if pairs else [])

    # --- speech ---------------------------------------------------------------------------------------

    def _speech_rows(self, talks: Sequence[Recording]) -> list[Row]:
        """Free-running lip vertex errors, and those of the baselines."""
        baselines = Baselines(self.corpus.takes("train", "speech"), self.lips)
        planted = all("speech_pure" in r.take.truth for r in talks)
        columns: dict[str, list[float]] = {}
        for k, recording in enumerate(talks):
            truth = np.asarray(recording.motion()[:, self.lips], np.float32)
            before, after, speech_only = self._spoken(recording)
            self._note(columns, "lve", before, truth)
            for name, guess in baselines.guess(recording).items():
                self._note(columns, f"lve {name}", guess, truth)
            self._note(columns, "lve through the fusion module", after, truth)
            if planted:
                pure = recording.truth("speech_pure")[:, self.lips]
                self._note(columns, "lve to pure speech", before, pure)
                self._note(columns, "lve to pure speech, w_A alone", speech_only, pure)
            self.progress(0.4 * (k + 1) / len(talks))
        columns["lve change by the fusion module"] = _minus(columns["lve through the fusion module"], columns["lve"])
        rows = [_row(name, values, "mm", "speech") for name, values in columns.items()]
        for baseline in ("mean face", "energy jaw", "retrieval"):
            both = np.stack([columns["lve"], columns[f"lve {baseline}"]], axis=1)
            value = bootstrap_interval(both, lambda sample: float(100 * (1 - sample[:, 0].sum() / sample[:, 1].sum())))
            rows.append(Row(f"lve below {baseline}", value[0], "%", value[1], value[2], len(both), "speech"))
        return rows

    @staticmethod
    def _note(columns: dict[str, list[float]], name: str, predicted: NDArray, truth: NDArray) -> None:
        """Append the lip vertex error (mm) of one take, given its lips alone, (T, L, 3) m."""
        every = np.arange(truth.shape[1], dtype=np.int32)
        columns.setdefault(name, []).append(lve(predicted, truth, every))

    def _spoken(self, recording: Recording) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Lips (T, L, 3) m as the speech model moves them, the same after the DFM, and after it by w_A alone."""
        speech = self.model.speech
        samples = torch.from_numpy(recording.audio().samples)
        latents = speech.latents(samples, self._style(recording), recording.frames)
        weight, bias = self.spoken_lips
        w_a, eps_a = self._encode_latents(latents)
        alone = torch.cat([w_a, torch.zeros_like(eps_a)], dim=1)
        lips = (latents @ weight + bias, torch.cat([w_a, eps_a], 1) @ self.lip_basis, alone @ self.lip_basis)
        before, after, speech_only = (_field(flat) for flat in lips)
        return before, after, speech_only

    def _encode_latents(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """E_a of the speech model's motion, in blocks: w_A, eps_A."""
        weight, bias = self.model.speech.output_basis()
        halves = []
        for block in latents.split(64):
            moved = torch.addmm(bias.flatten(), block, weight.flatten(1)).view(len(block), -1, 3)
            halves.append(self.model.fusion.encode_speech(moved))
        w_a, eps_a = zip(*halves)
        return torch.cat(w_a), torch.cat(eps_a)

    def _style(self, recording: Recording) -> Tensor:
        """A speaker's own style; the mean of all styles for one that the model has not met."""
        subjects, subject = self.model.speech.config.subjects, self.corpus.style_name(recording)
        if subject in subjects:
            return self.model.speech.style_of(subject)
        return torch.full((len(subjects),), 1.0 / len(subjects))

    # --- fusion ---------------------------------------------------------------------------------------

    def _reconstruction_rows(self, talks: Sequence[Recording], faces: Sequence[Recording]) -> list[Row]:
        """The DFM's own error on recorded motion: all weights, decoded again, at the lips."""
        rows = []
        for kind, recordings in (("speech", talks), ("expression", faces)):
            errors = []
            for recording in recordings:
                lips = _field(torch.cat(self._encode(recording), dim=1) @ self.lip_basis)
                errors.append(mean_vertex_error(lips, np.asarray(recording.motion()[:, self.lips], np.float32)))
            rows.append(_row(f"reconstruction error of {kind}, lips", errors, "mm", kind))
        self.progress(0.6)
        return rows

    def _fusion_rows(self, pairs: Sequence[tuple[Store, Pair]]) -> list[Row]:
        """Fused face and naive sum of two recordings against the sum of their pure parts."""
        fused, naive = [], []
        kept: dict[str, list[tuple[float, float]]] = {}
        for k, (store, pair) in enumerate(pairs):
            truth = store.fused(pair)
            speech, expression = (Recording(store, store.sequence(id)) for id in pair)
            worn = truth.expression_frames
            eps_e, w_e = (half[worn] for half in self._encode(expression))
            spoken = self._encode(speech)
            weights = fuse(spoken, (eps_e, w_e), "fused")
            shown = self._guarded_expression(spoken[0].numpy(), w_e.numpy())
            pure = store.truth(pair.expression, "expression_pure")[worn][:, self.beside_lips]
            kept.setdefault(expression.take.label, []).append(likeness(shown, pure))
            decoded = self.model.fusion.decode(weights).numpy()
            added = np.asarray(speech.motion(), np.float32) + np.asarray(expression.motion(), np.float32)[worn]
            fused.append(vertex_errors(decoded, truth.displacements).mean(axis=0))
            naive.append(vertex_errors(added, truth.displacements).mean(axis=0))
            self.progress(0.6 + 0.4 * (k + 1) / len(pairs))
        separated = _separation_rows(np.stack([np.stack(fused), np.stack(naive)], axis=1), self.lips)
        return separated + _retention_rows(kept)

    def _guarded_expression(self, w_a: FloatArray, w_e: FloatArray) -> FloatArray:
        """What the expression moves (T, n, 3) m beside the lips, when the guard has had its way."""
        face = self.model.face
        none = np.zeros_like(w_e), np.zeros_like(w_a)
        basis = np.ascontiguousarray(self.model.fusion.basis.numpy())
        clip = Animation(w_a, w_e, *none, basis, face.template, face.triangles, face.lip_pairs, face.name)
        guarded = guard_lips(clip).expression_weights
        return np.tensordot(guarded, basis[w_a.shape[1] :, self.beside_lips], 1)

    def _encode(self, recording: Recording) -> tuple[Tensor, Tensor]:
        """(w_A, eps_A) of a speech take, (eps_E, w_E) of an expression take."""
        fusion = self.model.fusion
        encode = fusion.encode_speech if recording.take.kind == "speech" else fusion.encode_expression
        halves = [encode(block) for block in recording.blocks()]
        first, second = zip(*halves)
        return torch.cat(first), torch.cat(second)


def _separation_rows(errors: NDArray, lips: NDArray) -> list[Row]:
    """Rows from errors (pairs, 2, V) mm of the fused face and the naive sum, averaged over the frames of each pair."""
    places = {"all vertices": errors.mean(axis=2, keepdims=True), "worst lip vertex": errors[:, :, lips]}
    rows = []
    for place, found in places.items():
        for index, mode in enumerate(("fused", "naive")):
            value = bootstrap_interval(found[:, index], lambda sample: float(sample.mean(axis=0).max()))
            rows.append(Row(f"fused face error, {place}", value[0], "mm", value[1], value[2], len(errors), mode))
        value = bootstrap_interval(found, lambda sample: float(np.divide(*sample.mean(axis=0).max(axis=1))))
        rows.append(Row(f"ratio to the naive sum, {place}", value[0], "1", value[1], value[2], len(errors), "fused"))
    return rows


def likeness(shown: FloatArray, pure: FloatArray) -> tuple[float, float]:
    """Size of a motion along another one, as a share of that one, and their cosine."""
    along = float((shown * pure).sum())
    size, wanted = (max(float(np.square(motion).sum()) ** 0.5, 1e-12) for motion in (shown, pure))
    return along / wanted**2, along / (size * wanted)


def _retention_rows(kept: dict[str, list[tuple[float, float]]]) -> list[Row]:
    """How much of the pure expression is left in the guarded face beside the lips: all, and the worst emotion."""
    rows = []
    for column, name in enumerate(("amplitude", "cosine")):
        each = {label: [pair[column] for pair in found] for label, found in kept.items() if label != NEUTRAL}
        rows.append(
            _row(f"emotion kept beside the lips, {name}", [v for found in each.values() for v in found], "1", "fused")
        )
        worst = min(each, key=lambda label: float(np.mean(each[label])))
        rows.append(_row(f"{name} of the worst emotion, {worst}", each[worst], "1", "fused"))
    return rows


def _row(name: str, values: Sequence[float], unit: str, mode: str) -> Row:
    value, low, high = bootstrap_interval(values)
    return Row(name, value, unit, low, high, len(values), mode)


def _minus(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x - y for x, y in zip(a, b)]


def _field(flat: Tensor) -> FloatArray:
    return flat.view(len(flat), -1, 3).numpy()


def _folder(out: Path | str) -> Path:
    out = Path(out)
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise VisemoError(f"{out}: cannot make this folder ({error.strerror}); choose another place") from error
    return out


def _markdown(model: Model, corpus: Corpus, split: str, rows: Sequence[Row]) -> str:
    names = ", ".join(f"{fact['name']} ({fact['source']})" for fact in corpus.facts)
    lines = [
        f"# {model.name}",
        "",
        f"Model `{model.hash}` on the test part of split `{split}` of {names}. Brackets: 95 % bootstrap interval over",
        "n sequences. Unknown speakers speak in the mean of the model's styles.",
        "",
        "| measure | mode | value | unit | interval | n |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (row.name, row.mode, f"{row.value:.4g}", row.unit, f"[{row.low:.4g}, {row.high:.4g}]", str(row.n))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
