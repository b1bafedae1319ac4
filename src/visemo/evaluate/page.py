"""The report as one page that needs nothing else: its style, curves and pictures are all in it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from visemo.evaluate.charts import chart, legend
from visemo.evaluate.exhibits import Exhibits, TakeCurves, WorstFrame
from visemo.evaluate.heat import COLOURS, data_uri
from visemo.evaluate.sheet import Row, Sheet
from visemo.evaluate.terms import TERMS
from visemo.evaluate.vertex_sets import VertexSet
from visemo.units import FPS

# what stands first: the row (name, mode), how its number is written, and what that says
HEADLINES = {
    ("lve", "speech"): ("{:.2f} mm", "lip vertex error of speech the model has not heard before"),
    ("lve below energy jaw", "speech"): ("{:.0f} %", "nearer to the recorded lips than a jaw that follows loudness"),
    ("lve change by the fusion module", "speech"): ("{:+.3f} mm", "change of that error by the fusion module"),
    ("ratio to the naive sum, all vertices", "fused"): (
        "{:.2f} ×",
        "the error of the naive sum is what the fused face has against the planted truth",
    ),
    ("emotion kept beside the lips, amplitude", "fused"): (
        "{:.2f}",
        "of an expression's size is left beside the lips while the face speaks",
    ),
    ("closure recall at /p b m/", "fused, guarded"): (
        "{:.0f} %",
        "of all /p b m/ shut the lips while an expression is worn, with the lip guard",
    ),
    ("closure recall", "fused, guarded"): (
        "{:.0f} %",
        "of the closures of recorded speech are kept while an expression is worn, with the lip guard",
    ),
}


def page(title: str, facts: str, sheet: Sheet, shown: Exhibits, sets: Iterable[VertexSet]) -> str:
    """The whole report as HTML.

    Parameters
    ----------
    title : the model's name
    facts : a sentence on what was measured on what
    sheet : all tables
    shown : pictures and curves
    sets : vertex sets that the measures used
    """
    drawn = {"Where the errors are": _maps(shown), "Worst frames": _frames(shown), "Two takes": _curves(shown.curves)}
    sections = {title: content for title, content in drawn.items() if content}
    sections |= {table.title: f"<p>{escape(table.about)}</p>{_table(table.rows)}" for table in sheet.tables}
    sections["Terms"] = _terms(sets)
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in sections)
    body = "\n".join(map(_section, sections, sections.values()))
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}: evaluation</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="soft">{escape(facts)}</p>\n'
        f"{_headlines(sheet.rows)}\n<nav>{links}</nav>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _headlines(rows: list[Row]) -> str:
    by_name = {(row.name, row.mode): row for row in rows}
    cards = []
    for key, (form, text) in HEADLINES.items():
        if key in by_name:
            row = by_name[key]
            between = f"95 %: {form.format(row.low)} to {form.format(row.high)}, n = {row.n}"
            cards.append(f"<div><b>{form.format(row.value)}</b><span>{text}</span><small>{between}</small></div>")
    return f'<div class="headlines">{"".join(cards)}</div>'


def _section(title: str, content: str) -> str:
    return f'<section id="{_anchor(title)}"><h2>{escape(title)}</h2>{content}</section>'


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _table(rows: Iterable[Row]) -> str:
    lines = [
        f"<tr><td>{escape(row.name)}</td><td>{escape(row.mode)}</td>"
        f'<td class="n value">{_number(row.value)}</td><td>{escape("" if row.unit == "1" else row.unit)}</td>'
        f'<td class="n">{_number(row.low)} to {_number(row.high)}</td><td class="n">{row.n}</td></tr>'
        for row in rows
    ]
    head = '<th>measure</th><th>mode</th><th class="n">value</th><th>unit</th><th class="n">95 % interval</th>'
    return (
        f'<div class="wide"><table><thead><tr>{head}<th class="n">n</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _number(value: float) -> str:
    """Three decimals of what is small, one of what is large."""
    if 0 < abs(value) < 1e-3:
        return f"{value:.1g}"
    return f"{value:.{3 if abs(value) < 10 else 2 if abs(value) < 100 else 1}f}"


def _maps(shown: Exhibits) -> str:
    if not shown.maps:
        return ""
    figures = "".join(
        f'<figure><img alt="{escape(heat.caption)}" src="{data_uri(heat.picture)}">'
        f"<figcaption>{escape(heat.caption)}: {heat.mean:.3g} mm on average</figcaption></figure>"
        for heat in shown.maps
    )
    about = "<p>Mean error of every vertex, all on one scale.</p>"
    return f'{about}<div class="faces">{figures}</div>{_bar(shown.top)}'


def _bar(top: float) -> str:
    """The colour scale from 0 to `top` mm."""
    marks = "".join(f"<span>{top * k / 4:.3g}{' mm' if k == 4 else ''}</span>" for k in range(5))
    colours = f"background:linear-gradient(90deg,{','.join(COLOURS)})"
    return f'<div class="bar"><i style="{colours}"></i><div>{marks}</div></div>'


def _curves(takes: Iterable[TakeCurves]) -> str:
    figures = []
    for take in takes:
        figures.append(
            f"<h3>{escape(take.caption)}</h3>{chart(take.gap, 'mm', FPS, take.closures)}{legend(take.gap)}"
            f"{chart(take.weights, '', FPS)}{legend(take.weights)}"
        )
    about = "<p>Lip gap, with every /p b m/ shaded, and the strongest speech weights of the speech model's motion.</p>"
    return about + "".join(figures) if figures else ""


def _frames(shown: Exhibits) -> str:
    if not shown.frames:
        return ""
    about = "<p>The frames in which a lip vertex is farthest off, one of a take: recorded, speech model, error.</p>"
    figures = "".join(_frame(frame) for frame in shown.frames)
    return f'{about}<div class="frames">{figures}</div>{_bar(shown.frame_top)}'


def _frame(frame: WorstFrame) -> str:
    pictures = {"recorded": frame.truth, "speech model": frame.prediction, "error": frame.heat}
    images = "".join(f'<img alt="{name}" src="{data_uri(picture)}">' for name, picture in pictures.items())
    spoken = f", /{escape(frame.phone)}/" if frame.phone else ""
    return (
        f"<figure><div>{images}</div><figcaption><strong>{frame.error:.2f} mm</strong> "
        f"{escape(frame.take)}, {frame.time:.2f} s{spoken}</figcaption></figure>"
    )


def _terms(sets: Iterable[VertexSet]) -> str:
    terms = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in TERMS.items())
    rows = "".join(
        f'<tr><td>{escape(found.name)}</td><td class="n">{found.count}</td><td><code>{found.hash}</code></td></tr>'
        for found in sets
    )
    return (
        f'<dl>{terms}</dl><h3>Vertex sets</h3><div class="wide"><table><thead><tr><th>name</th>'
        f'<th class="n">vertices</th><th>hash</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )
