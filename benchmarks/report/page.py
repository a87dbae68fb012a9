"""docs/performance.md: the texts between its markers, and its charts."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..harness.plan import Plan
from ..harness.target import number
from ..measures.breakdown import Part, breakdown
from ..measures.curves import UNIT, Curve, curves
from ..measures.threads import Scaling, scaling
from . import chart
from .chart import Bar, Point
from .table import Row, markdown

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
CHARTS = PAGE.parent / "charts"
TEXTS = ("machine", "table", "breakdown", "workers", "curves")
"""The names of the markers."""


def write_page(plan: Plan, rows: Sequence[Row], method: str, labels: Mapping[str, str]) -> None:
    """Takes the measures that the table does not have, and rewrites the page and its charts.

    `labels` are the names of the compared servers in the chart, by row; the first row compares the gateway itself.
    """
    parts, scales, lines = breakdown(plan), scaling(plan), curves(plan)
    CHARTS.mkdir(exist_ok=True)
    texts = (
        f"```text\n{method}\n```",
        markdown(rows),
        _breakdown_table(parts),
        _scaling_table(scales),
        _curves_table(lines),
    )
    page = PAGE.read_text()
    for name, text in zip(TEXTS, texts, strict=True):
        page = replace(page, name, text)
    (CHARTS / "peers.svg").write_text(_peers(rows, labels))
    (CHARTS / "breakdown.svg").write_text(chart.bars("One request, microseconds", "µs", [_bar(part) for part in parts]))
    for curve in lines:
        (CHARTS / f"{curve.name}.svg").write_text(_line(curve))
    PAGE.write_text(page)


def replace(page: str, name: str, text: str) -> str:
    """The page with `text` between `<!-- bench: NAME -->` and `<!-- bench: end -->`."""
    pattern = re.compile(rf"(<!-- bench: {name} -->\n).*?(<!-- bench: end -->)", re.DOTALL)
    page, count = pattern.subn(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page)
    if count != 1:
        raise SystemExit(f"benchmarks: {PAGE.name} has {count} places for {name}")
    return page


def _peers(rows: Sequence[Row], labels: Mapping[str, str]) -> str:
    found = [(labels[row.name], row.theirs) for row in rows if row.name in labels]
    found += [("wagi-gateway", row.ours) for row in rows if row.name == next(iter(labels))]
    found.sort(key=lambda item: -statistics.median(item[1]))
    values = [
        Bar(label, statistics.median(rates), min(rates), max(rates), is_ours=label == "wagi-gateway")
        for label, rates in found
    ]
    return chart.bars("hello world, requests per second on one core", "/s", values)


def _bar(part: Part) -> Bar:
    return Bar(part.name, part.median, min(part.values), max(part.values))


def _line(curve: Curve) -> str:
    points = [
        Point(x, median, min(values), max(values))
        for (x, median), (_, values) in zip(curve.medians, curve.points, strict=True)
    ]
    return chart.line(curve.title, curve.axis, UNIT, points)


def _breakdown_table(parts: Sequence[Part]) -> str:
    lines = ["| part | µs | spread | measured as |", "| --- | --- | --- | --- |"]
    for part in parts:
        spread = f"{number(min(part.values))} to {number(max(part.values))}"
        lines.append(f"| {part.name} | {number(part.median)} | {spread} | {part.how} |")
    lines.append(f"| all | {number(sum(part.median for part in parts))} | | |")
    return "\n".join(lines)


def _scaling_table(scales: Sequence[Scaling]) -> str:
    lines = ["| guest | 1 worker | 2 workers | times |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {scale.guest} | {_rate(scale.one)} | {_rate(scale.two)} | {number(scale.ratio)} |" for scale in scales
    ]
    return "\n".join(lines)


def _rate(values: Sequence[float]) -> str:
    return f"{number(statistics.median(values))}/s ({number(min(values))}-{number(max(values))})"


def _curves_table(lines: Sequence[Curve]) -> str:
    rows = ["| what grows | from | to | cost from | to |", "| --- | --- | --- | --- | --- |"]
    for curve in lines:
        (first, begin), *_, (last, end) = curve.medians
        cells = f"{first:,.0f} | {last:,.0f} | {number(begin)} {UNIT} | {number(end)} {UNIT}"
        rows.append(f"| {curve.title}: {curve.axis} | {cells} |")
    return "\n".join(rows)
