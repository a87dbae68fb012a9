"""The HTTP client of one module: its policy, its connection pool, its limits."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import httpcore2

from .deadline import CallDeadline
from .destination import Destination
from .errors import DestinationNotAllowed
from .network import Dial, Network, dial
from .policy import Policy
from .pool import Pool
from .proxy import Proxy
from .request import Fields, Request
from .resolver import Lookup, Resolver, look_up
from .stream import UnsolicitedData

_MAX_IDLE = 8
"""Idle connections in the pool."""
_IDLE_TIME = 30.0
"""Seconds after which an idle connection is closed instead of used again."""
_IDEMPOTENT = frozenset("GET HEAD OPTIONS TRACE PUT DELETE".split())


@dataclass(frozen=True, slots=True)
class Call:
    """The record of a finished call, for the log, the metrics and the trace."""

    method: str
    origin: str
    """Scheme, host and port of the last request; `-` for a URL that cannot be parsed."""
    outcome: str
    """`answered`, `denied`, `refused`, `failed`, `timeout` or `stopped`."""
    status: int | None
    reason: str
    seconds: float
    sent: int
    """Bytes of the request body; a redirect does not count them again."""
    received: int
    """Bytes of the response body that were read from the network."""
    redirects: int
    limit: str | None = None
    """The setting whose bound ended the call, if one did."""


OnCallEnd = Callable[[Call], None]
OnBegin = Callable[[str, Destination], tuple[Fields, OnCallEnd | None]]
"""Called with method and destination before a request is sent; returns the header fields of the call's trace context,
and a callback for the end of the call."""


class CallLimits(Protocol):
    """The limits of a module's calls."""

    @property
    def http_time(self) -> float:
        """Seconds of a call, from the name look-up to the last byte of the response body."""

    @property
    def http_connect_time(self) -> float:
        """Seconds of a connection's set-up."""

    @property
    def http_response(self) -> int:
        """Bytes of a response body."""

    @property
    def http_headers(self) -> int:
        """Bytes of a response's header section."""

    @property
    def http_calls(self) -> int:
        """Calls of one invocation."""


class OutboundClient:
    """The HTTP client of all guests of one module. Modules share no connection."""

    def __init__(
        self,
        policy: Policy,
        limits: CallLimits,
        max_open: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        lookup: Lookup = look_up,
        dial: Dial = dial,
    ) -> None:
        """`max_open` is `http_max_concurrency`, `ssl_context` verifies servers; `lookup` and `dial` replace the
        system's resolver and network."""
        self.limits = limits
        self.max_open = max_open
        self._policy = policy
        self._proxy = proxy
        self._pool = Pool(
            ssl_context=ssl_context,
            max_connections=None,
            max_keepalive_connections=_MAX_IDLE,
            keepalive_expiry=_IDLE_TIME,
            network_backend=Network(policy, Resolver(lookup), proxy=proxy, dial=dial),
        )

    def check(self, destination: Destination) -> bool:
        """Checks a destination against the policy. Raises DestinationNotAllowed.

        Returns whether only public addresses may be connected to.
        """
        public_only = self._policy.check(destination)
        if public_only and self._proxy and destination.address is None:
            raise DestinationNotAllowed(
                f"{destination.origin} would be resolved by the proxy, so that nobody knows whether its address is "
                "public; name the host in allowed_hosts, or set allow_private_networks"
            )
        return public_only

    def send(self, request: Request, destination: Destination, deadline: CallDeadline) -> httpcore2.Response:
        """Sends a request; returns the response with its body unread. Raises httpcore2's errors and OutboundError."""
        outgoing = self._outgoing(request, destination, deadline)
        retries = _MAX_IDLE
        while True:
            try:
                response = self._pool.handle_request(outgoing)
            except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
                # The server may have closed idle connections, this one just as it was used (RFC 9112 section 9.3.1).
                may_repeat = request.method in _IDEMPOTENT or isinstance(error, UnsolicitedData)
                if deadline.has_connected or not retries or not may_repeat:
                    raise
                retries -= 1
            else:
                # Other versions differ in persistence. NTLM and Negotiate authenticate the connection, which would make
                # the next guest's request one of this guest's user (RFC 4559 section 6).
                if response.extensions["http_version"] != b"HTTP/1.1" or request.authenticates_connection:
                    response.extensions["network_stream"].is_reusable = False
                return response

    def _outgoing(self, request: Request, destination: Destination, deadline: CallDeadline) -> httpcore2.Request:
        headers, target = request.headers(destination), destination.target
        if self._proxy and destination.scheme == "http":
            headers += self._proxy.fields
            target = destination.origin.encode() + target
        host = f"[{destination.host}]" if ":" in destination.host else destination.host
        return httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=destination.scheme, host=host, port=destination.port, target=target),
            headers=headers,
            content=request.body,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write"), deadline)},
        )

    def close(self) -> None:
        """Closes the idle connections."""
        self._pool.close()
