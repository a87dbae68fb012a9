"""The outbound calls of one invocation: their open responses by handle, their limits and redirects."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Protocol

import httpcore2

from .client import Call, OnBegin, OnCallEnd, OutboundClient
from .deadline import CallDeadline, Waiter
from .destination import Destination
from .errors import (
    BodyFailed,
    CallTimeout,
    HeaderNotFound,
    InvalidHandle,
    InvalidUrl,
    OutboundError,
    RequestFailed,
    TooManySessions,
)
from .request import MAX_REDIRECTS, Request, add_trace_context, check_method, parse_fields
from .response import OpenResponse

_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_HTTPCORE_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
)


class CallArguments(Protocol):
    """The arguments of a call in the guest's memory. Each is read when it is needed, and may raise OutboundError."""

    def url(self) -> str:
        """The URL."""

    def method(self) -> str:
        """The method."""

    def body(self) -> bytes:
        """The request body."""

    def headers(self) -> str:
        """The header section in lines of `name:value`."""


class _OpenCall:
    """A call under way, and the facts for its log record."""

    def __init__(self, on_call_end: OnCallEnd) -> None:
        self._on_call_end = on_call_end
        self._started = time.perf_counter()
        self._is_over = False
        self.failure: OutboundError | None = None
        self.origin = "-"
        self.method = "-"
        self.sent = 0
        self.redirects = 0
        self.status: int | None = None
        self.response: OpenResponse | None = None
        self.on_end: OnCallEnd | None = None

    def end(self, error: OutboundError | None = None) -> None:
        """Ends the call: returns its connection and records the call, once."""
        if self.response:
            self.response.close()
        if not self._is_over:
            self._is_over = True
            self.failure = error
            call = Call(
                method=self.method,
                origin=self.origin,
                outcome=error.outcome if error else "answered",
                status=self.status,
                reason=str(error) if error else "",
                seconds=time.perf_counter() - self._started,
                sent=self.sent,
                received=self.response.received if self.response else 0,
                redirects=self.redirects,
                limit=error.limit if error else None,
            )
            self._on_call_end(call)
            if self.on_end:
                self.on_end(call)


class OutboundSession:
    """The outbound calls of one invocation, on the invocation's thread; `end` follows the end of the guest."""

    __slots__ = ("_client", "_count", "_next_handle", "_on_begin", "_on_call_end", "_open")

    def __init__(self, client: OutboundClient, on_call_end: OnCallEnd, on_begin: OnBegin | None = None) -> None:
        """`on_begin` is called before a call is sent, `on_call_end` with each finished call, on the guest's thread."""
        self._client = client
        self._on_call_end = on_call_end
        self._on_begin = on_begin
        self._open: dict[int, _OpenCall] = {}
        self._next_handle = 0
        self._count = 0

    def request(self, arguments: CallArguments, guest: Waiter) -> tuple[int, int]:
        """Makes a call; returns the status and the handle of the response. Raises OutboundError."""
        self._count += 1
        if self._count > self._client.limits.http_calls + 1:
            raise TooManySessions("too many calls")  # later calls over the limit are not logged; the first one is
        call = _OpenCall(self._on_call_end)
        try:
            self._check_limits()
            return self._begin(call, arguments, guest)
        except OutboundError as error:
            if call.method == "-":
                with suppress(OutboundError):
                    call.method = check_method(arguments.method())
            call.end(error)
            raise

    def close(self, handle: int) -> None:
        """Closes a response; an unknown handle is no error."""
        if call := self._open.pop(handle, None):
            call.end()

    def header(self, handle: int, name: str) -> bytes:
        """The first value of a response header. Raises InvalidHandle, HeaderNotFound."""
        value = self._find(handle)[1].value(name.lower().encode())
        if value is None:
            raise HeaderNotFound(name)
        return value

    def headers(self, handle: int) -> bytes:
        """All response headers as lines `name:value`. Raises InvalidHandle, BodyFailed."""
        lines = b"".join(b"%b:%b\n" % header for header in self._find(handle)[1].headers)
        try:
            is_text = not _CONTROL_CHARACTER.search(lines.decode())
        except UnicodeDecodeError:
            is_text = False
        if not is_text:
            raise BodyFailed("a response header is not text")
        return lines

    def check_handle(self, handle: int) -> None:
        """Raises InvalidHandle if no open response has the handle."""
        self._find(handle)

    def read(self, handle: int, size: int) -> memoryview:
        """Reads up to `size` bytes of a response body; none at its end. Raises InvalidHandle, BodyFailed."""
        call, response = self._find(handle)
        if call.failure is None:
            try:
                data = response.read(size)
                if response.has_ended:
                    call.end()
                return data
            except (OutboundError, *_HTTPCORE_ERRORS) as error:
                call.end(_as_outbound_error(error))
        raise BodyFailed(str(call.failure))

    def end(self) -> None:
        """Closes the responses that the guest has left open."""
        while self._open:
            self._open.popitem()[1].end()

    def _check_limits(self) -> None:
        if len(self._open) >= self._client.max_open:
            what = f"{len(self._open)} responses are open (http_max_concurrency)"
            raise TooManySessions(what, limit="http_max_concurrency")
        if self._count > self._client.limits.http_calls:
            what = f"more than limits.http_calls ({self._client.limits.http_calls}) in one request"
            raise TooManySessions(what, limit="http_calls")

    def _begin(self, call: _OpenCall, arguments: CallArguments, guest: Waiter) -> tuple[int, int]:
        limits = self._client.limits
        url = arguments.url()
        try:
            destination = Destination.parse(url)
        except ValueError:
            # The message does not quote the URL: paths and queries hold tokens.
            raise InvalidUrl(f"the URL ({len(url)} characters) cannot be parsed or names no host") from None
        call.origin = destination.origin
        public_only = self._client.check(destination)
        call.method = check_method(arguments.method())
        body = arguments.body()
        fields = parse_fields(arguments.headers())
        if self._on_begin:
            trace, call.on_end = self._on_begin(call.method, destination)
            fields = add_trace_context(fields, trace)
        request = Request(call.method, fields, body)
        call.sent = len(body)
        deadline = CallDeadline(guest, limits.http_time, limits.http_connect_time)
        try:
            response = self._follow(call, request, destination, deadline, public_only=public_only)
        except _HTTPCORE_ERRORS as error:
            raise _as_outbound_error(error) from None
        while self._next_handle in self._open:
            self._next_handle += 1
        self._open[self._next_handle] = call
        if response.has_ended:
            call.end()
        return response.status, self._next_handle

    def _follow(
        self, call: _OpenCall, request: Request, destination: Destination, deadline: CallDeadline, *, public_only: bool
    ) -> OpenResponse:
        """Sends a request and follows redirects; returns the last response."""
        while True:
            deadline.begin_hop(public_only=public_only, is_secure=destination.scheme == "https")
            response = self._send(call, request, destination, deadline)
            location = response.location()
            if location is None:
                return response
            response.close()
            if call.redirects == MAX_REDIRECTS:
                raise RequestFailed(f"more than {MAX_REDIRECTS} redirects")
            call.redirects += 1
            call.status = None
            try:
                target = Destination.parse(location, destination)
            except ValueError:
                raise RequestFailed("a redirect to what is no URL") from None
            call.origin = target.origin
            public_only = self._client.check(target)
            request, destination = request.redirected(response.status, destination, target), target

    def _send(
        self, call: _OpenCall, request: Request, destination: Destination, deadline: CallDeadline
    ) -> OpenResponse:
        response = self._client.send(request, destination, deadline)
        call.status = response.status
        call.response = OpenResponse(response, self._client.limits.http_response, is_head=request.method == "HEAD")
        call.response.check_head(self._client.limits.http_headers)
        call.response.prepare()
        return call.response

    def _find(self, handle: int) -> tuple[_OpenCall, OpenResponse]:
        call = self._open.get(handle)
        if call is None or call.response is None:
            raise InvalidHandle(f"no response is open under the handle {handle}")
        return call, call.response


def _as_outbound_error(error: Exception) -> OutboundError:
    """An error of httpcore2 as an OutboundError."""
    if isinstance(error, OutboundError):
        return error
    if isinstance(error, httpcore2.TimeoutException):
        return CallTimeout(str(error))
    return RequestFailed(str(error) or type(error).__name__)
