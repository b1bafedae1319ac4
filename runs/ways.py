"""Ways of dividing takes into speech and expression that `runs/search.py` measures, each in a few lines.

A way makes a `Split` of one seed's `Material`. Those whose names say "known" are given the truth: they show what bounds
the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray

from visemo.face.face import Face
from visemo.training import labels, prior
from visemo.training import split as closed
from visemo.training.group import Group
from visemo.training.pca import MotionBasis
from visemo.training.prior import Field, sealed, spread
from visemo.training.split import Split, SplitConfig, closed_form_split

Array = NDArray[np.floating]
VERTICES = 1200  # at which ways are measured


@dataclass(frozen=True, eq=False)
class Material:
    """What one seed learns from."""

    face: Face
    motion: MotionBasis
    speech: Group
    expression: Group
    sounds: Sequence[Array]  # (T, n) of each speech take, features beside each frame
    spoken_mm: Sequence[float]  # how far each expression take parts the lips, as planted
    best: Split  # linear maps fitted to the truth
    shapes: Mapping[str, tuple[Array, Array]]  # of each label, true expression and speech of its mean take, (P,)


Way = Callable[[Material], Split]


def as_map(matrix: Array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(matrix, np.float32))


def some(group: Group, rows: Sequence[int]) -> Group:
    return Group([group.takes[k] for k in rows], [group.names[k] for k in rows])


def home_of(name: str) -> ModuleType:
    """Where the closed form looks a step or a constant up."""
    return next(module for module in (closed, labels, prior) if hasattr(module, name))


def ours(config: SplitConfig | None = None, **constants: float) -> Way:
    """The closed form with other settings."""

    def way(material: Material) -> Split:
        homes = {name: home_of(name) for name in constants}
        kept = {name: getattr(home, name) for name, home in homes.items()}
        try:
            for name, home in homes.items():
                setattr(home, name, constants[name])
            return closed_form_split(material.face, material.motion, material.speech, material.expression, config)
        finally:
            for name, home in homes.items():
                setattr(home, name, kept[name])

    return way


def without_rule(name: str, stand_in: Callable) -> Way:
    """The closed form with one of its steps replaced."""

    def way(material: Material) -> Split:
        home = home_of(name)
        step = getattr(home, name)
        try:
            setattr(home, name, stand_in)
            return closed_form_split(material.face, material.motion, material.speech, material.expression)
        finally:
            setattr(home, name, step)

    return way


def never_clean(material: Material) -> Split:
    """The half of each label's takes with the least speech in them are not there."""
    labels = np.array(material.expression.names)
    parted = np.array(material.spoken_mm)
    keep = [k for k in range(len(labels)) if parted[k] >= np.median(parted[labels == labels[k]])]
    return closed_form_split(material.face, material.motion, material.speech, some(material.expression, keep))


def offsets(millimetres: float) -> Way:
    """Every speaker's talk stands off by a constant smooth field, as a misplaced registration leaves it."""

    def way(material: Material) -> Split:
        random = np.random.default_rng(3)
        speakers = sorted(set(material.speech.names))
        power = material.motion.deviation.double().numpy()
        off = {name: random.normal(size=len(power)) * power for name in speakers}
        off = {name: millimetres * o / np.linalg.norm(o) for name, o in off.items()}
        takes = [take + off[name] for take, name in zip(material.speech.takes, material.speech.names)]
        return closed_form_split(
            material.face, material.motion, Group(takes, material.speech.names), material.expression
        )

    return way


def by_sound(material: Material) -> Split:
    """Speech is what a linear function of the sound predicts, instead of what is fast."""
    takes = material.speech.takes

    def parts(_: Group, field: Field) -> closed.Talk:
        x = np.concatenate(material.sounds).astype(np.float64)
        y = np.concatenate([take - take.mean(axis=0) for take in takes])
        x = np.c_[x - x.mean(axis=0), np.ones(len(x))]
        told = x @ np.linalg.solve(x.T @ x + 1e-3 * np.trace(x.T @ x) / x.shape[1] * np.eye(x.shape[1]), x.T @ y)
        # sound tells only a part even of what is all speech: as much as of what it tells best
        whole = y.T @ y / len(y)
        whole += 1e-6 * np.trace(whole) / len(whole) * np.eye(len(whole))
        share, filters = scipy.linalg.eigh(told.T @ told / len(told), whole)
        patterns = np.linalg.inv(filters)
        spoken = (patterns.T * np.clip(share / share.max(), 0, 1)) @ patterns
        return closed.Talk(spoken, whole - spoken)

    return without_rule("speech_and_expression", parts)(material)


def independent(material: Material) -> Split:
    """Independent components of talk (FastICA), each speech or expression by how fast it is."""
    frames = material.speech.frames
    mixing = fast_ica(frames[:: max(1, len(frames) // 20_000)])
    filters = np.linalg.pinv(mixing)
    steps = np.concatenate([take[4:] - take[:-4] for take in material.speech.takes]) @ filters
    speed = np.square(steps).mean(axis=0) / (2 * np.square(frames @ filters).mean(axis=0))
    slow = filters[:, speed < 0.5] @ mixing[speed < 0.5]
    ours_here = closed_form_split(material.face, material.motion, material.speech, material.expression)
    return replace(ours_here, slow=as_map(slow))  # one side is changed at a time


def fast_ica(frames: Array, rounds: int = 100) -> Array:
    """Mixing (k, P), a row for each source, by symmetric FastICA with the tanh nonlinearity (Hyvarinen 1999)."""
    power, axes = np.linalg.eigh(frames.T @ frames / len(frames))
    strong = power > 1e-6 * power[-1]
    white = axes[:, strong] / np.sqrt(power[strong])
    z = frames @ white
    w = np.linalg.qr(np.random.default_rng(0).normal(size=(z.shape[1],) * 2))[0]
    for _ in range(rounds):
        g = np.tanh(z @ w)
        new = z.T @ g / len(z) - w * (1 - g * g).mean(axis=0)
        u, _, v = np.linalg.svd(new)
        done = np.abs(np.abs(np.einsum("ij,ij->j", u @ v, w)) - 1).max() < 1e-5
        w = u @ v
        if done:
            break
    return np.linalg.pinv(white @ w)


def localized(material: Material) -> Split:
    """Sparse localised components of both kinds of frames (SPLOCS, Neumann 2013, as alternating group soft
    thresholds); a component is speech when it is fast in talk."""
    motion = material.motion
    rows = spread(material.face.template.astype(np.float64), VERTICES)
    directions = (
        motion.directions.double().numpy().reshape(len(motion.directions), -1, 3)[:, rows].reshape(-1, 3 * VERTICES)
    )
    every = np.concatenate([material.speech.frames, material.expression.frames])
    inside = splocs(every[:: max(1, len(every) // 4000)] @ directions, 40) @ np.linalg.pinv(directions)
    inverse = np.linalg.pinv(inside)
    talk = [take @ inverse for take in material.speech.takes]
    steps = np.concatenate([take[4:] - take[:-4] for take in talk])
    speed = np.square(steps).mean(axis=0) / (2 * np.square(np.concatenate(talk)).mean(axis=0) + 1e-12)
    slow = speed < 0.5
    expression, speech = inverse[:, slow] @ inside[slow], inverse[:, ~slow] @ inside[~slow]
    return Split(motion, as_map(expression), {"": as_map(speech)})


def splocs(data: Array, count: int, price: float = 2.0, rounds: int = 20) -> Array:
    """Components (count, 3V), sparse over vertices, with data (n, 3V) ~ weights (n, count) @ components."""
    u, s, v = np.linalg.svd(data, full_matrices=False)
    weights, components = u[:, :count] * s[:count], v[:count]
    for _ in range(rounds):
        weights = np.linalg.lstsq(components.T, data.T, rcond=None)[0].T
        scale = np.abs(weights).max(axis=0) + 1e-12
        weights, components = weights / scale, components * scale[:, None]
        step = 1 / np.linalg.norm(weights.T @ weights, 2)
        for _ in range(10):
            moved = components - step * weights.T @ (weights @ components - data)
            blocks = moved.reshape(count, -1, 3)
            length = np.linalg.norm(blocks, axis=2, keepdims=True)
            limit = step * price * len(data) / 1000 * length.mean()
            components = (blocks * np.maximum(0, 1 - limit / np.maximum(length, 1e-12))).reshape(count, -1)
    return components


def low_rank(material: Material) -> Split:
    """Each label's takes are one shape times an amplitude and the rest is sparse in time: robust PCA (Candes 2011) by
    alternating thresholds; speech in an expression is the rest."""
    ours_here = closed_form_split(material.face, material.motion, material.speech, material.expression)
    maps = {}
    labels = np.array(material.expression.names)
    for label in sorted(set(labels)):
        frames = np.concatenate([t for t, name in zip(material.expression.takes, labels) if name == label])
        rest = np.zeros_like(frames)
        for _ in range(30):
            u, s, v = np.linalg.svd(frames - rest, full_matrices=False)
            low = (u[:, :2] * s[:2]) @ v[:2]
            rest = frames - low
            length = np.linalg.norm(rest, axis=1, keepdims=True)
            rest = rest * np.maximum(0, 1 - np.median(length) / np.maximum(length, 1e-12))
        ridge = 1e-3 * np.trace(frames.T @ frames) / frames.shape[1] * np.eye(frames.shape[1])
        maps[label] = as_map(np.linalg.solve(frames.T @ frames + ridge, frames.T @ (frames - low)))
    maps[""] = torch.stack(list(maps.values())).mean(dim=0)
    return replace(ours_here, spoken=maps)


def lip_rule(material: Material) -> Split:
    """What parts the lips in an expression is speech, nothing else: no prior, no references."""
    ours_here = closed_form_split(material.face, material.motion, material.speech, material.expression)
    field = Field.build(material.face, material.motion)
    moment = material.expression.moment
    shut = sealed(moment, field, 0.3)
    other = moment - shut
    return replace(ours_here, spoken={"": as_map(closed._share(other, shut))})


def known(side: str) -> Way:
    """The closed form, with the maps of one kind of takes fitted to the truth."""
    return lambda material: replace(ours()(material), **{side: getattr(material.best, side)})


def two_shapes_known(material: Material) -> Split:
    """The closed form, with each label's expression and way of speaking given."""
    first = {name: material.expression.named(name)[0] for name in set(material.expression.names)}

    def given(takes: Sequence[Array], field: Field, faint: float) -> tuple[Array, Array]:
        return next(material.shapes[name] for name, take in first.items() if take is takes[0])

    return without_rule("_pair", given)(material)


def talk_by_itself(material: Material) -> Split:
    """The closed form, with what faces show in talk read from talk alone."""

    def alone(own: labels.Labels, field: Field, talk: closed.Talk) -> Array:
        return told(labels.Labels({}, own.within), field, talk)

    told = closed.expression_in_talk
    return without_rule("expression_in_talk", alone)(material)


WAYS: dict[str, Way] = {
    "closed form, as the default has it": ours(),
    "talk known, expressions by the closed form": known("slow"),
    "expressions known, talk by the closed form": known("spoken"),
    "both shapes of each label known": two_shapes_known,
    "references alone": without_rule("certainty", lambda face, talk: 0.0),
    "the mean of references and pairs": without_rule("certainty", lambda face, talk: 0.5),
    "times within takes not looked at": ours(OWN_TIME=1e9),
    "what faces show in talk read from talk alone": talk_by_itself,
    **{f"lips parted within {mm:g} mm": ours(LEAST_SEALED=mm, SEALED_LABELS=0.0) for mm in (0.3, 1.5)},
    **{f"reach of the local prior {mm:g} mm": ours(SplitConfig(length=mm)) for mm in (3, 4, 6, 8, 12)},
    **{f"trust in the local prior {t:g}": ours(SplitConfig(trust=t)) for t in (0.02, 0.2)},
    **{f"share of cleanest takes {q:g}": ours(CLEANEST=q) for q in (0.02, 0.1)},
    "lips may part freely": ours(LEAST_SEALED=1e3),
    "the upper face may talk": ours(MOUTH_SHARE=-1.0),
    "offsets of 1 mm per speaker": offsets(1.0),
    "offsets of 3 mm per speaker": offsets(3.0),
    "no clean take": never_clean,
    "speech is what sound predicts": by_sound,
    "independent components of talk": independent,
    "sparse localised components": localized,
    "robust PCA of each label": low_rank,
    "only the lip rule on expressions": lip_rule,
}
COMPONENTS = {"40 components": 40, "100 components": 100}
