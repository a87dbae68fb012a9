"""Why a header field of a request becomes no meta-variable."""

from __future__ import annotations

from typing import NamedTuple

from ..cgi.environ import withheld
from ..cgi.request import MAX_NAME, RequestHead

_HOP_BY_HOP = "concerns one connection, which the gateway manages (RFC 9110 section 7.6.1)"
REASONS = {
    "authorization": "credentials (RFC 3875 section 9.2); pass_authorization = true passes them",
    "proxy-authorization": "credentials for a proxy (RFC 3875 section 9.2)",
    "content-length": "is CONTENT_LENGTH",
    "proxy": "HTTP_PROXY would set the proxy of HTTP clients (CVE-2016-5385)",
    "connection": _HOP_BY_HOP,
    "keep-alive": _HOP_BY_HOP,
    "proxy-connection": _HOP_BY_HOP,
    "te": _HOP_BY_HOP,
    "trailer": _HOP_BY_HOP,
    "transfer-encoding": _HOP_BY_HOP,
    "upgrade": _HOP_BY_HOP,
}


class WithheldField(NamedTuple):
    """A header field that the guest does not get."""

    name: str
    reason: str


def withheld_fields(request: RequestHead, *, pass_authorization: bool) -> list[WithheldField]:
    """The header fields of `request` that become no meta-variable, with the reason for each."""
    names = [name for name in withheld(request) if not (pass_authorization and name == b"authorization")]
    return [WithheldField(name.decode("latin-1"), _reason(name)) for name in names]


def _reason(name: bytes) -> str:
    if len(name) > MAX_NAME:
        return f"the name has more than {MAX_NAME} bytes"
    if b"_" in name:
        return 'the name has a "_": its variable could be that of another field with "-"'
    return REASONS.get(name.decode("latin-1"), "the name has a character that no variable name has")
