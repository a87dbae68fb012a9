"""The table of metrics."""

from __future__ import annotations

import json

from wagi_gateway.observe.metrics import BOUNDS, BY_NAME, METRICS, REQUESTS


def test_every_metric_is_of_a_good_name() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) > 30
    for metric in METRICS:
        assert metric.name.startswith(("wagi_", "process_"))
        assert metric.name.endswith("_total") == (metric.kind == "counter")


def test_a_key_names_the_metric_and_its_labels() -> None:
    assert json.loads(REQUESTS.key("/a", "200")) == ["wagi_requests_total", "/a", "200"]
    assert BY_NAME[str(REQUESTS)] is REQUESTS


def test_bounds_of_histograms_increase() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))
