"""The metrics in Prometheus' text format."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from wagi_gateway.observe.exposition import exposition
from wagi_gateway.observe.metrics import BOUNDS
from wagi_gateway.observe.process_registry import ProcessRegistry

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8", parse_text),
        (
            "application/openmetrics-text; version=1.0.0",
            "application/openmetrics-text; version=1.0.0",
            parse_openmetrics,
        ),
    ],
    ids=["text", "OpenMetrics"],
)
def test_formats(registry: ProcessRegistry, accept: str, content_type: str, parse: object) -> None:
    assert callable(parse)
    registry.metrics.route("/hello").count_request(200, 0.003, 12)
    body, found_type = exposition(registry, accept)
    assert found_type.startswith(content_type)
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse(body.decode())
        for sample in family.samples
    }
    route = ("route", "/hello")
    assert samples["wagi_requests_total", route, ("status", "200")] == 1
    assert samples["wagi_response_bytes_total", route] == 12
    assert samples["wagi_request_duration_seconds_sum", route] == 0.003
    buckets = [samples["wagi_request_duration_seconds_bucket", ("le", str(bound)), route] for bound in BOUNDS]
    assert buckets == [float(bound >= 0.003) for bound in BOUNDS]
    assert samples["wagi_guest_limit", route] == 16
    assert samples["wagi_ready",] == 0
