"""An OpenTelemetry collector, which decodes spans in OTLP over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.conftest import wait_until
from tests.support.http_server import LoopbackServer

__all__ = ["Collector", "Span", "Status", "attributes", "collecting"]


@dataclass(slots=True)
class Collector:
    """The export requests that have arrived."""

    url: str
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a gateway that exports its spans to this collector without delay."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}

    @property
    def spans(self) -> list[Span]:
        """All spans, in the order of their start times."""
        spans = [
            span for request in self.requests for r in request.resource_spans for s in r.scope_spans for span in s.spans
        ]
        return sorted(spans, key=lambda span: span.start_time_unix_nano)

    @property
    def resources(self) -> list[dict[str, str | int | float]]:
        """The attributes of the resource of each export."""
        return [attributes(r.resource.attributes) for request in self.requests for r in request.resource_spans]

    def wait_for(self, count: int) -> list[Span]:
        """Waits until `count` spans have arrived, and returns them; fails if more have."""
        wait_until(lambda: len(self.spans) >= count, message=lambda: f"{len(self.spans)} spans:\n{self.spans}")
        assert len(self.spans) == count, self.spans
        return self.spans


def attributes(pairs: Iterable[KeyValue]) -> dict[str, str | int | float]:
    """OTLP attributes as a dictionary."""
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A running collector."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
            collector.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = LoopbackServer("127.0.0.1", Handler, None)
    collector = Collector(server.url)
    server.start()
    try:
        yield collector
    finally:
        server.end()
