"""The listening socket of a Pod, which the node binds and its gateway inherits: a clash is known before a start."""

from __future__ import annotations

import asyncio
import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from ...errors import GatewayError
from ..api import Object

BACKLOG = 2048
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""The wildcards, and the loopback address of each."""


_NAME_TIME = 5.0
"""Seconds in which the name of a host has to be resolved."""
_NAMES = ThreadPoolExecutor(2, "names")
"""Threads of their own: the author of a Pod chooses the name, and whose name server is asked."""


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


async def resolve(host: str) -> str:
    """The address of a host, which may be a name such as `localhost`. Raises PortUnavailable."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        async with asyncio.timeout(_NAME_TIME):
            found = await asyncio.get_running_loop().run_in_executor(_NAMES, _addresses, host)
    except TimeoutError:
        raise PortUnavailable(f"{host[:253]}: the name is not resolved within {_NAME_TIME:g} s") from None
    except (OSError, ValueError):  # ValueError: a label that IDNA does not have
        raise PortUnavailable(f"{host[:253]} is no address of this node") from None
    return found[0]


def _addresses(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


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
