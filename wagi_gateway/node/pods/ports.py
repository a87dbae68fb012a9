"""The listening socket of a Pod, which the node binds and its gateway inherits: a clash is known before a start."""

from __future__ import annotations

import errno
import socket

from ...errors import GatewayError

BACKLOG = 2048


class PortUnavailable(GatewayError):
    """The address cannot be bound; another attempt may succeed."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on an address of `default-host`. Raises PortUnavailable."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortUnavailable(f"{_shown(host, port)}: {host} is no address of this node: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortUnavailable(f"{_shown(host, port)}: the port is taken on this node") from None
        raise PortUnavailable(f"{_shown(host, port)}: {error.strerror}") from None
    return listener


def reachable(host: str, port: int) -> tuple[str, int]:
    """The address at which the node itself reaches a listener: a loopback one for a wildcard.

    >>> reachable("0.0.0.0", 3001)
    ('127.0.0.1', 3001)
    """
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
