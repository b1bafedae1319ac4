"""`runs/tables.sh` on a planted corpus of half a minute: every stage with all to do, then with nothing left."""

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from data.planted_face import planted_face
from tiny import make_tiny_model
from visemo.cli import main
from visemo.cli.train import with_settings
from visemo.data.planted import PlantedConfig, make_planted
from visemo.face.library import save_face
from visemo.models.checkpoint import save_model
from visemo.training.recipes import FusionRecipe

ROOT = Path(__file__).resolve().parent.parent
SMALL = ["--batch", "4", "--pool", "100", "--speech-shapes", "3", "--expression-shapes", "3"]
OWN = {  # what each ablation says besides how long it takes, and what that makes of the default recipe
    "default": {}, "no_laplace": {"laplace": 0.0}, "no_sparsity": {"sparsity": 0.0},
    "no_geometry_map": {"geometry_map": False}, "paper_objective": {"objective": "paper"},
    "paper_preset": {"network": "paper", "objective": "paper", "horizon": 0},
}  # fmt: skip


def stages_of(store: Path, out: Path, notes: Path, **environment: str) -> list[list[str]]:
    """What the script asks of visemo and python, in order; neither is run, they only note their words."""
    note = 'note() { printf "%s\\n" "$#" "$@" >> "$NOTES"; }'
    stubs = 'visemo() { note visemo "$@"; }; python() { note python "$@"; }; export -f note visemo python'
    words = ["bash", "-c", f'{note}; {stubs}; exec bash "$@"', "bash"]
    words += [str(ROOT / "runs" / "tables.sh"), str(store), str(out)]
    notes.write_text("")
    subprocess.run(words, env={**os.environ, "NOTES": str(notes), **environment}, check=True)
    lines, found = iter(notes.read_text().splitlines()), []
    for count in lines:
        found.append([next(lines) for _ in range(int(count))])
    return found


def tables_main():
    """`main` of runs/tables.py."""
    spec = importlib.util.spec_from_file_location("tables_run", ROOT / "runs" / "tables.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def recipe_of(words: list[str]) -> FusionRecipe:
    """The recipe that `visemo train fusion` makes of its words."""
    said = dict(zip(words[2::2], words[3::2]))
    known = {"--face", "--data", "-o", "--preset"}
    settings = tuple((key[2:].replace("-", "_"), value) for key, value in said.items() if key not in known)
    return with_settings(getattr(FusionRecipe, said.get("--preset", "default"))(), settings)


@pytest.fixture()
def planted(tmp_path):
    face = planted_face()
    make_planted(tmp_path / "store", PlantedConfig.tiny(), face)
    model = make_tiny_model(face)
    save_model(tmp_path / "model", face, model.speech, model.fusion, model.expressions)
    save_face(face, tmp_path / "face")
    return tmp_path


def test_tables_and_figures_by_one_command(planted):
    out, notes, store = planted / "out", planted / "notes", planted / "store"
    setting = {"MODEL": str(planted / "model"), "FACE": str(planted / "face"), "STEPS": "2", "RIVAL_STEPS": "2"}
    stages = stages_of(store, out, notes, PAIRS="1", **setting)
    assert [words[1] for words in stages[:2]] == ["evaluate", "benchmark"]
    assert [words[2] for words in stages[-4:]] == ["ablations", "rivals", "write", "draw"]
    trainings = {Path(words[words.index("-o") + 1]): words[1:] for words in stages[2:-4]}
    assert [run.name for run in trainings] == list(OWN)
    for run, words in trainings.items():
        recipe = recipe_of(words)
        assert {name: getattr(recipe, name) for name in OWN[run.name]} == OWN[run.name] and recipe.steps == 2
    # what takes minutes is measured and trained elsewhere: here one module stands for all
    first, *others = trainings
    assert main(trainings[first] + SMALL) == 0
    for run in others:
        shutil.copytree(first, run)
    (out / "report").mkdir()
    lve = {"name": "lve", "value": 4.93, "unit": "mm", "low": 4.8, "high": 5.0, "n": 3, "mode": "speech"}
    (out / "report" / "metrics.json").write_text(json.dumps({"rows": [lve, {**lve, "name": "energy of eps"}]}))
    timed = {"preset": "paper", "stage": "fusion", "audio_s": 10.0, "fps": 177.6}
    (out / "benchmark.json").write_text(json.dumps({"machine": "an abacus", "rows": [timed]}))
    tables = tables_main()
    for words in stages[-4:]:
        tables(words[2:])
    text = (out / "tables.md").read_text()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        "Table 1: before and after the fusion module", "Table 2: speed", "Table 5: ablations", "Leakage", "Rivals",
    ]  # fmt: skip
    assert "| no geometry map | 2 |" in text and "| double encoder (rate " in text and "| naive sum |" in text
    for name in ("tables.tex", "figure_4.png", "figure_5.png", "figure_6.png"):
        assert (out / name).stat().st_size > 0
    again = stages_of(store, out, notes, PAIRS="1", **setting)
    assert [words[0] for words in again] == ["python"] * 4, "all that was trained and measured is left alone"
