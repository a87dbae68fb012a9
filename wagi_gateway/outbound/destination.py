"""Where a URL leads: one reading of it, by the WHATWG standard, that is checked and then connected to."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote_to_bytes

import ada_url

DEFAULT_PORTS = {"http": 80, "https": 443}

_MAX_NAME = 253
"""Characters (RFC 1035 section 2.3.4, without the length octets at both ends)."""

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL in the parts a request is made of.

    `Destination.parse("HTTP://0x7F.1:8080/a?b#c")` has the scheme `http`, the host `127.0.0.1`, the port 8080 and the
    target `/a?b`.
    """

    scheme: str
    host: str
    """A name in lower case and Punycode without a dot at its end, or an address in its shortest form."""
    port: int
    """0 where the scheme has no port of its own."""
    target: bytes
    """Path and query."""
    url: str
    """The whole, to resolve a redirect against."""
    authorization: bytes | None = None
    """Basic credentials that stood in the URL."""

    @classmethod
    def parse(cls, text: str, base: Destination | None = None) -> Destination:
        """Reads a URL, relative to `base` if there is one. Raises ValueError where it is none or names no host."""
        url = ada_url.URL(text, base.url if base else None)
        host = canonical_host(url.hostname)
        scheme = url.protocol.removesuffix(":")
        return cls(
            scheme,
            host,
            int(url.port) if url.port else DEFAULT_PORTS.get(scheme, 0),
            (url.pathname + url.search).encode("ascii"),
            url.href,
            _basic(url.username, url.password) if url.username or url.password else None,
        )

    @property
    def address(self) -> Address | None:
        """The address, where the host is one and not a name."""
        return address_of(self.host)

    @property
    def authority(self) -> str:
        """Host and port as in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS.get(self.scheme, 0) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: `https://example.com`."""
        return f"{self.scheme}://{self.authority}"


def canonical_host(host: str) -> str:
    """One text for one host: what a WHATWG parser leaves different is made the same.

    `example.com.` is `example.com`, `[::ffff:7f00:1]` is `127.0.0.1`, and `[::1]` is `::1`. Raises ValueError for a
    name with an empty label, which some resolvers forgive, and for one that is longer than the DNS allows.
    """
    if host.startswith("["):
        address = IPv6Address(host[1:-1])
        return str(address.ipv4_mapped or address)
    name = host.removesuffix(".")
    if not all(name.split(".")) or len(name) > _MAX_NAME:
        raise ValueError("the URL names no host")
    return name


def address_of(host: str) -> Address | None:
    """The address a canonical host is, if it is one."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _basic(username: str, password: str) -> bytes:
    return b"Basic " + b64encode(unquote_to_bytes(username) + b":" + unquote_to_bytes(password))
