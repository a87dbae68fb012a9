"""The client as trusted proxies forward it: X-Forwarded-For, -Proto and -Port (docs/spec/cgi.md A2)."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal

from .request import RequestHead

Proxies = IPv4Network | IPv6Network | Literal["unix"]

_PORT = re.compile(rb"[1-9]\d{0,4}")
_HOP = re.compile(
    rb"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::(?P<v6port>\d{1,5}))?|(?P<v4>[\d.]+)(?::(?P<v4port>\d{1,5}))?|(?P<bare>.+)"
)


def apply_forwarded(request: RequestHead, trusted: tuple[Proxies, ...]) -> RequestHead:
    """The request with the client, scheme and port of its X-Forwarded-* fields, if the peer is a trusted proxy.

    The client is the right-most hop of X-Forwarded-For that is not trusted; hops to its left are the client's own
    claims. A hop that is no IP address, a scheme other than http and https, and a port out of range are ignored.
    """
    if not trusted or not _is_proxy(request, trusted):
        return request
    scheme = _last(request, b"x-forwarded-proto").lower()
    port = _last(request, b"x-forwarded-port")
    return replace(
        request,
        client=_client(request, trusted) or request.client,
        scheme=scheme.decode() if scheme in (b"http", b"https") else request.scheme,
        forwarded_port=port if _PORT.fullmatch(port) and int(port) < 65536 else None,
    )


def ignored_proxy(request: RequestHead, trusted: tuple[Proxies, ...]) -> str | None:
    """The entry of `server.trusted_proxies` that is missing for the peer of a request with X-Forwarded-For.

    None for a trusted proxy, and for a peer with a public address: any client can send the field.
    """
    if _is_proxy(request, trusted):
        return None
    if request.client is None:
        return "unix" if request.server is not None and request.server[1] is None else None
    try:
        address = ip_address(request.client[0])
    except ValueError:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    return None if address.is_global else str(address)


def _is_proxy(request: RequestHead, trusted: tuple[Proxies, ...]) -> bool:
    if request.client is not None:
        return _is_trusted(request.client[0], trusted)
    # A UNIX socket: its peer has no address, and the socket no port.
    return "unix" in trusted and request.server is not None and request.server[1] is None


def _client(request: RequestHead, trusted: tuple[Proxies, ...]) -> tuple[str, int] | None:
    client = None
    for hop in reversed(_items(request, b"x-forwarded-for")):
        client = _parse_hop(hop)
        if client is None or not _is_trusted(client[0], trusted):
            break
    return client


def _parse_hop(hop: bytes) -> tuple[str, int] | None:
    """Parses `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`; port 0 without one."""
    match = _HOP.fullmatch(hop)
    if not match:
        return None
    address = match["v6"] or match["v4"] or match["bare"]
    if b"%" in address:  # a zone (RFC 4007) has meaning on its own host alone, and may hold any text
        return None
    port = int(match["v6port"] or match["v4port"] or 0)
    try:
        parsed = ip_address(address.decode("ascii"))
        return (str(getattr(parsed, "ipv4_mapped", None) or parsed), port) if port < 65536 else None
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _is_trusted(address: str, trusted: tuple[Proxies, ...]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in trusted if network != "unix")


def _items(request: RequestHead, name: bytes) -> list[bytes]:
    return [item.strip(b" \t") for value in request.values(name) for item in value.split(b",")]


def _last(request: RequestHead, name: bytes) -> bytes:
    """The last item of a field: the nearest proxy's."""
    return (_items(request, name) or [b""])[-1]
