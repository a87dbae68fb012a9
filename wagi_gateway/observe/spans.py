"""Spans of requests, guests and outbound calls, with OpenTelemetry's semantic conventions for HTTP, and their export.

Spans have no query, no header field and no path of an outbound call: these may hold secrets.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from ..cgi.request import Authority, RequestHead
from ..cgi.trace import TraceContext
from ..version import __version__
from .access import MAX_TARGET
from .log import logger
from .worker_metrics import NO_ROUTE, failure_of, trap_of

if TYPE_CHECKING:
    from ..outbound.client import Call, OnCallEnd
    from ..outbound.destination import Destination
    from ..outbound.request import Fields
    from ..sandbox.guest import Guest

_FLUSH_TIMEOUT = 2.0
"""Seconds to export the last spans at the shutdown."""
_METHODS = frozenset("GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY".split())
_ROOT = Context()


class Tracer:
    """Creates spans, and exports them on a thread of its own; spans beyond the queue of the exporter are dropped."""

    def __init__(self) -> None:
        """The `OTEL_*` variables of the environment configure endpoint and sampling. Raises ValueError."""
        for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
            if (protocol := os.environ.get(name, "")) not in ("", "http/protobuf"):
                raise ValueError(f"{name}={protocol}: spans are sent as http/protobuf, usually to port 4318")
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("wagi-gateway", __version__)

    def start(self, name: str, kind: SpanKind, parent: Context = _ROOT) -> Span:
        """Starts a span."""
        return self._tracer.start_span(name, parent, kind)

    def begin(self, request: RequestHead, trace: TraceContext | None) -> RequestSpan:
        """Starts the span of a request, in the trace of its field traceparent, if there is one."""
        return RequestSpan(self, request, trace)

    def close(self) -> None:
        """Exports the remaining spans; after _FLUSH_TIMEOUT seconds the rest is lost."""
        closing = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(_FLUSH_TIMEOUT)
        if closing.is_alive():
            logger.warning("the last spans could not be sent in %g s, and are lost", _FLUSH_TIMEOUT)


class RequestSpan:
    """The span of a request, from its head to the end of its response; parent of the spans of its guest and calls."""

    __slots__ = ("_guest", "_request", "_span", "_started", "_tracer", "trace")

    def __init__(self, tracer: Tracer, request: RequestHead, trace: TraceContext | None) -> None:
        self._tracer = tracer
        self._request = request
        self._started = time.time_ns()
        self._span = tracer.start(_method(request.method), SpanKind.SERVER, _remote(trace) if trace else _ROOT)
        self._guest = self._span
        """The span of the running guest: the parent of calls."""
        self.trace = _trace(self._span)
        """The trace context that the guest receives in its environment."""

    def begin_guest(self, source: str, entrypoint: str) -> Callable[[Guest], None] | None:
        """Starts the span of a guest, and returns the function that ends the span; None if the trace is not sampled."""
        if not self._span.is_recording():
            return None
        span = self._guest = self._tracer.start("guest", SpanKind.INTERNAL, set_span_in_context(self._span, _ROOT))

        def end(guest: Guest) -> None:
            outcome = guest.outcome
            if outcome is None:
                return
            attributes: dict[str, AttributeValue] = {
                "wagi.module": source,
                "wagi.entrypoint": entrypoint,
                "wagi.guest.executor": guest.executor,
                "wagi.guest.seconds": outcome.seconds,
            }
            if outcome.kind == "exit":
                attributes["process.exit.code"] = outcome.code
            if failure := failure_of(outcome, guest.stop_reason):
                attributes["error.type"] = trap_of(outcome) if failure == "trap" else failure
                span.set_status(Status(StatusCode.ERROR))
            span.set_attributes(attributes)
            span.end()

        return end

    def begin_call(self, method: str, destination: Destination) -> tuple[Fields, OnCallEnd]:
        """Starts the span of an outbound call, and returns its trace fields and the function that ends the span.

        Called on the guest's thread.
        """
        if not self._span.is_recording():
            return self.trace.fields, _nothing
        span = self._tracer.start(_method(method), SpanKind.CLIENT, set_span_in_context(self._guest, _ROOT))

        def end(call: Call) -> None:
            attributes: dict[str, AttributeValue] = {
                **_method_attributes(method),
                "server.address": destination.host,
                "server.port": destination.port,
                "url.scheme": destination.scheme,
            }
            if call.status is not None:
                attributes["http.response.status_code"] = call.status
            if call.redirects:
                attributes["http.request.resend_count"] = call.redirects
            if call.outcome != "answered" or (call.status or 0) >= 400:
                attributes["error.type"] = str(call.status) if call.outcome == "answered" else call.outcome
                span.set_status(Status(StatusCode.ERROR))
            span.set_attributes(attributes)
            span.end()

        return _trace(span).fields, end

    def end(
        self, *, route: str, authority: Authority | None, status: int, seconds: float, error: str | None = None
    ) -> None:
        """Ends the span; `error` is the gateway's failure in one word, the attribute error.type."""
        if not self._span.is_recording():
            return
        request, span = self._request, self._span
        attributes: dict[str, AttributeValue] = {
            **_method_attributes(request.method),
            "url.path": request.raw_path[:MAX_TARGET].decode("utf-8", "backslashreplace"),
            "url.scheme": request.scheme,
            "network.protocol.version": request.http_version,
            "http.response.status_code": status,
            "wagi.request.id": request.request_id,
        }
        if route != NO_ROUTE:
            attributes["http.route"] = route
            span.update_name(f"{_method(request.method)} {route}")
        if authority:
            attributes["server.address"] = authority.name.decode("latin-1")
            if authority.port:
                attributes["server.port"] = int(authority.port)
        if request.client:
            attributes["client.address"] = request.client[0]
        if error:
            attributes["error.type"] = error
            span.set_status(Status(StatusCode.ERROR))
        span.set_attributes(attributes)
        span.end(self._started + int(seconds * 1e9))


def _resource() -> Resource:
    """The attributes of the service; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override them."""
    own: dict[str, AttributeValue] = {
        "service.name": "wagi-gateway",
        "service.version": __version__,
        "process.pid": os.getpid(),
    }
    return Resource.create({**own, **(OTELResourceDetector().detect().attributes or {})})


def _nothing(_call: Call) -> None:
    pass


def _method(method: str) -> str:
    """The method in a span's name, "HTTP" for unknown ones: a client may send any method, and names need few values."""
    return method if method in _METHODS else "HTTP"


def _method_attributes(method: str) -> dict[str, AttributeValue]:
    if method in _METHODS:
        return {"http.request.method": method}
    return {"http.request.method": "_OTHER", "http.request.method_original": method[:64]}


def _remote(trace: TraceContext) -> Context:
    """The client's span as the parent of other spans."""
    _, trace_id, span_id, flags = trace.parent.decode().split("-")
    context = SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState.from_header([trace.state.decode()]) if trace.state else None,
    )
    return set_span_in_context(NonRecordingSpan(context), _ROOT)


def _trace(span: Span) -> TraceContext:
    """The trace context of a span, for the fields traceparent and tracestate."""
    context = span.get_span_context()
    parent = b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags)
    return TraceContext(parent, context.trace_state.to_header().encode() if context.trace_state else b"")
