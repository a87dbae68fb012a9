"""The listening socket of a Pod, which the node binds and its gateway inherits: a clash is known before a start."""

from __future__ import annotations

import errno
import socket

from ...errors import GatewayError
from ..api import Object

BACKLOG = 2048
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""The wildcards, and the loopback address of each."""


class PortUnavailable(GatewayError):
    """The address cannot be bound; another attempt may succeed."""


class Listeners:
    """The addresses on which Pods listen, to name the other Pod of a clash."""

    def __init__(self) -> None:
        self._pods: dict[tuple[str, int], str] = {}

    def add(self, host: str, port: int, pod: Object) -> None:
        """A Pod listens on an address."""
        self._pods[host, port] = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"

    def remove(self, host: str, port: int) -> None:
        """A Pod has ended."""
        self._pods.pop((host, port), None)

    def holder(self, host: str, port: int) -> str:
        """`NAMESPACE/NAME` of the Pod that has the port of this address, of all addresses, or of any one if `host` is
        a wildcard; empty if it is no Pod."""
        for (other, number), pod in self._pods.items():
            if number == port and (other == host or is_wildcard(other) or is_wildcard(host)):
                return pod
        return ""


def is_wildcard(host: str) -> bool:
    """Whether a host stands for all addresses of one version of IP."""
    return host in _WILDCARDS


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
    return _WILDCARDS.get(host, host), port


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
