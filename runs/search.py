"""What separates speech from expression, without any network: every way of dividing a planted corpus that was tried.

    .venv/bin/python runs/search.py STORE [--face NAME|DIR] [--seeds 3] [--only WORD ...] [-o FILE.md]

Each way turns the training part into two linear maps on motion coordinates: what is expression in a frame of talk,
and what is speech in a frame of an expression. It is measured on pairs of the validation part, at 1200 vertices: error
of the fused face over that of the naive sum, all vertices and worst lip vertex, size of the expression left at the
lips and beside them. A seed draws seven tenths of the training takes. The test part is not looked at.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from visemo.assets import atomic
from visemo.data.dataset import worn_frames
from visemo.evaluate.places import SHOWING
from visemo.face.face import Face
from visemo.face.library import load_face
from visemo.models.audio_encoder import STEP, AudioEncoderConfig, MelEncoder
from visemo.training import split as closed
from visemo.training.corpus import Corpus, Recording, thin
from visemo.training.pca import MotionBasis, principal_motion
from visemo.training.split import Group, Split, SplitConfig, closed_form_split
from visemo.units import FPS, MM_PER_M

Array = NDArray[np.floating]
FRAMES = 5000  # of each kind, for the motion basis
VERTICES = 1200  # at which ways are measured
SHARE = 0.7  # of the training takes that one seed sees
say = sys.stdout.write


@dataclass(frozen=True, eq=False)
class Material:
    """What one seed learns from."""

    face: Face
    motion: MotionBasis
    speech: Group
    expression: Group
    sounds: Sequence[Array]  # (T, n) of each speech take, features beside each frame
    spoken_mm: Sequence[float]  # how far each expression take parts the lips, as planted


Way = Callable[[Material], Split]


# ---------------------------------------------------------------- ways


def ours(config: SplitConfig | None = None, **constants: float) -> Way:
    """The closed form with other settings."""

    def way(material: Material) -> Split:
        kept = {name: getattr(closed, name) for name in constants}
        try:
            for name, value in constants.items():
                setattr(closed, name, value)
            return closed_form_split(material.face, material.motion, material.speech, material.expression, config)
        finally:
            for name, value in kept.items():
                setattr(closed, name, value)

    return way


def without_rule(name: str, stand_in: Callable) -> Way:
    """The closed form with one of its steps replaced."""

    def way(material: Material) -> Split:
        step = getattr(closed, name)
        try:
            setattr(closed, name, stand_in)
            return closed_form_split(material.face, material.motion, material.speech, material.expression)
        finally:
            setattr(closed, name, step)

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
    takes, speech = material.speech.takes, material.speech

    def parts(_: Group, field: closed._Field) -> tuple[Array, Array]:
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
        return spoken, whole - spoken

    kept = closed.speech_and_expression
    try:
        closed.speech_and_expression = parts
        return closed_form_split(material.face, material.motion, speech, material.expression)
    finally:
        closed.speech_and_expression = kept


def independent(material: Material) -> Split:
    """Independent components of talk (FastICA), each speech or expression by how fast it is."""
    frames = material.speech.frames
    mixing = fast_ica(frames[:: max(1, len(frames) // 20_000)])
    filters = np.linalg.pinv(mixing)
    steps = np.concatenate([take[4:] - take[:-4] for take in material.speech.takes]) @ filters
    speed = np.square(steps).mean(axis=0) / (2 * np.square(frames @ filters).mean(axis=0))
    slow = filters[:, speed < 0.5] @ mixing[speed < 0.5]
    ours_here = closed_form_split(material.face, material.motion, material.speech, material.expression)
    return replace(ours_here, slow=_tensor(slow))  # one side is changed at a time


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
    rows = closed._spread(material.face.template.astype(np.float64), VERTICES)
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
    return Split(motion, _tensor(expression), {"": _tensor(speech)})


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
        maps[label] = _tensor(np.linalg.solve(frames.T @ frames + ridge, frames.T @ (frames - low)))
    maps[""] = torch.stack(list(maps.values())).mean(dim=0)
    return replace(ours_here, spoken=maps)


def lip_rule(material: Material) -> Split:
    """What parts the lips in an expression is speech, nothing else: no prior, no references."""
    ours_here = closed_form_split(material.face, material.motion, material.speech, material.expression)
    field = closed._Field.build(material.face, material.motion)
    moment = material.expression.moment
    sealed = closed._sealed(moment, field)
    other = moment - sealed
    return replace(ours_here, spoken={"": _tensor(closed._share(other, sealed))})


WAYS: dict[str, Way] = {
    "closed form, as the default has it": ours(),
    **{f"reach of the local prior {mm:g} mm": ours(SplitConfig(length=mm)) for mm in (3, 4, 6, 8, 12)},
    **{f"trust in the local prior {t:g}": ours(SplitConfig(trust=t)) for t in (0.02, 0.2)},
    **{f"share of cleanest takes {q:g}": ours(CLEANEST=q) for q in (0.02, 0.1)},
    "lips may part freely": ours(SEALED=1e3, SEALED_IN_TALK=1e3),
    "no rule for blinks and brows": without_rule("_upper_alone", lambda spoken, field: np.zeros_like(spoken)),
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


# ---------------------------------------------------------------- measuring


class Exam:
    """Validation pairs at some vertices, in float32 mm."""

    def __init__(self, corpus: Corpus) -> None:
        face = corpus.face
        lips = face.region("lips")
        spread = closed._spread(face.template.astype(np.float64), VERTICES - len(lips))
        self.rows = np.unique(np.concatenate([lips, spread]))
        self.lips = np.flatnonzero(np.isin(self.rows, lips))
        showing = np.concatenate([face.regions[name] for name in SHOWING if name in face.regions])
        self.beside = np.flatnonzero(np.isin(self.rows, np.setdiff1d(showing, lips)))
        self.takes = {kind: corpus.takes("val", kind) for kind in ("speech", "expression")}
        random = np.random.default_rng(7)
        self.pairs = []
        for talk in self.takes["speech"]:
            own = [r for r in self.takes["expression"] if r.speaker == talk.speaker]
            self.pairs += [(talk.take.id, own[k].take.id) for k in random.choice(len(own), 2, replace=False)]
        self.moved, self.pure = {}, {}
        for kind, takes in self.takes.items():
            for r in takes:
                self.moved[r.take.id] = MM_PER_M * np.asarray(r.motion()[:, self.rows], np.float32)
                self.pure[r.take.id] = MM_PER_M * r.truth(f"{kind}_pure")[:, self.rows]

    def of_split(self, split: Split) -> NDArray[np.float64]:
        """`marks` of what linear maps leave."""
        directions = split.motion.directions.view(len(split.motion.directions), -1, 3)[:, self.rows].flatten(1)

        def own(r: Recording) -> Array:
            seen = torch.cat([split.motion.coordinates(b) for b in r.blocks()])
            leak = seen @ (split.slow if r.take.kind == "speech" else split.speech_of(r.take.label))
            return self.moved[r.take.id] - MM_PER_M * (leak @ directions).view(len(seen), -1, 3).numpy()

        return self.marks(own)

    def marks(self, part: Callable[[Recording], Array]) -> NDArray[np.float64]:
        """(6,): ratio, the same at the worst lip vertex, size of the expression at the lips and beside them, error of
        the naive sum and of the fused face in mm; `part` gives what a way takes for a recording's own part, (T, n, 3)
        mm at `rows`."""
        own = {r.take.id: part(r) for takes in self.takes.values() for r in takes}
        errors, sizes = np.zeros((2, len(self.rows))), {"lips": [], "beside": []}
        for talk, face in self.pairs:
            worn = worn_frames(len(self.moved[talk]), len(self.moved[face]))
            truth = self.pure[talk] + self.pure[face][worn]
            both = (own[talk] + own[face][worn], self.moved[talk] + self.moved[face][worn])
            errors += [np.linalg.norm(guess - truth, axis=2).mean(axis=0) for guess in both]
        for r in self.takes["expression"]:
            if r.take.label != "neutral":
                shown, pure = own[r.take.id], self.pure[r.take.id]
                for place, rows in (("lips", self.lips), ("beside", self.beside)):
                    along = (shown[:, rows] * pure[:, rows]).sum(), np.square(pure[:, rows]).sum()
                    sizes[place].append(along[0] / max(along[1], 1e-9))
        errors /= len(self.pairs)
        ratio, worst = errors.mean(axis=1), errors[:, self.lips].max(axis=1)
        return np.array([
            ratio[0] / ratio[1], worst[0] / worst[1], np.median(sizes["lips"]), np.median(sizes["beside"]),
            ratio[1], ratio[0],
        ])  # fmt: skip


def sound_of(encoder: MelEncoder, recording: Recording) -> Array:
    """(T, n) log-mel bands at each frame and 70 ms to either side."""
    samples = torch.from_numpy(recording.audio().samples)[None]
    frames = recording.frames
    steps = encoder.hear(encoder.normalise(samples), 0, frames)[0][encoder.past :]
    reach = round(0.07 / STEP)
    around = F.pad(steps.T[None], (reach, reach), mode="replicate")[0].T.numpy()
    at = np.minimum(np.rint(np.arange(frames) / (FPS * STEP)).astype(int), len(steps) - 1)
    return np.concatenate([around[at + shift] for shift in (0, reach, 2 * reach)], axis=1)


def some(group: Group, rows: Sequence[int]) -> Group:
    return Group([group.takes[k] for k in rows], [group.names[k] for k in rows])


def _tensor(matrix: Array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(matrix, np.float32))


def materials(corpus: Corpus, components: int, seeds: int, sounds: bool) -> list[Material]:
    """One material for each seed, all in the same coordinates."""
    takes = {kind: corpus.takes("train", kind) for kind in ("speech", "expression")}
    everything = [(r, thin(group, FRAMES)) for group in takes.values() for r in group]
    motion = principal_motion(
        lambda: (b for r, stride in everything for b in r.blocks(stride)),
        components, torch.ones(len(corpus.face.template)),
    )  # fmt: skip
    seen = {
        kind: [torch.cat([motion.coordinates(b) for b in r.blocks()]).double().numpy() * MM_PER_M for r in group]
        for kind, group in takes.items()
    }
    encoder = MelEncoder(AudioEncoderConfig(bands=20))
    heard = [sound_of(encoder, r) for r in takes["speech"]] if sounds else [np.zeros((0, 0))] * len(takes["speech"])
    parted = [float(r.take.notes.get("lips_mm", 0)) for r in takes["expression"]]
    groups = {
        "speech": Group(seen["speech"], [r.speaker for r in takes["speech"]]),
        "expression": Group(seen["expression"], [r.take.label for r in takes["expression"]]),
    }
    found = []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        talk, worn = (np.sort(random.permutation(n)[: round(SHARE * n)]) for n in map(len, seen.values()))
        own = some(groups["speech"], talk), some(groups["expression"], worn)
        found.append(Material(corpus.face, motion, *own, [heard[k] for k in talk], [parted[k] for k in worn]))
    return found


def oracle(motion: MotionBasis, corpus: Corpus) -> Split:
    """The best linear maps there are: fitted to the truth of the training part, label by label."""
    takes = {kind: corpus.takes("train", kind) for kind in ("speech", "expression")}
    sums: dict[str, list[Array]] = {}
    for kind, group in takes.items():
        other = "expression_pure" if kind == "speech" else "speech_pure"
        for r in group[:: max(1, len(group) // 400)]:
            x = torch.cat([motion.coordinates(b) for b in r.blocks()]).double().numpy()
            y = motion.coordinates(torch.from_numpy(r.truth(other))).double().numpy()
            for name in {kind if kind == "speech" else "", kind if kind == "speech" else r.take.label}:
                sums.setdefault(name, []).append(np.stack([x.T @ x, x.T @ y]))
    maps = {}
    for name, parts in sums.items():
        xx, xy = np.sum(parts, axis=0)
        maps[name] = _tensor(scipy.linalg.solve(xx + 1e-4 * np.trace(xx) / len(xx) * np.eye(len(xx)), xy))
    return Split(motion, maps.pop("speech"), maps)


class Table:
    """The marks of every way, printed and, where asked, written as they come."""

    def __init__(self, corpus: Corpus, words: str, out: Path | None) -> None:
        fact = corpus.facts[0]["generator"]
        self.out = out
        self.lines = [
            f"Generator {fact['version']}, seed {fact['config']['seed']}, hash {fact['hash']}; {words}.", "",
            "| way | ratio, all vertices | worst lip vertex | expression at the lips | beside the lips | fused mm |",
            "|---|---|---|---|---|---|",
        ]  # fmt: skip
        say("\n".join(self.lines) + "\n")

    def row(self, name: str, found: Sequence[Array]) -> None:
        """Mean and range of `Exam.marks` over the seeds."""
        marks = np.array(found)
        cells = [f"{m:.3f} ({marks[:, k].min():.3f}-{marks[:, k].max():.3f})" for k, m in enumerate(marks.mean(0)[:4])]
        self.lines.append(f"| {name} | {' | '.join(cells)} | {marks[:, 5].mean():.3f} of {marks[:, 4].mean():.3f} |")
        say(self.lines[-1] + "\n")
        sys.stdout.flush()
        if self.out:
            with atomic(self.out) as path:
                path.write_text("\n".join(self.lines) + "\n")


def options(about: str | None) -> argparse.ArgumentParser:
    """What both searches are asked."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--face", default="builtin")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[""], help="words that a way's name has one of")
    parser.add_argument("-o", dest="out", type=Path)
    return parser


def main() -> None:
    args = options(__doc__).parse_args()
    corpus = Corpus([args.store], load_face(args.face), "heldout")
    table, exam = Table(corpus, f"{args.seeds} seeds", args.out), Exam(corpus)
    asked = [name for name in (*WAYS, *COMPONENTS) if any(word in name for word in args.only)]
    sixty = materials(corpus, 60, args.seeds, sounds=True)
    nothing = torch.zeros(60, 60)
    table.row("the naive sum", [exam.of_split(Split(sixty[0].motion, nothing, {"": nothing}))])
    table.row("best linear maps, truth known", [exam.of_split(oracle(sixty[0].motion, corpus))])
    for name in asked:
        if name in WAYS:
            table.row(name, [exam.of_split(WAYS[name](material)) for material in sixty])
    del sixty
    for name in asked:
        if name in COMPONENTS:
            found = materials(corpus, COMPONENTS[name], args.seeds, sounds=False)
            way = ours(SplitConfig(COMPONENTS[name]))
            table.row(name, [exam.of_split(way(material)) for material in found])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
