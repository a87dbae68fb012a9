"""Prometheus' rules and Grafana's dashboard use only metrics that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.conftest import ROOT
from wagi_gateway.observe.metrics import METRICS
from wagi_gateway.observe.worker_metrics import _CALLS, _FAILURES, _LIMITS, _TRAPS

PAGE = (ROOT / "docs/monitoring.md").read_text()
DASHBOARD = json.loads((ROOT / "deploy/grafana/wagi-gateway.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy/prometheus/wagi-gateway.rules.yml").read_text())["groups"][0]["rules"]

_NAME = re.compile(r"\b(?:wagi|process)_[a-z_]+")
_SELECTOR = re.compile(r"((?:wagi|process)_[a-z_]+)\{([^}]*)\}")
_SERIES = {
    f"{metric.name}{suffix}": metric
    for metric in METRICS
    for suffix in (("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",))
}
_OF_THE_SCRAPE = {"instance", "job"}


def expressions(panels: list[dict[str, Any]] = DASHBOARD["panels"]) -> Iterator[str]:
    """Every query of the dashboard."""
    for panel in panels:
        yield from expressions(panel.get("panels", []))
        yield from (target["expr"] for target in panel.get("targets", []))


def check(expression: str) -> None:
    assert set(_NAME.findall(expression)) <= set(_SERIES), expression
    assert expression.count("(") == expression.count(")"), expression
    for name, selector in _SELECTOR.findall(expression):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert labels <= {*_SERIES[name].labels, *_OF_THE_SCRAPE}, expression


def test_every_query_of_the_dashboard_asks_for_what_there_is() -> None:
    queries = list(expressions())
    assert len(queries) > 30
    for query in queries:
        check(query)
    variables = [one["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    assert {name for query in variables for name in _NAME.findall(query)} <= set(_SERIES)


def test_the_dashboard_shows_every_metric_there_is() -> None:
    shown = {_SERIES[name] for query in expressions() for name in _NAME.findall(query)}
    without = {"process_virtual_memory_bytes", "process_start_time_seconds"}
    assert {metric.name for metric in METRICS} - {metric.name for metric in shown} == without


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_alert_asks_for_what_there_is_and_is_described() -> None:
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        check(rule["expr"])
    described = re.findall(r"^\| `(Wagi\w+)` \|", PAGE, re.MULTILINE)
    assert described == [rule["alert"] for rule in RULES]


def test_every_metric_is_described() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (metric.name, metric.kind, ", ".join(f"`{label}`" for label in metric.labels) or "none", metric.about)
        for metric in METRICS
    ]


def test_every_value_of_a_label_is_described() -> None:
    section = PAGE.partition("Labels have few values")[2].partition("\n## ")[0]
    for value in (*_FAILURES.values(), *_TRAPS.values(), *_LIMITS, *_CALLS):
        assert f"`{value}`" in section
