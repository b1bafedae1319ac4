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
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from ways import COMPONENTS, VERTICES, WAYS, Material, as_map, ours, some

from visemo.assets import atomic
from visemo.data.dataset import worn_frames
from visemo.evaluate.places import SHOWING
from visemo.face.library import load_face
from visemo.models.audio_encoder import STEP, AudioEncoderConfig, MelEncoder
from visemo.training.corpus import Corpus, Recording, thin
from visemo.training.group import Group, weighted_mean
from visemo.training.pca import MotionBasis, principal_motion
from visemo.training.prior import spread
from visemo.training.split import Split, SplitConfig
from visemo.units import FPS, MM_PER_M

Array = NDArray[np.floating]
FRAMES = 5000  # of each kind, for the motion basis
PARTS = ("expression_pure", "speech_pure")
SHARE = 0.7  # of the training takes that one seed sees
say = sys.stdout.write


class Exam:
    """Validation pairs at some vertices, in float32 mm."""

    def __init__(self, corpus: Corpus) -> None:
        face = corpus.face
        lips = face.region("lips")
        others = spread(face.template.astype(np.float64), VERTICES - len(lips))
        self.rows = np.unique(np.concatenate([lips, others]))
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
    best, shapes = oracle(motion, corpus), true_shapes(motion, takes["expression"])
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
        found.append(
            Material(corpus.face, motion, *own, [heard[k] for k in talk], [parted[k] for k in worn], best, shapes)
        )
    return found


def true_shapes(motion: MotionBasis, takes: Sequence[Recording]) -> dict[str, tuple[Array, Array]]:
    """By label, expression and speech (P,) of its takes' weighted mean frames, mm."""
    found: dict[str, list[Array]] = {}
    for r in takes:
        both = [motion.coordinates(torch.from_numpy(r.truth(part))).double().numpy() for part in PARTS]
        found.setdefault(r.take.label, []).append(MM_PER_M * np.stack([weighted_mean(part) for part in both]))
    return {label: tuple(np.mean(rows, axis=0)) for label, rows in found.items()}


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
        maps[name] = as_map(scipy.linalg.solve(xx + 1e-4 * np.trace(xx) / len(xx) * np.eye(len(xx)), xy))
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
    table.row("best linear maps, truth known", [exam.of_split(sixty[0].best)])
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
