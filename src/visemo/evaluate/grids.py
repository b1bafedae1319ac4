"""A table for people: the same cells as Markdown and as LaTeX."""

from __future__ import annotations

import re
from dataclasses import dataclass

from visemo.types import VisemoError

SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


@dataclass(frozen=True)
class Grid:
    """Rows of as many cells as there are columns, under a title and a note. Raises VisemoError for others."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise VisemoError(f"{self.title}: got a row of {len(row)} cells, expected {len(self.columns)}")

    def markdown(self) -> str:
        """As a section of a Markdown page."""
        rule = ("---",) + ("---:",) * (len(self.columns) - 1)
        lines = [f"| {' | '.join(row)} |" for row in (self.columns, rule, *self.rows)]
        return "\n".join([f"## {self.title}", "", self.note, "", *lines, ""])

    def latex(self) -> str:
        """As a floating table that needs no package."""
        lines = [" & ".join(map(escaped, row)) + r" \\" for row in (self.columns, *self.rows)]
        return "\n".join([
            r"\begin{table}", r"\centering", rf"\caption{{{escaped(self.title)}. {escaped(self.note)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}", r"\hline", lines[0], r"\hline", *lines[1:],
            r"\hline", r"\end{tabular}", r"\end{table}", "",
        ])  # fmt: skip


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return re.sub(r"[\\~^&%$#_{}]", lambda found: SPECIAL.get(found[0], "\\" + found[0]), text)
