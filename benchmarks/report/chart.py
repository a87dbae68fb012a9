"""Charts as SVG: horizontal bars, and lines over a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from ..harness.target import number

_WIDTH = 720
_LABEL, _VALUE, _BAR, _TOP = 250, 130, 26, 44
# The background is transparent: grey text and two strong colours have enough contrast on white and on black.
_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #6e7781; }
.title { font-size: 15px; font-weight: 600; }
.axis { stroke: #8c959f; stroke-width: 1; opacity: .6; }
.bar { fill: #8c959f; } .ours { fill: #2f81f7; }
.line { fill: none; stroke: #2f81f7; stroke-width: 2; } .spread { stroke: #2f81f7; opacity: .5; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
</style>"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: the median, with the least and the greatest value as a thin line."""

    label: str
    value: float
    least: float
    greatest: float
    is_ours: bool = True


def bars(title: str, unit: str, values: Sequence[Bar]) -> str:
    """Horizontal bars from zero."""
    height = _TOP + _BAR * len(values) + 12
    scale = (_WIDTH - _LABEL - _VALUE) / max(bar.greatest for bar in values)
    parts = [f'<line class="axis" x1="{_LABEL}" y1="{_TOP - 8}" x2="{_LABEL}" y2="{height - 8}"/>']
    for index, bar in enumerate(values):
        top = _TOP + _BAR * index
        width, text_at = max(0.0, bar.value) * scale, top + 14
        parts.append(f'<text class="end" x="{_LABEL - 8}" y="{text_at}">{escape(bar.label)}</text>')
        kind = "bar ours" if bar.is_ours else "bar"
        parts.append(f'<rect class="{kind}" x="{_LABEL}" y="{top}" width="{width:.1f}" height="{_BAR - 8}" rx="2"/>')
        least, greatest = (_LABEL + max(0.0, value) * scale for value in (bar.least, bar.greatest))
        middle = top + (_BAR - 8) / 2
        parts.append(f'<line class="axis" x1="{least:.1f}" y1="{middle}" x2="{greatest:.1f}" y2="{middle}"/>')
        parts.append(
            f'<text x="{max(_LABEL + width, greatest) + 8:.1f}" y="{text_at}">{number(bar.value)} {unit}</text>'
        )
    return _svg(title, height, parts)


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a line: the median, with the least and the greatest value."""

    x: float
    value: float
    least: float
    greatest: float


_LEFT, _RIGHT, _BOTTOM, _HEIGHT = 70, 30, 52, 300


def line(title: str, x_axis: str, unit: str, points: Sequence[Point]) -> str:
    """A line over a logarithmic axis, on which 0 is one step left of the rest; the axis of values begins at zero."""
    positions = _positions([point.x for point in points])
    top = _nice(max(point.greatest for point in points))
    scale_y = (_HEIGHT - _TOP - _BOTTOM) / top

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - value * scale_y

    parts = []
    for step in range(5):
        value = top * step / 4
        parts.append(
            f'<line class="axis" x1="{_LEFT}" y1="{y(value):.1f}" x2="{_WIDTH - _RIGHT}" y2="{y(value):.1f}"/>'
        )
        parts.append(f'<text class="end" x="{_LEFT - 8}" y="{y(value) + 4:.1f}">{number(value) if value else 0}</text>')
    for position, point in zip(positions, points, strict=True):
        parts.append(f'<text class="middle" x="{position:.1f}" y="{_HEIGHT - _BOTTOM + 20}">{_short(point.x)}</text>')
        ends = f'y1="{y(point.least):.1f}" x2="{position:.1f}" y2="{y(point.greatest):.1f}"'
        parts.append(f'<line class="spread" x1="{position:.1f}" {ends}/>')
        parts.append(f'<circle class="ours" cx="{position:.1f}" cy="{y(point.value):.1f}" r="3.5"/>')
    path = " ".join(f"{position:.1f},{y(point.value):.1f}" for position, point in zip(positions, points, strict=True))
    parts.append(f'<polyline class="line" points="{path}"/>')
    parts.append(f'<text class="middle" x="{_WIDTH / 2}" y="{_HEIGHT - 10}">{escape(x_axis)}</text>')
    return _svg(f"{title}: {unit} for a request", _HEIGHT, parts)


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    lines: Iterator[str] = iter(parts)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" role="img">'
    name = escape(title)
    return "\n".join(
        [
            head,
            f"<title>{name}</title>",
            _STYLE,
            f'<text class="title" x="8" y="22">{name}</text>',
            *lines,
            "</svg>",
            "",
        ]
    )


def _positions(values: Sequence[float]) -> list[float]:
    positive = [math.log(value) for value in values if value > 0]
    step = (positive[-1] - positive[0]) / max(1, len(positive) - 1)
    logs = [math.log(value) if value > 0 else positive[0] - step for value in values]
    width = (_WIDTH - _LEFT - _RIGHT - 40) / ((logs[-1] - logs[0]) or 1)
    return [_LEFT + 20 + (log - logs[0]) * width for log in logs]


def _nice(value: float) -> float:
    """The end of an axis: the next round number."""
    power: float = 10 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10) if factor * power >= value)


def _short(value: float) -> str:
    for size, unit in ((2**20, "Mi"), (2**10, "Ki")):
        if value >= size and value % size == 0:
            return f"{value / size:g} {unit}"
    for size, unit in ((10**6, "M"), (10**4, "k")):
        if value >= size:
            return f"{value / (10**6 if unit == 'M' else 1000):.3g} {unit}"
    return f"{value:g}"
