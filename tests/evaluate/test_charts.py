"""Charts: every frame is drawn and can be asked for."""

from xml.etree import ElementTree

import numpy as np
import pytest

from visemo.evaluate.charts import Curve, Span, chart, legend, nice_step


def drawn(*curves: Curve, spans=()) -> ElementTree.Element:
    return ElementTree.fromstring(chart(curves, "mm", 10.0, spans))


def test_a_chart_has_a_line_per_curve_and_a_title_per_frame():
    wave = np.sin(np.arange(31) / 5)
    picture = drawn(
        Curve("recorded <b>", wave, 0), Curve("model", wave + 1, 1), spans=[Span(1.0, 1.5, "m"), Span(9, 10, "p")]
    )
    lines = picture.findall("polyline")
    assert [line.get("class") for line in lines] == ["curve c0", "curve c1"]
    assert all(len(line.get("points", "").split()) == 31 for line in lines)
    frames = [box for box in picture.findall("rect") if box.get("class") == "hit"]
    titles = [box.findtext("title") or "" for box in frames]
    assert (
        len(frames) == 31 and titles[12] == f"1.20 s m\nrecorded <b>: {wave[12]:.2f} mm\nmodel: {wave[12] + 1:.2f} mm"
    )
    assert "m" not in titles[20].split("\n")[0]
    assert sum(box.get("class") == "span" for box in picture.findall("rect")) == 1  # what is beyond the take is not
    assert [text.text for text in picture.findall("text") if text.get("class") == "middle"] == [
        "0 s",
        "1 s",
        "2 s",
        "3 s",
    ]


def test_heights_are_in_proportion():
    points = drawn(Curve("", np.array([0.0, 1.0, 2.0]), 0)).findall("polyline")[0].get("points", "").split()
    low, middle, high = (float(point.split(",")[1]) for point in points)
    assert low - middle == pytest.approx(middle - high) and low > high


def test_a_curve_that_is_flat_or_of_one_frame_is_drawn():
    assert "nan" not in chart([Curve("", np.zeros(5), 0)], "", 30.0)
    assert "nan" not in chart([Curve("", np.ones(1), 0)], "", 30.0)


def test_names_are_escaped():
    assert "<b>" not in legend([Curve("<b>", np.zeros(2), 3)]) and 'class="c3"' in legend([Curve("x", np.zeros(2), 3)])


def test_steps_are_round():
    assert [nice_step(least) for least in (0.011, 0.2, 0.21, 1, 3, 70)] == pytest.approx([0.02, 0.2, 0.5, 1, 5, 100])
