"""Name resolution within a call's deadline."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address

import httpcore2

from .deadline import CallDeadline
from .destination import Address, address_of

_MAX_LOOKUPS = 64
"""Look-ups of one module at the same time, abandoned ones included."""

Lookup = Callable[[str], list[str]]


def look_up(name: str) -> list[str]:
    """The system's addresses of a name. Raises OSError."""
    # Bytes, because Python would apply an older IDNA to a str than the URL parser has applied.
    infos = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in infos]


class Resolver:
    """Resolves names on threads, because `getaddrinfo` cannot be interrupted."""

    def __init__(self, lookup: Lookup = look_up) -> None:
        self._lookup = lookup
        self._free = threading.BoundedSemaphore(_MAX_LOOKUPS)

    def resolve(self, host: str, deadline: CallDeadline) -> list[Address]:
        """The addresses of a canonical host. Raises httpcore2.ConnectError, CallTimeout, CallStopped."""
        if address := address_of(host):
            return [address]
        if not self._free.acquire(blocking=False):
            raise httpcore2.ConnectError(f"{host}: too many names are being looked up")
        result: list[list[str] | Exception] = []

        def run() -> None:
            try:
                result.append(self._lookup(host))
            except Exception as error:  # noqa: BLE001 - raised on the guest's thread
                result.append(error)
            finally:
                self._free.release()
                deadline.guest.wake()

        try:
            threading.Thread(target=run, name="resolver", daemon=True).start()
        except RuntimeError as error:
            self._free.release()
            raise httpcore2.ConnectError(f"{host}: {error}") from None
        while not result:
            deadline.until_ready(-1, 0)
        if isinstance(result[0], Exception):
            raise httpcore2.ConnectError(f"{host}: {getattr(result[0], 'strerror', None) or result[0]}")
        # A link-local address may have a zone of this host (RFC 4007). It is not public, so only an exact entry permits
        # it.
        return [ip_address(address) for address in dict.fromkeys(result[0])]
