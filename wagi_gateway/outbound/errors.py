"""Why a call is not made or not finished, and the number `wasi_experimental_http` has for it.

    OutboundError
    ├── InvalidHandle          1  no response is open under this number
    ├── BufferTooSmall         4  the guest's memory ends before its text, or its buffer before the answer
    ├── HeaderNotFound         5  the response has no such header
    ├── NotUtf8                6  a text is not UTF-8
    ├── DestinationNotAllowed  7  `allowed_hosts` does not permit the destination, or the address it resolves to
    ├── InvalidMethod          8  the method is no token, or is CONNECT
    ├── InvalidEncoding        9  a request header is malformed
    ├── InvalidUrl            10  the URL cannot be parsed, or has no host
    ├── RequestFailed         11  connecting, sending or receiving failed, or a limit was reached
    │   ├── OutOfTime         11  `limits.http_time` or `limits.http_connect_time`
    │   └── CallStopped       11  the guest has to end, and its call with it
    ├── BodyFailed            12  the response ended early, or its headers cannot be handed over
    └── TooManySessions       13  `http_max_concurrency` or `limits.http_calls`

2 (the module exports no memory) and 3 (a result cannot be written to it) belong to `sandbox.calls`, which alone sees
the guest's memory. The text is for the operator's log; the guest gets the number. Source: the crate
wasi-experimental-http-wasmtime 0.10, whose numbers modules were compiled against.
"""

from __future__ import annotations

from ..errors import GatewayError


class OutboundError(GatewayError):
    """A call that was not made or not finished."""

    code = 0
    outcome = "refused"
    """What it counts as: `refused` before anything was sent, `denied`, `failed`, `timeout` or `stopped`."""

    def __init__(self, message: str = "", *, limit: str | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        """The setting whose bound was reached, if it was one."""


class InvalidHandle(OutboundError):
    """No response is open under this number."""

    code = 1


class BufferTooSmall(OutboundError):
    """The guest's memory ends before its text, or its buffer before the answer."""

    code = 4


class HeaderNotFound(OutboundError):
    """The response has no such header."""

    code = 5


class NotUtf8(OutboundError):
    """A text is not UTF-8."""

    code = 6


class DestinationNotAllowed(OutboundError):
    """`allowed_hosts` does not permit the destination, or the address it resolves to."""

    code = 7
    outcome = "denied"


class InvalidMethod(OutboundError):
    """The method is no token, or is CONNECT."""

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
    """The call took longer than it may."""

    outcome = "timeout"


class CallStopped(RequestFailed):
    """The guest has to end, and its call with it."""

    outcome = "stopped"


class BodyFailed(OutboundError):
    """The response ended early, or its headers cannot be handed over."""

    code = 12
    outcome = "failed"


class TooManySessions(OutboundError):
    """Too many responses are open, or too many calls were made."""

    code = 13
