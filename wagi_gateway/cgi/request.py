"""TODO."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from ..errors import BadRequest, UriTooLong

Headers = Iterable[tuple[bytes, bytes]]


MAX_TARGET = 8 * 1024
"""Bytes of path and query; a longer target is answered with 414."""


MAX_NAME = 256
"""Bytes of a field's name or a host; a longer name becomes no variable, a longer host is answered with 400."""


_NOT_TARGET = re.compile(rb"[\x00-\x20\x7f#]")


_HOST = re.compile(
    rb"(?P<name>\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::(?P<port>\d{0,5}))?"
)


@dataclass(slots=True)
class RequestHead:
    """A request without its body, as it came over the wire: bytes stay bytes.

    It is not changed once it is made; to have that enforced would cost each request a microsecond.
    """

    method: str
    raw_path: bytes
    query: bytes
    http_version: str
    scheme: str
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case, values as received, in order."""
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    request_id: str
    target_authority: bytes | None = None
    """The authority of a target in absolute form, which counts instead of Host (RFC 9112 section 3.2.2)."""
    forwarded_port: bytes | None = None
    """The port the client used, where a trusted proxy tells it."""
    fields: dict[bytes, list[bytes]] = field(init=False, compare=False, repr=False)
    """The headers by name, each with its values in order."""

    def __post_init__(self) -> None:
        fields: dict[bytes, list[bytes]] = {}
        for name, value in self.headers:
            if name in fields:
                fields[name].append(value)
            else:
                fields[name] = [value]
        self.fields = fields

    def values(self, name: bytes) -> Sequence[bytes]:
        """Every value of one field, in order."""
        return self.fields.get(name, ())


@dataclass(frozen=True, slots=True)
class Authority:
    """Host and port of a Host header: the name keeps an IPv6 literal's brackets, the port may be unknown."""

    name: bytes
    port: bytes

    @classmethod
    def parse(cls, value: bytes) -> Authority:
        """`host`, `host:port` or `[v6]:port` (RFC 3986 section 3.2.2, without user information).

        Raises BadRequest.
        """
        match = _HOST.fullmatch(value)
        if not match:
            raise BadRequest(f"the Host header {value[:100]!r} is not a host")
        name, port = match["name"], match["port"] or b""
        if port and not 0 < int(port) < 65536:
            raise BadRequest(f"the Host header {value[:100]!r} has no valid port")
        if name.startswith(b"["):
            try:
                IPv6Address(name[1:-1].decode())
            except AddressValueError:
                raise BadRequest(f"the Host header {value[:100]!r} has no valid IPv6 address") from None
        return cls(name, b"%d" % int(port) if port else b"")


class FoundAuthority(NamedTuple):
    """The authority of a request."""

    authority: Authority
    is_named: bool
    """Whether the request named the authority; else it is the gateway's own."""


@lru_cache(maxsize=1024)
def _parse_named(value: bytes) -> FoundAuthority:
    return FoundAuthority(Authority.parse(value), True)


def check_target(request: RequestHead) -> None:
    """Looks at path and query before anything is done with them. Raises UriTooLong, BadRequest."""
    target = request.raw_path + request.query
    if len(target) > MAX_TARGET:
        raise UriTooLong(f"the request target has {len(target)} bytes, more than {MAX_TARGET}")
    if _NOT_TARGET.search(target):
        raise BadRequest("the request target contains a control character, a blank or a fragment")
    if not (target.isascii() or (is_utf8(request.raw_path) and is_utf8(request.query))):
        raise BadRequest("the request target contains octets that are neither encoded nor UTF-8")


def is_utf8(value: bytes) -> bool:
    if value.isascii():
        return True
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def find_authority(request: RequestHead, hostname: Authority | None = None) -> FoundAuthority:
    """The authority the client asked for and whether it named one (RFC 9110 section 7.2). Raises BadRequest."""
    hosts = request.values(b"host")
    if len(hosts) > 1:
        raise BadRequest("the request has more than one Host header")
    host = hosts[0] if hosts else b""
    if len(host) > MAX_NAME or len(request.target_authority or b"") > MAX_NAME:
        raise BadRequest(f"the request names a host of more than {MAX_NAME} bytes")
    if not hosts and request.http_version == "1.1":
        raise BadRequest("the HTTP/1.1 request has no Host header")
    named = _parse_named(host) if host else None
    if request.target_authority is not None:
        return _parse_named(request.target_authority)
    return named or FoundAuthority(hostname or _own_authority(request), False)


def _own_authority(request: RequestHead) -> Authority:
    """The address of the socket that accepted the request; `localhost` for a UNIX socket."""
    name, port = request.server or ("localhost", None)
    if port is None:  # the path of a UNIX socket is withheld
        return Authority(b"localhost", b"")
    address = f"[{name}]" if ":" in name else name
    return Authority(address.encode(), b"%d" % port if port else b"")


MAX_REDIRECTS = 5
"""Local redirects one request may go through."""


def redirected(request: RequestHead, location: bytes) -> RequestHead:
    """The request again, as a GET (or HEAD) of `location` without a body; the client and its other fields stay.

    `//host/x` is a path like any other, never a host.
    """
    path, _, query = location.partition(b"?")
    return replace(
        request,
        method="HEAD" if request.method == "HEAD" else "GET",
        raw_path=path,
        query=query,
        headers=tuple(field for field in request.headers if not _is_of_body(field[0])),
    )


def _is_of_body(name: bytes) -> bool:
    return name.startswith(b"content-") or name in (b"transfer-encoding", b"expect")
