"""docs/performance.md: the texts between its markers, and its charts."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..harness.plan import Plan
from ..harness.target import number
from ..measures.breakdown import Part, breakdown
from ..measures.curves import UNIT, Curve
from ..measures.objects import Request, lines, objects
from ..measures.threads import Scaling, scaling
from . import chart
from .chart import Bar, Point
from .table import Lines, Row, markdown, table
from .targets import targets

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
CHARTS = PAGE.parent / "charts"
TEXTS = ("machine", "targets", "table", "breakdown", "counts", "files", "curves", "workers")
"""The names of the markers."""


def write_page(plan: Plan, rows: Sequence[Row], method: str, labels: Mapping[str, str]) -> None:
    """Takes the measures that the table does not have, and rewrites the page and its charts.

    `labels` are the names of the compared servers in the chart, by row.
    """
    parts, scales, request = breakdown(plan), scaling(plan), objects()
    curves = [row.curve for row in rows if row.curve]
    CHARTS.mkdir(exist_ok=True)
    tables = (
        targets(rows),
        table(rows),
        _breakdown_table(parts),
        _counts_table(request),
        _files_table(request),
        _curves_table(curves),
        _scaling_table(scales),
    )
    page = PAGE.read_text()
    for name, text in zip(TEXTS, (f"```text\n{method}\n```", *map(markdown, tables)), strict=True):
        page = replace(page, name, text)
    (CHARTS / "peers.svg").write_text(_peers(rows, labels))
    (CHARTS / "breakdown.svg").write_text(chart.bars("One request, microseconds", "µs", [_bar(part) for part in parts]))
    for curve in (curve for curve in curves if f"charts/{curve.name}.svg" in page):
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
    beside = [row for row in rows if row.name in labels and row.theirs]
    found = [(labels[row.name], row.theirs) for row in beside]
    found.append(("wagi-gateway", beside[0].ours))
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


def _breakdown_table(parts: Sequence[Part]) -> Lines:
    lines: list[Sequence[str]] = [("part", "µs", "spread", "measured as")]
    for part in parts:
        spread = f"{number(min(part.values))} to {number(max(part.values))}"
        lines.append((part.name, number(part.median), spread, part.how))
    return [*lines, ("all", number(sum(part.median for part in parts)), "", "")]


def _counts_table(request: Request) -> Lines:
    return [
        ("of one hello request", "number"),
        ("calls of Python functions of this package", str(request.own_calls)),
        ("calls of Python functions of other packages", str(request.calls - request.own_calls)),
        ("calls of functions in C", str(request.c_calls)),
        ("objects in new blocks", str(request.objects)),
    ]


def _files_table(request: Request) -> Lines:
    files = [(str(file), lines(file), count) for file, count in sorted(request.files.items())]
    total = ("all", f"{sum(length for _, length, _ in files):,}", str(request.own_calls))
    return [("file", "lines", "calls"), *((name, str(length), str(count)) for name, length, count in files), total]


def _scaling_table(scales: Sequence[Scaling]) -> Lines:
    return [
        ("guest", "1 worker", "2 workers", "times"),
        *((scale.guest, _rate(scale.one), _rate(scale.two), number(scale.ratio)) for scale in scales),
    ]


def _rate(values: Sequence[float]) -> str:
    return f"{number(statistics.median(values))}/s ({number(min(values))}-{number(max(values))})"


def _curves_table(curves: Sequence[Curve]) -> Lines:
    table: list[Sequence[str]] = [("what grows", "from", "to", "cost from", "to")]
    for curve in curves:
        (first, begin), *_, (last, end) = curve.medians
        costs = (f"{number(begin)} {UNIT}", f"{number(end)} {UNIT}")
        table.append((f"{curve.title}: {curve.axis}", f"{first:,.0f}", f"{last:,.0f}", *costs))
    return table
