"""The spans that a tracer exports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.collector import Collector, Status, attributes, collecting
from wagi_gateway.cgi.request import RequestHead
from wagi_gateway.cgi.trace import TraceContext
from wagi_gateway.observe.spans import Tracer
from wagi_gateway.observe.worker_metrics import NO_ROUTE

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        for name, value in collector.environment.items():
            monkeypatch.setenv(name, value)
        yield collector


def head(method: str = "GET") -> RequestHead:
    return RequestHead(
        method=method,
        raw_path=b"/a/b",
        query=b"token=secret",
        http_version="1.1",
        scheme="http",
        headers=(),
        client=("192.0.2.1", 1),
        server=None,
        request_id="r1",
    )


def test_a_request_in_the_trace_of_its_client(collector: Collector) -> None:
    parent = TraceContext(f"00-{TRACE_ID}-{PARENT_ID}-01".encode())
    with closing(Tracer()) as tracer:
        span = tracer.begin(head(), parent)
        span.end(route="/a/...", authority=None, status=200, seconds=0.5)
    (exported,) = collector.wait_for(1)
    assert (exported.trace_id.hex(), exported.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert span.trace.parent == f"00-{TRACE_ID}-{exported.span_id.hex()}-01".encode()
    assert exported.name == "GET /a/..."
    seconds = (exported.end_time_unix_nano - exported.start_time_unix_nano) / 1e9
    assert seconds == pytest.approx(0.5, abs=0.4)
    assert attributes(exported.attributes) == {
        "http.request.method": "GET",
        "url.path": "/a/b",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
        "http.route": "/a/...",
        "client.address": "192.0.2.1",
        "wagi.request.id": "r1",
    }


def test_a_request_that_fails_with_a_method_of_its_own(collector: Collector) -> None:
    with closing(Tracer()) as tracer:
        span = tracer.begin(head("BREW"), None)
        span.end(route=NO_ROUTE, authority=None, status=500, seconds=0.1, error="trap")
    (exported,) = collector.wait_for(1)
    found = attributes(exported.attributes)
    assert exported.name == "HTTP"
    assert (found["http.request.method"], found["http.request.method_original"]) == ("_OTHER", "BREW")
    assert found["error.type"] == "trap"
    assert "http.route" not in found
    assert exported.status.code == Status.STATUS_CODE_ERROR


def test_a_trace_that_is_not_sampled_is_handed_on_and_not_exported(collector: Collector) -> None:
    with closing(Tracer()) as tracer:
        span = tracer.begin(head(), TraceContext(f"00-{TRACE_ID}-{PARENT_ID}-00".encode()))
        span.end(route="/a/...", authority=None, status=200, seconds=0.1)
    assert span.trace.parent.startswith(f"00-{TRACE_ID}-".encode())
    assert span.trace.parent.endswith(b"-00")
    assert collector.spans == []
