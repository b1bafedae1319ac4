"""Curves over time as inline SVG: nothing is loaded, colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 960, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 24  # margins around the plot


@dataclass(frozen=True, eq=False)
class Curve:
    """One line: `values` (T,) under a name; `style` is the number of its colour, 0 for the reference."""

    name: str
    values: NDArray
    style: int


@dataclass(frozen=True)
class Span:
    """A stretch of time (s) that is shaded, and why."""

    start: float
    end: float
    name: str


def chart(curves: Sequence[Curve], unit: str, fps: float, spans: Sequence[Span] = ()) -> str:
    """An SVG element with axes, a line per curve and, under the pointer, what each is at that frame."""
    frames = len(curves[0].values)
    low, high, ticks = _axis(np.concatenate([curve.values for curve in curves]))
    seconds = max((frames - 1) / fps, 1 / fps)

    def x(time: float) -> str:
        return f"{LEFT + (WIDTH - LEFT - RIGHT) * time / seconds:.1f}"

    def y(value: float) -> str:
        return f"{HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low):.1f}"

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for span in spans:
        begin, end = max(span.start, 0.0), min(span.end, seconds)
        if begin < end:
            wide = (WIDTH - LEFT - RIGHT) * (end - begin) / seconds
            parts.append(
                f'<rect class="span" x="{x(begin)}" y="{TOP}" width="{wide:.1f}" height="{HEIGHT - TOP - BOTTOM}"/>'
                f'<text class="phone" x="{x((begin + end) / 2)}" y="{TOP + 9}">{escape(span.name)}</text>'
            )
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick)}" y2="{y(tick)}"/>')
        shown = f"{tick:g} {unit}" if tick == ticks[-1] else f"{tick:g}"
        parts.append(f'<text class="end" x="{LEFT - 6}" y="{y(tick)}" dy="3">{escape(shown.strip())}</text>')
    for second in range(int(seconds) + 1):
        parts.append(f'<text class="middle" x="{x(second)}" y="{HEIGHT - 8}">{second} s</text>')
    for curve in curves:
        points = " ".join(f"{x(t / fps)},{y(value)}" for t, value in enumerate(curve.values))
        name = f"<title>{escape(curve.name)}</title>"
        parts.append(f'<polyline class="curve c{curve.style}" points="{points}">{name}</polyline>')
    step, tall = (WIDTH - LEFT - RIGHT) / frames, HEIGHT - TOP - BOTTOM
    for t in range(frames):
        said = "".join(f"\n{curve.name}: {curve.values[t]:.2f} {unit}" for curve in curves)
        spoken = "".join(f" {span.name}" for span in spans if span.start <= t / fps < span.end)
        told, left = escape(f"{t / fps:.2f} s{spoken}{said}"), f"{LEFT + step * t:.1f}"
        box = f'x="{left}" y="{TOP}" width="{step:.1f}" height="{tall}"'
        parts.append(f'<rect class="hit" {box}><title>{told}</title></rect>')
    return "".join(parts) + "</svg>"


def legend(curves: Sequence[Curve]) -> str:
    """The names of the curves beside their colours."""
    return '<p class="legend">' + "".join(f'<span class="c{c.style}">{escape(c.name)}</span>' for c in curves) + "</p>"


def _axis(values: NDArray) -> tuple[float, float, list[float]]:
    """Ends of an axis that holds all values, and round numbers on it."""
    low, high = min(0.0, float(values.min())), float(values.max())
    high = max(high, low + 1e-3)
    step = nice_step((high - low) / 4)
    low, high = np.floor(low / step) * step, np.ceil(high / step) * step
    return float(low), float(high), [round(float(tick), 6) for tick in np.arange(low, high + step / 2, step)]


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, ... times a power of ten that is not less than `least` > 0."""
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9)))
