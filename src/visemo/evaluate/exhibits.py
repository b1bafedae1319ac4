"""What a report shows beside its numbers: where on the face the errors are, curves of two takes, the worst frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visemo.data.frames import single
from visemo.data.visemes import BILABIALS
from visemo.evaluate.charts import Curve, Span, nice_step
from visemo.evaluate.heat import Portraits
from visemo.evaluate.measurement import Findings
from visemo.evaluate.metrics import vertex_errors
from visemo.evaluate.speech_measures import Talk
from visemo.render.video import Picture
from visemo.units import FPS

WORST = 6  # frames that are shown, one of a take
STRONGEST = 4  # weights whose curves are shown
QUANTILE = 0.995  # of the vertices of a face fit on its colour scale
CAPTIONS = {
    "speech": "speech model against the recorded take",
    "fused": "fused face against the planted truth",
    "naive": "naive sum against the planted truth",
}


@dataclass(frozen=True, eq=False)
class HeatMap:
    """The mean error of every vertex, drawn on the face."""

    caption: str
    mean: float  # mm, over all vertices
    picture: Picture


@dataclass(frozen=True, eq=False)
class TakeCurves:
    """One take over time."""

    caption: str
    gap: tuple[Curve, ...]
    weights: tuple[Curve, ...]
    closures: tuple[Span, ...]


@dataclass(frozen=True, eq=False)
class WorstFrame:
    """A frame in which a lip vertex is farthest off."""

    take: str
    time: float  # s
    phone: str
    error: float  # mm
    truth: Picture
    prediction: Picture
    heat: Picture


@dataclass(frozen=True, eq=False)
class Exhibits:
    """`top` and `frame_top` are the ends of the two colour scales, mm."""

    maps: tuple[HeatMap, ...]
    top: float
    curves: tuple[TakeCurves, ...]
    frames: tuple[WorstFrame, ...]
    frame_top: float


def exhibit(findings: Findings) -> Exhibits:
    """Draw what was found, in `torch.inference_mode`."""
    answers = findings.answers
    chosen = worst_frames(findings.talks)
    fields = [np.zeros_like(answers.model.face.template)]
    for talk, t in chosen:
        latents = answers.spoken(talk.recording).latents[t : t + 1]
        fields += [single(talk.recording.pick(np.array([t])))[0], answers.said(latents)[0]]
    portraits = Portraits(answers.model.face, np.stack(fields))
    top = _scale(np.stack(list(findings.maps.values()))) if findings.maps else 1.0
    maps = tuple(
        HeatMap(CAPTIONS[mode], float(errors.mean()), portraits.heat(0, answers.model.face.template, errors, top))
        for mode, errors in findings.maps.items()
        if mode in CAPTIONS
    )
    off = np.stack([vertex_errors(*fields[n : n + 2]) for n in range(1, len(fields), 2)]) if chosen else np.ones((1, 1))
    frame_top = _scale(off)
    frames = []
    for n, (talk, t) in enumerate(chosen):
        rest, truth, said = answers.neutral(talk.recording), 2 * n + 1, 2 * n + 2
        frames.append(
            WorstFrame(
                talk.name, t / FPS, _phone(talk, t), float(talk.error[t]),
                portraits.look(truth, rest), portraits.look(said, rest), portraits.heat(said, rest, off[n], frame_top),
            )
        )  # fmt: skip
    return Exhibits(maps, top, _curves(findings), tuple(frames), frame_top)


def worst_frames(talks: Sequence[Talk]) -> list[tuple[Talk, int]]:
    """The worst frame of each of the `WORST` takes whose worst frame is worst."""
    peaks = [(talk, int(np.argmax(talk.error))) for talk in talks]
    return sorted(peaks, key=lambda peak: -peak[0].error[peak[1]])[:WORST]


def _curves(findings: Findings) -> tuple[TakeCurves, ...]:
    """Of the take with the largest lip vertex error, and of the one in the middle."""
    ranked = sorted(findings.talks, key=lambda talk: -talk.error.mean())
    if not ranked:
        return ()
    named = {"Worst take": ranked[0], "Median take": ranked[len(ranked) // 2]}
    return tuple(_take_curves(findings, f"{title}: {talk.name}", talk) for title, talk in named.items())


def _take_curves(findings: Findings, title: str, talk: Talk) -> TakeCurves:
    answers = findings.answers
    weights = answers.spoken(talk.recording).weights[:, : answers.speech_shapes]
    strongest = np.argsort(-np.square(weights).mean(axis=0), kind="stable")[:STRONGEST]
    gap = Curve("recorded", talk.gap, 0), Curve("speech model", talk.said_gap, 1)
    lines = tuple(Curve(f"speech {k + 1}", weights[:, k], style) for style, k in enumerate(strongest, 1))
    closures = tuple(Span(*phone[1:], phone.name) for phone in talk.recording.phones() if phone.name in BILABIALS)
    return TakeCurves(f"{title}, {talk.error.mean():.2f} mm", gap, lines, closures)


def _phone(talk: Talk, t: int) -> str:
    """What is said in a frame, where anybody knows."""
    return next((phone.name for phone in talk.recording.phones() if phone.start <= t / FPS < phone.end), "")


def _scale(errors: NDArray) -> float:
    """A round end of a scale that all but the largest of errors (n, V) mm fit on."""
    largest = max(float(np.quantile(errors, QUANTILE, axis=1).max()), 1e-3)
    step = nice_step(largest / 5)
    return step * float(np.ceil(largest / step - 1e-9))
