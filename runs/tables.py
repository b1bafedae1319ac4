"""Tables and figures of a planted store, stage by stage; `runs/tables.sh` calls all of them.

.venv/bin/python runs/tables.py rivals --help
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro

from visemo.evaluate import figures, tables
from visemo.evaluate.rivals import STEPS, field_of_rivals
from visemo.evaluate.rivals.blends import NAIVE, blends
from visemo.evaluate.rivals.contest import Contest, ContestConfig
from visemo.evaluate.rivals.modules import modules_of
from visemo.evaluate.rivals.rival import TRIALS
from visemo.evaluate.rivals.showcase import Showcase
from visemo.models.checkpoint import load_model, load_parts
from visemo.training.corpus import Corpus
from visemo.training.loop import MODEL
from visemo.types import VisemoError

OURS = "fusion module"
PICTURED = (  # in Fig. 5
    NAIVE, "best interpolation", "one-third rule", "label offset, as large as the take", "double encoder",
    "temporal patterns, projected", OURS,
)  # fmt: skip
SOUNDS = ("/w/", "/m/")  # in Fig. 6
TAKES = 12  # of each kind, that say which blendshapes Fig. 4 shows


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def rivals(
    *, data: tuple[Path, ...], out: Path, model: str = "default", more: tuple[Path, ...] = (), steps: int = STEPS,
    validation: int = 8, pairs: int = 0,
) -> None:  # fmt: skip
    """The fusion module of a model against its rivals, on the test pairs of `data`; all learn from `more` too."""
    ours = load_model(model)
    schools = (*field_of_rivals(steps), *modules_of({OURS: ours}))
    config = ContestConfig(validation=validation, pairs=pairs)
    Contest(schools, data, ours.face, out, more=more, config=config, progress=say).run()


def ablations(*, data: tuple[Path, ...], out: Path, runs: tuple[Path, ...], pairs: int = 0) -> None:
    """Fusion runs, named by their folders, beside interpolations of the inputs, on the test pairs of `data`."""
    models = {run.name.replace("_", " "): load_parts(run / MODEL) for run in runs}
    face = next(iter(models.values())).face
    schools = (*blends(), *modules_of(models, ("basis",)))
    Contest(schools, data, face, out, config=ContestConfig(pairs=pairs), progress=say).run()


def write(*, report: Path, benchmark: Path, rivals: Path, ablations: Path, out: Path) -> None:
    """tables.md and tables.tex, from what the other stages left."""
    searched = (
        f"Methods with a setting in brackets tried {TRIALS} on validation pairs; steps: optimiser steps of each fit."
    )
    grids = (
        tables.error_table(report / "metrics.json"),
        tables.speed_table(benchmark),
        tables.contest_table(ablations, "Table 5: ablations", "All modules had the same steps on the same data."),
        tables.leakage_table(report / "metrics.json"),
        tables.contest_table(rivals, "Rivals", searched),
    )
    tables.write_tables(grids, out)


def draw(*, data: tuple[Path, ...], rivals: Path, ablations: Path, out: Path, model: str = "default") -> None:
    """figure_4.png, figure_5.png and figure_6.png."""
    ours = load_model(model)
    corpus = Corpus(data, ours.face, ContestConfig().split)
    takes = [corpus.takes("test", kind) for kind in ("speech", "expression")]
    some = [own[k] for own in takes for k in np.unique(np.linspace(0, len(own) - 1, TAKES).round().astype(int))]
    figures.blendshape_figure(ours.face, ours.fusion, some, out / "figure_4.png")
    shown = shown_in(rivals)
    figures.methods_figure(shown, ours.face, [name for name in PICTURED if name in shown.motion], out / "figure_5.png")
    shown = shown_in(ablations)
    figures.ablation_figure(shown, ours.face, list(shown.motion), SOUNDS, out / "figure_6.png")


def shown_in(folder: Path) -> Showcase:
    shown = Showcase.load(folder)
    if shown is None:
        raise VisemoError(f"{folder}: got no frames, expected a finished contest; run that first")
    return shown


def main(words: Sequence[str] | None = None) -> None:
    """The stage that the words name; those of the command line by default."""
    stages = {"rivals": rivals, "ablations": ablations, "write": write, "draw": draw}
    tyro.extras.subcommand_cli_from_dict(stages, args=words)


if __name__ == "__main__":
    try:
        main()
    except VisemoError as error:
        sys.exit(str(error))
