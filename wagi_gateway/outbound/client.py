"""What the guests of one module call out through: its policy, its connections, its bounds, its counters."""

from __future__ import annotations

import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpcore2

from .deadline import CallDeadline
from .destination import Destination
from .errors import DestinationNotAllowed
from .network import Dial, Network, dial
from .policy import Policy
from .proxy import Proxy
from .request import Fields, Request
from .resolver import Lookup, Resolver, look_up

if TYPE_CHECKING:  # config reads entries with the policy of this room
    from ..config.settings import Limits

_KEPT = 8
"""Idle connections that are kept for the next call."""
_KEEP = 30.0
"""Seconds after which an idle connection is not used again."""
_IDEMPOTENT = frozenset("GET HEAD OPTIONS TRACE PUT DELETE".split())


@dataclass(frozen=True, slots=True)
class Call:
    """One call that is over, for the log and the counters."""

    method: str
    origin: str
    """Scheme, host and port of the last request, or what the guest wrote where it is no URL."""
    outcome: str
    """`answered`, or why not: `denied`, `refused`, `failed`, `timeout`, `stopped`."""
    status: int | None
    reason: str
    seconds: float
    sent: int
    """Bytes of the request body, counted once."""
    received: int
    """Bytes of the response body the gateway read."""
    redirects: int
    limit: str | None = None
    """The setting whose bound it ran into, if it was one."""


OnCall = Callable[[Call], None]
OnBegin = Callable[[str, Destination], tuple[Fields, OnCall | None]]
"""Is told method and destination of a call before anything is sent; returns header fields of the trace it belongs to,
and who is told once it is over."""


class OutboundClient:
    """Serves all guests of one module; no connection is ever used for another module."""

    def __init__(
        self,
        policy: Policy,
        limits: Limits,
        max_open: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        lookup: Lookup = look_up,
        dial: Dial = dial,
    ) -> None:
        """`max_open` is `http_max_concurrency`, `ssl_context` knows whom to trust; `lookup` and `dial` are the system's
        resolver and network."""
        self.limits = limits
        self.max_open = max_open
        self.calls: Counter[str] = Counter()
        """Calls that are over, by outcome."""
        self._policy = policy
        self._proxy = proxy
        self._lock = threading.Lock()
        self._pool = httpcore2.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=None,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEEP,
            network_backend=Network(policy, Resolver(lookup), proxy=proxy, dial=dial),
        )

    def check(self, destination: Destination) -> bool:
        """Lets a destination pass; whether it may be reached at public addresses alone.

        Raises DestinationNotAllowed.
        """
        public_only = self._policy.check(destination)
        if public_only and self._proxy and destination.address is None:
            raise DestinationNotAllowed(
                f"{destination.origin} would be resolved by the proxy, so that nobody knows whether its address is "
                "public; name the host in allowed_hosts, or set allow_private_networks"
            )
        return public_only

    def send(self, request: Request, destination: Destination, deadline: CallDeadline) -> httpcore2.Response:
        """The response's head; its body is read by whoever has it. Raises httpcore2's errors and OutboundError."""
        outgoing = self._outgoing(request, destination, deadline)
        stale = _KEPT if request.method in _IDEMPOTENT else 0
        while True:
            try:
                return self._pool.handle_request(outgoing)
            except (httpcore2.NetworkError, httpcore2.RemoteProtocolError):
                # The other side may have closed kept connections, this one just as it was used (RFC 9112, 9.3.1).
                if deadline.has_connected or not stale:
                    raise
                stale -= 1

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

    def count(self, call: Call) -> None:
        """Counts a call that is over."""
        with self._lock:
            self.calls[call.outcome] += 1

    def close(self) -> None:
        """Closes the connections that were kept."""
        self._pool.close()
