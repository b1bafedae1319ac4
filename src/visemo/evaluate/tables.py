"""The paper's tables, made of files that evaluations, benchmarks and contests have left: nothing is computed here.

Table 1: the speech model before and after the fusion module. Table 2: frames per second. Table 5: ablations, where
the paper asked people and we hold faces against planted truth. And two that the paper has not: leakage and rivals.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from visemo.assets import atomic
from visemo.evaluate.grids import Grid
from visemo.evaluate.rivals.contest import chosen_settings
from visemo.types import VisemoError

LVE = {  # rows of metrics.json, and what Table 1 calls them
    "lve": "speech model", "lve through the fusion module": "through the fusion module",
    "lve change by the fusion module": "change", "lve to pure speech": "speech model, to pure speech",
    "lve to pure speech through the fusion module": "through the fusion module, to pure speech",
    "lve to pure speech, w_A alone": "through the fusion module by w_A alone, to pure speech",
    "lve mean face": "mean face", "lve energy jaw": "loudness moves the jaw", "lve retrieval": "most alike sound",
}  # fmt: skip
LEAKS = (  # how the rows of metrics.json begin that say what one factor moves of the other's
    "energy of eps", "upper face moved by speech", "lips parted by expression", "emotion kept",
)  # fmt: skip
MEASURES = {  # of a contest, and the head of their columns
    "error, all vertices": "all vertices, mm", "ratio to the naive sum, all vertices": "/ naive",
    "error, worst lip vertex": "worst lip vertex, mm", "ratio to the naive sum, worst lip vertex": "/ naive",
    "expression kept at the lips": "kept at the lips", "expression kept beside the lips": "kept beside them",
    "closures kept at /p b m/": "/p b m/ shut, %", "talk in the brows": "talk in brows, mm",
}  # fmt: skip
WITH_INTERVAL = ("error, all vertices", "ratio to the naive sum, all vertices")
DIGITS = {"mm": 3, "1": 3, "%": 1, "m/s^2": 2}
NONE = "–"


def error_table(metrics: Path) -> Grid:
    """Table 1, of `visemo evaluate`'s metrics.json."""
    rows = {row["name"]: row for row in _read(metrics)["rows"] if row["mode"] == "speech"}
    lines = [
        (said, _value(rows[name], interval=True), str(rows[name]["n"])) for name, said in LVE.items() if name in rows
    ]
    note = (
        "Lip vertex error: mean over frames of the farthest lip vertex, mm, with a 95 % bootstrap interval over takes. "
        "The paper: 4.930 mm before, 4.932 mm after."
    )
    return Grid("Table 1: before and after the fusion module", note, ("lips", "LVE, mm", "takes"), tuple(lines))


def speed_table(benchmark: Path) -> Grid:
    """Table 2, of `visemo benchmark --json`."""
    report = _read(benchmark)
    lengths = sorted({row["audio_s"] for row in report["rows"]})
    rate = {(row["preset"], row["stage"], row["audio_s"]): f"{row['fps']:.0f}" for row in report["rows"]}
    stages = dict.fromkeys((row["preset"], row["stage"]) for row in report["rows"])
    lines = [
        (preset, stage, *(rate.get((preset, stage, length), NONE) for length in lengths)) for preset, stage in stages
    ]
    note = (
        f"Frames per second on {report['machine']}, for clips of each length. Stages contain the ones before them, "
        "except expression, which is E_e alone. The paper: 177.6 with an RTX 3090."
    )
    columns = ("preset", "stage", *(f"{length:g} s" for length in lengths))
    return Grid("Table 2: speed", note, columns, tuple(lines))


def contest_table(folder: Path, title: str, note: str) -> Grid:
    """Methods by measures, of a contest's folder."""
    standings, methods = _read(folder / "standings.json"), _read(folder / "contest.json")["methods"]
    chosen = chosen_settings(folder)
    lines = []
    for method in dict.fromkeys(row["method"] for row in standings):
        own = {row["measure"]: row for row in standings if row["method"] == method}
        cells = [_value(own[measure], interval=measure in WITH_INTERVAL) for measure in MEASURES]
        name = f"{method} ({chosen[method]})" if method in chosen else method
        steps = methods.get(method, {}).get("steps", 0)
        lines.append((name, str(steps) if steps else NONE, *cells))
    pairs = max(row["n"] for row in standings)
    said = (
        f"{note} {pairs} test pairs of a talk and an expression that nobody recorded together, against their planted "
        "pure parts; brackets: 95 % bootstrap interval over pairs. Kept: size of what the fused face adds to pure "
        "speech along the pure expression. Talk in brows: rms away from the pure expression."
    )
    return Grid(title, said, ("method", "steps", *MEASURES.values()), tuple(lines))


def leakage_table(metrics: Path) -> Grid:
    """What either factor moves of the other's, and what is left of the expression, of metrics.json."""
    rows = [row for row in _read(metrics)["rows"] if row["name"].startswith(LEAKS)]
    lines = [(row["name"], row["mode"], _value(row, interval=True), row["unit"], str(row["n"])) for row in rows]
    note = "eps is what each encoder finds of the other factor in a recorded take; mode truth is the planted pure part."
    return Grid("Leakage", note, ("measure", "mode", "value", "unit", "takes"), tuple(lines))


def write_tables(grids: Iterable[Grid], out: Path) -> None:
    """As `out`/tables.md and `out`/tables.tex. Raises VisemoError when the folder is missing."""
    grids = tuple(grid for grid in grids if grid.rows)
    texts = {"tables.md": [grid.markdown() for grid in grids], "tables.tex": [grid.latex() for grid in grids]}
    for name, parts in texts.items():
        with atomic(out / name) as temporary:
            temporary.write_text("\n".join(parts), encoding="utf-8")


def _read(path: Path) -> Any:
    if not path.is_file():
        raise VisemoError(f"{path}: got no such file, expected the result of an earlier stage; run that first")
    return json.loads(path.read_text(encoding="utf-8"))


def _value(row: Mapping[str, Any], interval: bool = False) -> str:
    """A number, with its interval if asked for; nothing for what nobody could measure."""
    digits = DIGITS.get(row["unit"], 3)
    if row["value"] != row["value"]:
        return NONE
    value = f"{row['value']:.{digits}f}"
    return f"{value} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]" if interval else value
