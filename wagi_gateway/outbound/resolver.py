"""Names to addresses, without outliving a guest's patience."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address

import httpcore2

from .deadline import CallDeadline
from .destination import Address, address_of

_MAX_LOOKUPS = 64
"""Look-ups of one module at the same time, those nobody waits for any more included."""

Lookup = Callable[[str], list[str]]


def look_up(name: str) -> list[str]:
    """The addresses of a name, as the system has them. Raises OSError."""
    # As bytes, because for text Python would apply an older IDNA than the URL's.
    infos = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in infos]


class Resolver:
    """Looks names up on threads of their own, for `getaddrinfo` cannot be interrupted."""

    def __init__(self, lookup: Lookup = look_up) -> None:
        self._lookup = lookup
        self._free = threading.BoundedSemaphore(_MAX_LOOKUPS)

    def resolve(self, host: str, deadline: CallDeadline) -> list[Address]:
        """The addresses of a canonical host. Raises httpcore2.ConnectError, OutOfTime, CallStopped."""
        if address := address_of(host):
            return [address]
        if not self._free.acquire(blocking=False):
            raise httpcore2.ConnectError(f"{host}: too many names are being looked up")
        answer: list[list[str] | Exception] = []

        def work() -> None:
            try:
                answer.append(self._lookup(host))
            except Exception as error:  # noqa: BLE001 - it belongs to the guest's thread, which waits for it
                answer.append(error)
            finally:
                self._free.release()
                deadline.guest.wake()

        try:
            threading.Thread(target=work, name="resolver", daemon=True).start()
        except RuntimeError as error:
            self._free.release()
            raise httpcore2.ConnectError(f"{host}: {error}") from None
        while not answer:
            deadline.until_ready(-1, 0)
        if isinstance(answer[0], Exception):
            raise httpcore2.ConnectError(f"{host}: {getattr(answer[0], 'strerror', None) or answer[0]}")
        # The link of a link-local address is a matter of this host; such an address is reached by entry only.
        return [ip_address(address) for address in dict.fromkeys(answer[0])]
