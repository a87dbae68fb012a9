"""A request of a guest: its validation, and the rules of redirects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .destination import Destination
from .errors import InvalidEncoding, InvalidMethod

MAX_REDIRECTS = 10

Fields = Sequence[tuple[bytes, bytes]]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_MAX_METHOD = 64

# Fields that the gateway sets: they name the host, frame the body or belong to the connection. From a guest they would
# reach another virtual host than the one that was checked, or smuggle a second request.
_GATEWAY_FIELDS = frozenset(
    "host content-length transfer-encoding connection keep-alive te trailer upgrade expect proxy".split()
)
_CREDENTIAL_FIELDS = frozenset((b"authorization", b"cookie", b"cookie2", b"www-authenticate"))
_BODY_FIELDS = (b"content-", b"digest", b"repr-digest", b"last-modified")
_DEFAULTS = ((b"accept", b"*/*"), (b"user-agent", b"wagi-gateway"))


@dataclass(frozen=True, slots=True)
class Request:
    """Method, header fields and body, independent of the destination."""

    method: str
    fields: Fields
    body: bytes

    def headers(self, destination: Destination) -> list[tuple[bytes, bytes]]:
        """The header section for a destination."""
        names = {name for name, _ in self.fields}
        headers = [(b"host", destination.authority.encode()), *self.fields]
        headers += [default for default in _DEFAULTS if default[0] not in names]
        if destination.authorization and b"authorization" not in names:
            headers.append((b"authorization", destination.authorization))
        if self.body or self.method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
            headers.append((b"content-length", b"%d" % len(self.body)))
        return headers

    @property
    def authenticates_connection(self) -> bool:
        """Whether the credentials are those of a scheme that authenticates a connection instead of a request."""
        return any(
            name == b"authorization" and value.lower().startswith((b"ntlm", b"negotiate"))
            for name, value in self.fields
        )

    def redirected(self, status: int, from_: Destination, to: Destination) -> Request:
        """The request that follows a redirect (RFC 9110 section 15.4); credentials are not sent to another origin."""
        request = self
        if (status == 303 and self.method != "HEAD") or (status in (301, 302) and self.method == "POST"):
            fields = [field for field in self.fields if not field[0].startswith(_BODY_FIELDS)]
            request = Request("GET", fields, b"")
        if to.origin != from_.origin:
            request = replace(request, fields=[field for field in request.fields if field[0] not in _CREDENTIAL_FIELDS])
        return request


def check_method(method: str) -> str:
    """Returns a valid method, its case unchanged. Raises InvalidMethod."""
    if len(method) > _MAX_METHOD or not _TOKEN.fullmatch(method):
        raise InvalidMethod(f"{method[:_MAX_METHOD]!r} is no method")
    if method.upper() == "CONNECT":
        raise InvalidMethod("CONNECT would make a tunnel")
    return method


def parse_fields(text: str) -> Fields:
    """Parses header lines `name:value`: the last line of a name counts, fields of the gateway are dropped.

    Raises InvalidEncoding.
    """
    fields: dict[str, str] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), start=1):
        name, colon, value = line.removesuffix("\r").partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise InvalidEncoding(f"header line {number} is not name:value in ASCII")
        fields[name.lower()] = value.strip(" \t")
    return [(name.encode(), value.encode()) for name, value in fields.items() if not _is_gateway_field(name)]


def add_trace_context(fields: Fields, trace: Fields) -> Fields:
    """Adds the fields of a trace context, unless the guest has set `traceparent` itself."""
    if any(name == b"traceparent" for name, _ in fields):
        return fields
    return [*(field for field in fields if field[0] != b"tracestate"), *trace] if trace else fields


def _is_gateway_field(name: str) -> bool:
    name = name.replace("_", "-")  # some servers treat both alike
    return name in _GATEWAY_FIELDS or name.startswith("proxy-")
