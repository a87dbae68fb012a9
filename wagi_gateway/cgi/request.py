"""The request head of CGI: method, target, header fields and authority, with their bounds (RFC 3875, RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from ..errors import BadRequest, UriTooLong

MAX_TARGET = 8 * 1024
"""Largest request target in bytes; a longer one gets 414."""
MAX_NAME = 256
"""Longest field name and host in bytes: a longer field becomes no meta-variable, a longer host gets 400."""
MAX_REDIRECTS = 5
"""Most local redirects of one request (RFC 3875 section 6.2.2)."""

_NOT_TARGET = re.compile(rb"[\x00-\x20\x7f#]")
_HOST = re.compile(
    rb"(?P<name>\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::(?P<port>\d{0,5}))?"
)


@dataclass(slots=True)
class RequestHead:
    """Request line, header fields and connection of a request, as received: bytes stay bytes.

    Immutable by convention: a frozen dataclass would cost a microsecond per request.
    """

    method: str
    raw_path: bytes
    query: bytes
    http_version: str
    scheme: str
    headers: tuple[tuple[bytes, bytes], ...]
    """Header fields as received, in order: names in lower case, values with any white space around them."""
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    request_id: str
    target_authority: bytes | None = None
    """The authority of a target in absolute form, which replaces Host (RFC 9112 section 3.2.2)."""
    forwarded_port: bytes | None = None
    """X-Forwarded-Port of a trusted proxy."""
    fields: dict[bytes, list[bytes]] = field(init=False, compare=False, repr=False)
    """The values of each header field, by name, in order, without the white space around them, which is no part of a
    value (RFC 9110 section 5.5) and which not every parser removes."""

    def __post_init__(self) -> None:
        headers = self.headers
        fields = {name: [value.strip(b" \t")] for name, value in headers}
        if len(fields) < len(headers):  # a field is repeated
            fields = {name: [] for name in fields}
            for name, value in headers:
                fields[name].append(value.strip(b" \t"))
        self.fields = fields

    def values(self, name: bytes) -> Sequence[bytes]:
        """The values of the field `name`, in order; empty for an absent field."""
        return self.fields.get(name, ())


@dataclass(frozen=True, slots=True)
class Authority:
    """Host and port, as of a Host header: the name keeps an IPv6 literal's brackets, the port may be empty."""

    name: bytes
    port: bytes

    @classmethod
    def parse(cls, value: bytes) -> Authority:
        """Parses `host`, `host:port` or `[v6]:port` (RFC 3986 section 3.2, without user information).

        Raises BadRequest.
        """
        match = _HOST.fullmatch(value)
        if not match:
            raise BadRequest(f"the Host header {without_userinfo(value)[:100]!r} is not a host")
        name, port = match["name"], match["port"] or b""
        if port and not 0 < int(port) < 65536:
            raise BadRequest(f"the Host header {value[:100]!r} has no valid port")
        if name.startswith(b"["):
            try:
                IPv6Address(name[1:-1].decode())
            except AddressValueError:
                raise BadRequest(f"the Host header {value[:100]!r} has no valid IPv6 address") from None
        return cls(name, b"%d" % int(port) if port else b"")


def without_userinfo(authority: bytes) -> bytes:
    """The authority from the `@` on, for the log: a client may send `http://user:password@host/`.

    >>> without_userinfo(b"user:password@host")
    b'@host'
    """
    return authority[max(authority.rfind(b"@"), 0) :]


class FoundAuthority(NamedTuple):
    """The authority that a request is for."""

    authority: Authority
    is_named: bool
    """Whether the request named the authority; else it is `server.hostname` or the socket's address."""


@lru_cache(maxsize=1024)
def _parse_named(value: bytes) -> FoundAuthority:
    return FoundAuthority(Authority.parse(value), True)


def check_target(request: RequestHead) -> None:
    """Checks length and characters of path and query. Raises UriTooLong, BadRequest."""
    target = request.raw_path + request.query
    if len(target) > MAX_TARGET:
        raise UriTooLong(f"the request target has {len(target)} bytes, more than {MAX_TARGET}")
    if _NOT_TARGET.search(target):
        raise BadRequest("the request target contains a control character, a blank or a fragment")
    if not (target.isascii() or (is_utf8(request.raw_path) and is_utf8(request.query))):
        raise BadRequest("the request target contains octets that are neither encoded nor UTF-8")


def is_utf8(value: bytes) -> bool:
    """Whether `value` is valid UTF-8."""
    if value.isascii():
        return True
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def find_authority(request: RequestHead, hostname: Authority | None = None) -> FoundAuthority:
    """The authority of a request (RFC 9110 section 7.2), `hostname` for a request without one. Raises BadRequest."""
    hosts = request.fields.get(b"host", ())
    if len(hosts) > 1:
        raise BadRequest("the request has more than one Host header")
    host = hosts[0] if hosts else b""
    target = request.target_authority
    if len(host) > MAX_NAME or (target is not None and len(target) > MAX_NAME):
        raise BadRequest(f"the request names a host of more than {MAX_NAME} bytes")
    if not hosts and request.http_version == "1.1":
        raise BadRequest("the HTTP/1.1 request has no Host header")
    named = _parse_named(host) if host else None
    if target is not None:
        return _parse_named(target)
    return named or FoundAuthority(hostname or _own_authority(request), False)


def _own_authority(request: RequestHead) -> Authority:
    """The address of the socket that accepted the request; `localhost` for a UNIX socket."""
    name, port = request.server or ("localhost", None)
    if port is None:  # the path of a UNIX socket is withheld
        return Authority(b"localhost", b"")
    address = f"[{name}]" if ":" in name else name
    return Authority(address.encode(), b"%d" % port if port else b"")


def redirected(request: RequestHead, location: bytes) -> RequestHead:
    """The request after a local redirect: a GET (or HEAD) of `location` without a body, with the other header fields.

    `location` is a path: `//host/x` names no host.
    """
    path, _, query = location.partition(b"?")
    return replace(
        request,
        method="HEAD" if request.method == "HEAD" else "GET",
        raw_path=path,
        query=query,
        headers=tuple(field for field in request.headers if not _describes_body(field[0])),
    )


def _describes_body(name: bytes) -> bool:
    return name.startswith(b"content-") or name in (b"transfer-encoding", b"expect")
