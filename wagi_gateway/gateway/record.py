"""The record of one request: what the access log, the metrics and the trace show of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..cgi.request import Authority, RequestHead
from ..cgi.trace import find_trace
from ..errors import RefusedOutput, RequestError
from ..http.reply import Reply
from ..observe.access import Access
from ..observe.access_log import has_access_log, log_access
from ..observe.diagnosis import Diagnosis
from ..observe.worker_metrics import NO_ROUTE, GuestEvent, RequestEvent
from ..sandbox.guest import Guest
from ..site.site import Endpoint
from .generation import Generation

if TYPE_CHECKING:  # spans need OpenTelemetry, and httpcore is imported with the first module that makes calls
    from ..observe.spans import RequestSpan
    from ..outbound.client import OnBegin

logger = logging.getLogger("wagi_gateway")

_CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that disconnected before a response began."""


class RequestRecord:
    """Collects the facts of one request and, in `finish`, writes them to the log, the metrics and the trace."""

    __slots__ = (
        "_failure",
        "_generation",
        "_is_serious",
        "_output",
        "_request",
        "_seconds",
        "_span",
        "_started",
        "_unanswered",
        "authority",
        "config_route",
        "route",
        "trace",
    )

    def __init__(self, request: RequestHead, generation: Generation) -> None:
        """The request's time, and its span if `generation` has a tracer, begin now."""
        self._request = request
        self._started = time.perf_counter()
        self._seconds = 0.0
        self._generation = generation
        self._span: RequestSpan | None = None
        self._unanswered = 500
        """The status to log when no response began."""
        self._failure: str | None = None
        """The error that ended the request, in the words of the log."""
        self._output: RefusedOutput | None = None
        self._is_serious = True
        """Whether a failure concerns the operator and gets a warning, even without an access log."""
        self.authority: Authority | None = None
        self.route = NO_ROUTE
        """The pattern of the matched route, one of those that `_routes` prints included."""
        self.config_route = NO_ROUTE
        """The route of the matched `[[module]]`, which labels metrics: `_routes` may print any number of routes."""
        self.trace = find_trace(request)
        if generation.tracer:
            self._span = generation.tracer.begin(request, self.trace)
            self.trace = self._span.trace

    def set_error(self, error: RequestError, *, is_started: bool) -> None:
        """Records the error that ended the request, before or after its response `is_started`."""
        self._output = error.output
        self._is_serious = error.status >= 500
        self._failure = f"{error.status}: {error}" if self._is_serious and not is_started else str(error)
        if error.limit and (metrics := self._generation.metrics):
            metrics.route(self.config_route).count_limit(error.limit)

    def disconnect(self) -> None:
        """Records that the client disconnected."""
        self._failure = "the client went away"
        self._is_serious = False
        self._unanswered = _CLIENT_CLOSED_REQUEST

    def stop_clock(self) -> None:
        """Ends the request's time: the response is sent, although its guest may still run."""
        self._seconds = time.perf_counter() - self._started

    def begin_guest(self, endpoint: Endpoint) -> Callable[[Guest], None] | None:
        """Begins the guest's span. Returns the function that ends the span; None without a recorded span."""
        return self._span.begin_guest(endpoint.source, endpoint.entrypoint) if self._span else None

    def end_guest(self, guest: Guest, config_route: str, end_span: Callable[[Guest], None] | None) -> None:
        """Ends the guest's span and counts the guest under `config_route`."""
        if end_span:
            end_span(guest)
        if (metrics := self._generation.metrics) and (outcome := guest.outcome):
            event = GuestEvent(config_route, guest.executor, outcome, guest.stop_reason, guest.stderr_dropped)
            metrics.guests.append(event)

    def begin_call(self, *, is_propagated: bool) -> OnBegin | None:
        """The function that begins the span of an outbound call; the call has trace fields if `is_propagated`."""
        trace, span = self.trace, self._span
        if not is_propagated:
            return (lambda *call: ((), span.begin_call(*call)[1])) if span else None
        if span:
            return span.begin_call
        return (lambda *_call: (trace.fields, None)) if trace else None

    def warn(self, message: str) -> None:
        """Logs a warning with the request's route and id."""
        logger.warning("%s", message, extra={"fields": {"route": self.route, "id": self._request.request_id}})

    def _warn_of_failure(self, failure: str, guest: Guest | None) -> None:
        """Logs a failure; refused output, which may hold personal data, at level debug alone."""
        frames = guest.outcome.frames if guest and guest.outcome else ()
        diagnosis = Diagnosis(frames, self._output)
        fields = {"route": self.route, "id": self._request.request_id}
        logger.warning("%s", failure, extra={"fields": fields, "diagnosis": diagnosis})
        if self._output:
            offset, text = self._output.offset, self._output.beginning.decode("utf-8", "backslashreplace")
            extra = {"fields": fields, "diagnosis": diagnosis}
            logger.debug("the output, which is no response from byte %d on: %s", offset, text, extra=extra)

    def finish(self, reply: Reply, guest: Guest | None) -> None:
        """Writes the access log line and the metrics event, and ends the span. `guest` is the last guest, if any ran.

        A failure becomes a warning if it concerns the operator, else the reason in the access log line.
        """
        failure = self._failure or (guest.failure() if guest else None)
        if failure and guest:
            failure += guest.circumstances()
        has_left = self._failure is None and guest and guest.stop_reason == "disconnect"
        is_serious = self._is_serious and not has_left
        is_cut_off = failure and reply.is_started and not reply.is_ended
        if is_cut_off:
            failure = f"{failure}; the response was cut off"
        if failure and is_serious:
            self._warn_of_failure(failure, guest)
        status = reply.status or self._unanswered
        if metrics := self._generation.metrics:
            metrics.requests.append(RequestEvent(self.config_route, status, self._seconds, reply.size))
        if self._span:
            is_broken = is_cut_off and is_serious
            self._span.end(
                route=self.route,
                authority=self.authority,
                status=status,
                seconds=self._seconds,
                error=str(status) if status >= 500 else "cut_off" if is_broken else None,
            )
        if has_access_log():
            access = Access(
                self._request,
                self._generation.site.config.log.query,
                self.route,
                status,
                reply.size,
                self._seconds,
                guest.outcome.seconds if guest and guest.outcome else None,
                self.trace.trace_id if self.trace else None,
                None if is_serious else failure,
            )
            log_access(access)
