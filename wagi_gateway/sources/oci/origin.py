"""The origin of a URL (RFC 6454), to which the credentials of a registry are bound."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import NamedTuple, Self
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host and port of a URL."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """The origin of an absolute URL, read as requests reads the URL of a connection. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("not an absolute URL of http or https")
        return cls(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])

    @property
    def is_trustworthy(self) -> bool:
        """Whether no other machine sees the bytes: TLS, or a loopback address (W3C Secure Contexts section 3.1)."""
        return self.scheme == "https" or is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address without brackets is a loopback one (RFC 6761 section 6.3)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_peer(host: str, connection: socket.socket) -> None:
    """Raises OSError if a loopback name was resolved to the address of another machine."""
    if is_loopback(host) and not is_loopback(connection.getpeername()[0]):
        raise OSError(errno.EADDRNOTAVAIL, "its name is resolved to the address of another machine")
