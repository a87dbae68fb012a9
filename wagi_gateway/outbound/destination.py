"""A URL, parsed once by the WHATWG URL standard; the policy checks and the network uses the same result."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote_to_bytes

import ada_url

DEFAULT_PORTS = {"http": 80, "https": 443}

_MAX_NAME = 253
"""Characters of a host name: RFC 1035 section 2.3.4 without the length octets of the first and the root label."""

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL, split into the parts of a request.

    `Destination.parse("HTTP://0x7F.1:8080/a?b#c")` has the scheme `http`, the host `127.0.0.1`, the port 8080 and the
    target `/a?b`.
    """

    scheme: str
    host: str
    """A name in lower case and Punycode without a trailing dot, or an address in its shortest form."""
    port: int
    """0 for a scheme without a default port."""
    target: bytes
    """Path and query."""
    url: str
    """The serialized URL, the base of a redirect."""
    authorization: bytes | None = None
    """Basic credentials from the URL's userinfo."""

    @classmethod
    def parse(cls, text: str, base: Destination | None = None) -> Destination:
        """Parses a URL, relative to `base` if given. Raises ValueError for an invalid URL or one without a host."""
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
        """The host as an address; None for a name."""
        return address_of(self.host)

    @property
    def authority(self) -> str:
        """Host and port as in a Host header; the scheme's default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS.get(self.scheme, 0) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: `https://example.com`."""
        return f"{self.scheme}://{self.authority}"


def canonical_host(host: str) -> str:
    """The one canonical spelling of a host that a WHATWG parser has left in several.

    `example.com.` becomes `example.com`, `[::ffff:7f00:1]` becomes `127.0.0.1`, `[::1]` becomes `::1`. Raises
    ValueError for a name with an empty label, which some resolvers accept, and for one that is longer than the DNS
    allows.
    """
    if host.startswith("["):
        address = IPv6Address(host[1:-1])
        return str(address.ipv4_mapped or address)
    name = host.removesuffix(".")
    if not all(name.split(".")) or len(name) > _MAX_NAME:
        raise ValueError("the URL names no host")
    return name


def address_of(host: str) -> Address | None:
    """A canonical host as an address; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _basic(username: str, password: str) -> bytes:
    return b"Basic " + b64encode(unquote_to_bytes(username) + b":" + unquote_to_bytes(password))
