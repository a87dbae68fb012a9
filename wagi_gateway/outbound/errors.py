"""Errors of outbound calls, each with its error code in `wasi_experimental_http`.

    OutboundError
    ├── InvalidHandle          1  no open response has this handle
    ├── BufferTooSmall         4  an argument reaches past the guest's memory, or the guest's buffer is too small
    ├── HeaderNotFound         5  the response has no such header
    ├── NotUtf8                6  an argument is not UTF-8
    ├── DestinationNotAllowed  7  `allowed_hosts` does not permit the destination, or the address it resolves to
    ├── InvalidMethod          8  the method is not a token, or is CONNECT
    ├── InvalidEncoding        9  a request header is malformed
    ├── InvalidUrl            10  the URL cannot be parsed, or has no host
    ├── RequestFailed         11  connecting, sending or receiving failed, or a limit was reached
    │   ├── CallTimeout       11  `limits.http_time` or `limits.http_connect_time`
    │   └── CallStopped       11  the guest has to end
    ├── BodyFailed            12  the response ended early, or its headers are not text
    └── TooManySessions       13  `http_max_concurrency` or `limits.http_calls`

The codes 2 (the module exports no memory) and 3 (a result cannot be written to it) belong to
`sandbox.experimental_http`, which alone accesses the guest's memory. The message is for the operator's log; the guest
gets the code. Source: the crate wasi-experimental-http-wasmtime 0.10, which defines the codes that modules were
compiled against.
"""

from __future__ import annotations

from ..errors import GatewayError


class OutboundError(GatewayError):
    """The base class: a call that was not made or not finished."""

    code = 0
    outcome = "refused"
    """`Call.outcome`: `denied` or `refused` before anything was sent, else `failed`, `timeout` or `stopped`."""

    def __init__(self, message: str = "", *, limit: str | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        """The setting whose bound was reached, if it was one."""


class InvalidHandle(OutboundError):
    """No open response has this handle."""

    code = 1


class BufferTooSmall(OutboundError):
    """An argument reaches past the guest's memory, or the guest's buffer is too small."""

    code = 4


class HeaderNotFound(OutboundError):
    """The response has no such header."""

    code = 5


class NotUtf8(OutboundError):
    """An argument is not UTF-8."""

    code = 6


class DestinationNotAllowed(OutboundError):
    """`allowed_hosts` does not permit the destination, or the address it resolves to."""

    code = 7
    outcome = "denied"


class InvalidMethod(OutboundError):
    """The method is not a token, or is CONNECT."""

    code = 8


class InvalidEncoding(OutboundError):
    """A request header is malformed."""

    code = 9


class InvalidUrl(OutboundError):
    """The URL cannot be parsed, or has no host."""

    code = 10


class RequestFailed(OutboundError):
    """Connecting, sending or receiving failed, or a limit was reached."""

    code = 11
    outcome = "failed"


class CallTimeout(RequestFailed):
    """`limits.http_time` or `limits.http_connect_time` is over."""

    outcome = "timeout"


class CallStopped(RequestFailed):
    """The guest has to end."""

    outcome = "stopped"


class BodyFailed(OutboundError):
    """The response ended early, or its headers are not text."""

    code = 12
    outcome = "failed"


class TooManySessions(OutboundError):
    """Too many responses are open, or too many calls were made."""

    code = 13
