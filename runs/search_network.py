"""How the fusion module learns the split: networks and objectives on a planted corpus, three seeds each.

    .venv/bin/python runs/search_network.py STORE [--face NAME|DIR] [--steps 400] [--seeds 3] [--only WORD ...]

Every way is the recipe `default` with some settings changed, on 64 x 64 maps, its losses measured at 1200 vertices.
All share the split that they learn from; a seed is that of the frames, the batches and the convolutions' start.
Measured as in `runs/search.py`, on pairs of the validation part. With `--runs RUN ...` nothing is trained: these runs
of `visemo train fusion` are measured, at full size.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from search import Exam, Table, options
from ways import VERTICES

from visemo.face.library import load_face
from visemo.models.checkpoint import load_parts
from visemo.models.fusion import Fusion
from visemo.training.corpus import Corpus, Recording
from visemo.training.fusion import FusionRecipe, FusionTask
from visemo.training.split import Split
from visemo.units import MM_PER_M

WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "no convolutions: an MLP on displacements": {"geometry_map": False},
    "16 + 16 blendshapes": {"speech_shapes": 16, "expression_shapes": 16},
    "48 + 48 blendshapes": {"speech_shapes": 48, "expression_shapes": 48},
    "blendshapes of any norm": {"unit_norm": False},
    "no sparsity": {"sparsity": 0.0},
    "sparsity ten times": {"sparsity": 2e-2},
    "no price on using a blendshape": {"group": 0.0},
    "no Laplace": {"laplace": 0.0},
    "anchor 0.3": {"anchor": 0.3},
    "anchor 3": {"anchor": 3.0},
    "no anchor, begun at the split": {"anchor": 0.0},
    "no split: the published objective": {"objective": "paper", "anchor": 0.0, "group": 0.0, "unit_norm": False,
                                          "sparsity": 0.01},
}  # fmt: skip


class Trial(FusionTask):
    """A training whose split, which depends on the corpus alone, was found once for all of them."""

    found: Split | None = None

    def _closed_form(self) -> Split:
        if Trial.found is None:
            Trial.found = super()._closed_form()
        return Trial.found


def trained(recipe: FusionRecipe, corpus: Corpus) -> Fusion:
    torch.manual_seed(recipe.seed)
    task = Trial(recipe, corpus, torch.device("cpu"))
    for step in range(recipe.steps):
        for group in task.optimizer.param_groups:
            group["lr"] = task.rate(step) * group.get("share", 1.0)
        task.optimizer.zero_grad()
        task.losses(step)["loss"].backward()
        task.optimizer.step()
    model = copy.deepcopy(task.model).eval()
    model.set_basis(task._basis())
    return model


def marks(exam: Exam, model: Fusion) -> np.ndarray:
    """`Exam.marks` of w_A and w_E alone."""
    halves = model.basis[:, exam.rows].flatten(1).split([model.config.speech_shapes, model.config.expression_shapes])

    def own(r: Recording) -> np.ndarray:
        talks = r.take.kind == "speech"
        encode = model.encode_speech if talks else model.encode_expression
        weights = torch.cat([encode(block)[0 if talks else 1] for block in r.blocks()])
        return MM_PER_M * (weights @ halves[0 if talks else 1]).view(len(weights), -1, 3).numpy()

    with torch.no_grad():
        return exam.marks(own)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="measure these instead of training")
    args = parser.parse_args()
    corpus = Corpus([args.store], load_face(args.face), "heldout")
    what = "trained runs" if args.runs else f"{args.steps} steps, {args.seeds} seeds"
    table, exam = Table(corpus, what, args.out), Exam(corpus)
    for run in args.runs:
        fusion = load_parts(run / "model").fusion
        assert fusion is not None, f"{run}: a run of `visemo train fusion` is needed"
        table.row(run.name, [marks(exam, fusion)])
    if args.runs:
        return
    base = replace(FusionRecipe.default(args.steps), horizon=args.steps, vertices=VERTICES, pool=8000, split="heldout")
    for name, changes in WAYS.items():
        if any(word in name for word in args.only):
            recipes = [replace(base, seed=seed, **changes) for seed in range(args.seeds)]
            table.row(name, [marks(exam, trained(recipe, corpus)) for recipe in recipes])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
