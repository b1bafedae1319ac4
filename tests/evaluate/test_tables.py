"""Tables from files that are written here: the numbers that went in come out in their cells."""

import json

import pytest

from visemo.evaluate.grids import Grid, escaped
from visemo.evaluate.tables import contest_table, error_table, leakage_table, speed_table, write_tables
from visemo.types import VisemoError


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def row(name, value, mode="speech", unit="mm", n=5):
    return {"name": name, "value": value, "unit": unit, "low": value - 1, "high": value + 1, "n": n, "mode": mode}


def test_a_grid_as_markdown_and_latex():
    grid = Grid("Both", "50 % of w_A.", ("who", "mm"), (("a_b", "1"), ("c & d", "2")))
    assert grid.markdown().splitlines() == [
        "## Both", "", "50 % of w_A.", "", "| who | mm |", "| --- | ---: |", "| a_b | 1 |", "| c & d | 2 |",
    ]  # fmt: skip
    latex = grid.latex()
    assert r"\caption{Both. 50 \% of w\_A.}" in latex and r"\begin{tabular}{lr}" in latex
    assert r"a\_b & 1 \\" in latex and r"c \& d & 2 \\" in latex
    assert escaped(r"\~^{}") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}\{\}"
    with pytest.raises(VisemoError, match="Both: got a row of 1 cells, expected 2"):
        Grid("Both", "", ("who", "mm"), (("alone",),))


def test_table_1_and_leakage_of_an_evaluation(tmp_path):
    rows = [row("lve", 4.93), row("lve", 9.0, "other"), row("lve change by the fusion module", 0.0021)]
    rows += [row("energy of eps", 3.25, "expression", "%"), row("jitter of the lips", 1.0)]
    path = write(tmp_path / "metrics.json", {"rows": rows})
    assert error_table(path).rows == (
        ("speech model", "4.930 [3.930, 5.930]", "5"), ("change", "0.002 [-0.998, 1.002]", "5"),
    )  # fmt: skip
    assert leakage_table(path).rows == (("energy of eps", "expression", "3.2 [2.2, 4.2]", "%", "5"),)
    with pytest.raises(VisemoError, match="got no such file, expected the result of an earlier stage"):
        error_table(tmp_path / "none.json")


def test_table_2_of_a_benchmark(tmp_path):
    rows = [
        {"preset": "paper", "stage": stage, "audio_s": length, "fps": fps}
        for stage, length, fps in (("encoder", 10.0, 90.4), ("encoder", 60.0, 80.0), ("fusion", 10.0, 20.0))
    ]
    grid = speed_table(write(tmp_path / "benchmark.json", {"machine": "an abacus", "rows": rows}))
    assert grid.columns == ("preset", "stage", "10 s", "60 s") and "an abacus" in grid.note
    assert grid.rows == (("paper", "encoder", "90", "80"), ("paper", "fusion", "20", "–"))


def test_a_contest_s_table(tmp_path):
    from visemo.evaluate.rivals.marks import MEASURES

    standings = [
        {"method": method, "measure": measure, "value": value, "unit": unit, "low": 0.0, "high": 2.0, "n": 7}
        for method, value in (("naive sum", 1.0), ("ours", float("nan")))
        for measure, unit in MEASURES.items()
    ]
    write(tmp_path / "standings.json", standings)
    write(tmp_path / "contest.json", {"methods": {"ours": {"steps": 600, "is": ""}, "naive sum": {"steps": 0}}})
    write(tmp_path / "search.json", {"ours": {"settings": [{"rate": 0.1}, {"rate": 0.3}], "errors": [2.0, 1.0]}})
    grid = contest_table(tmp_path, "Rivals", "Said first.")
    naive, ours = grid.rows
    assert naive[:4] == ("naive sum", "–", "1.000 [0.000, 2.000]", "1.000 [0.000, 2.000]") and naive[-2] == "1.0"
    assert ours[:3] == ("ours (rate 0.3)", "600", "–")
    assert grid.note.startswith("Said first. 7 test pairs")


def test_tables_are_written_without_the_empty_ones(tmp_path):
    full, empty = Grid("Full", "note", ("a",), (("1",),)), Grid("Empty", "note", ("a",), ())
    write_tables([full, empty], tmp_path)
    assert (tmp_path / "tables.md").read_text() == full.markdown()
    assert (tmp_path / "tables.tex").read_text() == full.latex()
    with pytest.raises(VisemoError, match="got no folder"):
        write_tables([full], tmp_path / "none")
