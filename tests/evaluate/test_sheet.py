"""Tables: means of what sequences gave, in an order that a reader can follow."""

import numpy as np
import pytest

from visemo.evaluate.sheet import Sheet, Table


def test_a_column_becomes_the_row_of_its_mean():
    table = Table("Speech", "About it.")
    for mode, values in {"speech": (1.0, 3.0), "truth": (0.5, 1.5)}.items():
        for sequence, value in zip("ab", values):
            table.note("lve", mode, "mm", sequence, value)
            table.note(f"only {mode}", mode, "mm", sequence, value)
    row = table.rows[0]
    assert (row.name, row.mode, row.unit, row.value, row.n) == ("lve", "speech", "mm", 2.0, 2)
    assert (row.low, row.high) == (1.0, 3.0)
    # the same measure in another mode stands below it
    assert [(row.name, row.mode) for row in table.rows[:2]] == [("lve", "speech"), ("lve", "truth")]
    assert table.sequences[0] == {"name": "lve", "mode": "speech", "unit": "mm", "values": {"a": 1.0, "b": 3.0}}


def test_differences_and_other_statistics():
    table = Table("", "")
    for name, values in {"after": {"a": 2.0, "b": 5.0, "c": 9.0}, "before": {"b": 4.0, "a": 3.0}}.items():
        for sequence, value in values.items():
            table.note(name, "speech", "mm", sequence, value)
    table.compare("change", table.column("after", "speech"), table.column("before", "speech"))
    assert table.column("change", "speech").values == {"a": -1.0, "b": 1.0}
    table.conclude("largest", "speech", "mm", np.array([1.0, 7.0]), lambda sample: float(sample.max()))
    assert table.rows[-1].value == pytest.approx(7.0) and table.rows[-1].n == 2
    assert table.has("largest", "speech") and not table.has("largest", "truth")
    assert len(table.sequences) == 3  # what is no mean has no column


def test_a_sheet_shows_the_tables_that_have_something_in_them():
    sheet = Sheet()
    assert sheet.tables == [] and sheet.rows == []
    sheet.leakage.note("energy of eps", "speech", "%", "a", 1.0)
    assert [table.title for table in sheet.tables] == ["Leakage"] and len(sheet.rows) == 1
