"""The spans of requests, guests and outbound calls, named by OpenTelemetry's conventions for HTTP, and their way out.

Nothing a client or guest may keep secret is in them: no query, no header field, no path of an outbound call.
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

from .. import __version__
from ..cgi.request import Authority, RequestHead
from ..cgi.trace import TraceContext
from .access_log import MAX_TARGET
from .log import logger
from .worker_metrics import NO_ROUTE, failure_of, trap_of

if TYPE_CHECKING:
    from ..outbound.client import Call, OnCall
    from ..outbound.destination import Destination
    from ..outbound.request import Fields
    from ..sandbox.guest import Guest

_FLUSH = 2.0
"""Seconds in which the last spans may be sent at the end."""
_METHODS = frozenset("GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY".split())
_ROOT = Context()


class Tracer:
    """Makes spans and sends them on, from a thread of its own; what cannot be sent in time is dropped."""

    def __init__(self) -> None:
        """The `OTEL_*` variables of the environment say where to, and how many. Raises ValueError."""
        for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
            if (protocol := os.environ.get(name, "")) not in ("", "http/protobuf"):
                raise ValueError(f"{name}={protocol}: spans are sent as http/protobuf, usually to port 4318")
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("wagi-gateway", __version__)

    def start(self, name: str, kind: SpanKind, parent: Context = _ROOT) -> Span:
        """A span that begins now."""
        return self._tracer.start_span(name, parent, kind)

    def begin(self, request: RequestHead, trace: TraceContext | None) -> RequestSpan:
        """The span of a request, in the trace it says it belongs to."""
        return RequestSpan(self, request, trace)

    def close(self) -> None:
        """Sends what is left; what takes longer than some seconds is lost."""
        closing = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(_FLUSH)
        if closing.is_alive():
            logger.warning("the last spans could not be sent in %g s, and are lost", _FLUSH)


class RequestSpan:
    """One request from its head to the end of its response; guests and calls are below it."""

    __slots__ = ("_guest", "_request", "_span", "_started", "_tracer", "trace")

    def __init__(self, tracer: Tracer, request: RequestHead, trace: TraceContext | None) -> None:
        self._tracer = tracer
        self._request = request
        self._started = time.time_ns()
        self._span = tracer.start(_method(request.method), SpanKind.SERVER, _remote(trace) if trace else _ROOT)
        self._guest = self._span
        """The guest that runs; calls are made by it."""
        self.trace = _trace(self._span)
        """What the guest is told."""

    def begin_guest(self, source: str, entrypoint: str) -> Callable[[Guest], None] | None:
        """A guest is about to run; what is returned is called when it has ended."""
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

    def begin_call(self, method: str, destination: Destination) -> tuple[Fields, OnCall]:
        """An outbound call is about to be made. Called on the guest's thread."""
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
        """The request is over; `error` is what went wrong on this side, in one word."""
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
    """Who speaks; the environment may say it otherwise."""
    own: dict[str, AttributeValue] = {
        "service.name": "wagi-gateway",
        "service.version": __version__,
        "process.pid": os.getpid(),
    }
    return Resource.create({**own, **(OTELResourceDetector().detect().attributes or {})})


def _nothing(_call: Call) -> None:
    pass


def _method(method: str) -> str:
    """A span's name has few values, and a client may send any method."""
    return method if method in _METHODS else "HTTP"


def _method_attributes(method: str) -> dict[str, AttributeValue]:
    if method in _METHODS:
        return {"http.request.method": method}
    return {"http.request.method": "_OTHER", "http.request.method_original": method[:64]}


def _remote(trace: TraceContext) -> Context:
    """The caller's span, as a parent."""
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
    """A span, as the parent of others."""
    context = span.get_span_context()
    parent = b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags)
    return TraceContext(parent, context.trace_state.to_header().encode() if context.trace_state else b"")
