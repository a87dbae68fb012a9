"""Addresses of sockets in one spelling, as REMOTE_ADDR, the log and `server.trusted_proxies` have them."""

from __future__ import annotations

from typing import TypeVar

Address = TypeVar("Address", bound=tuple[str, int | None] | None)

_MAPPED = "::ffff:"


def canonical(address: Address) -> Address:
    """The address with an IPv4 client of an IPv6 socket as IPv4 (RFC 4291 section 2.5.5.2), and without a zone.

    A zone (RFC 4007) names an interface of this host.
    """
    if address is None or ":" not in address[0]:
        return address
    host = address[0].partition("%")[0]
    if host.startswith(_MAPPED) and "." in host:
        host = host.removeprefix(_MAPPED)
    return (host, address[1])  # type: ignore[return-value]
