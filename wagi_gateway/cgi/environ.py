"""The meta-variables and argument vector of one request (RFC 3875 sections 4.1 and 4.4, WAGI's additions)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from types import MappingProxyType
from typing import Literal
from urllib.parse import unquote_to_bytes

from ..errors import BadRequest, FieldsTooLarge
from ..router import RouteMatch
from ..version import __version__
from .request import MAX_NAME, FoundAuthority, RequestHead, is_utf8

ArgvMode = Literal["wagi", "rfc3875", "none"]
Environ = dict[bytes, bytes]

SERVER_SOFTWARE = b"wagi-gateway/" + __version__.encode()
MAX_ENVIRON = 64 * 1024
"""Largest environment in bytes, names and values; a request that needs more gets 431."""
MAX_FIELDS = 256
"""Most header fields; a request with more gets 431, a response with more is 502."""

META_VARIABLES = frozenset(
    "AUTH_TYPE CONTENT_LENGTH CONTENT_TYPE GATEWAY_INTERFACE HTTPS PATH_INFO PATH_TRANSLATED QUERY_STRING REMOTE_ADDR"
    " REMOTE_HOST REMOTE_IDENT REMOTE_PORT REMOTE_USER REQUEST_METHOD REQUEST_SCHEME REQUEST_URI SCRIPT_NAME"
    " SERVER_NAME SERVER_PORT SERVER_PROTOCOL SERVER_SOFTWARE X_FULL_URL X_MATCHED_ROUTE X_RAW_PATH_INFO"
    " X_REQUEST_ID".split()
)
"""Variables that every request sets; the operator's `environment` must not."""

# Credentials (RFC 3875 section 9.2), hop-by-hop fields (RFC 9110 section 7.6.1), Content-Length, which becomes
# CONTENT_LENGTH, and Proxy: HTTP_PROXY would set the proxy of a guest's HTTP client (CVE-2016-5385).
_WITHHELD = frozenset(
    b"authorization proxy-authorization connection content-length keep-alive proxy proxy-connection te trailer"
    b" transfer-encoding upgrade".split()
)
# Without "_": X_Forwarded_For would become the variable of X-Forwarded-For.
_FIELD = re.compile(rb"[a-z0-9-]+")
_PLACEHOLDER = re.compile(rb"\$\{(?:SCRIPT_NAME|ARGS)\}")
_FIELD_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CONTROLS = bytes(octet for octet in range(256) if _FIELD_CONTROL.match(bytes([octet])))
_USUAL_SIZE = 7 * 1024
"""Largest sum of the parts of a usual request, in bytes. No byte is in more than eight variables, and all else that an
environment holds is smaller than 8 KiB: seven eighths of MAX_ENVIRON are never exceeded."""


@lru_cache(maxsize=1024)
def _variable_name(field: bytes) -> bytes | None:
    """The meta-variable of a header field; None for a withheld field (RFC 3875 section 4.1.18)."""
    if field in _WITHHELD or not _FIELD.fullmatch(field):
        return None
    return b"HTTP_" + field.upper().replace(b"-", b"_")


def build_environ(
    request: RequestHead,
    match: RouteMatch[object],
    *,
    authority: FoundAuthority,
    operator: Mapping[bytes, bytes],
    pass_authorization: bool = False,
    trace: Mapping[bytes, bytes] = MappingProxyType({}),
    is_checked: bool = False,
) -> Environ:
    """The environment of one guest: header fields, overridden by the operator's variables, then the meta-variables.

    CONTENT_LENGTH is `0`: the caller sets it once the body is read. `operator` holds no name of META_VARIABLES.
    `trace` replaces the variables of traceparent and tracestate. Raises BadRequest for a header field that no variable
    can hold, FieldsTooLarge beyond MAX_FIELDS or MAX_ENVIRON; `is_checked` spares that of what `is_usual` has found to
    be usual.
    """
    if len(request.headers) > MAX_FIELDS:
        raise FieldsTooLarge(f"the request has {len(request.headers)} header fields, more than {MAX_FIELDS}")
    fields = _fields(request, is_checked=is_checked)
    if pass_authorization and (credentials := request.values(b"authorization")):
        fields[b"HTTP_AUTHORIZATION"] = _field_value(b"authorization", credentials[0])
    fields.pop(b"HTTP_TRACEPARENT", None)
    fields.pop(b"HTTP_TRACESTATE", None)
    fields.update(trace)
    host = authority.authority
    if not authority.is_named:
        fields.pop(b"HTTP_HOST", None)
    elif request.target_authority is not None:
        fields[b"HTTP_HOST"] = request.target_authority
    scheme = request.scheme.encode()
    https = scheme == b"https"
    port = request.forwarded_port or host.port or (b"443" if https else b"80")
    query = b"?" + request.query if request.query else b""
    address = _address(request.client[0]) if request.client else _THIS_HOST

    environ: Environ = {
        **fields,
        **operator,
        # The request (RFC 3875 section 4.1)
        b"GATEWAY_INTERFACE": b"CGI/1.1",
        b"SERVER_SOFTWARE": SERVER_SOFTWARE,
        b"SERVER_PROTOCOL": _PROTOCOL.get(request.http_version) or b"HTTP/" + request.http_version.encode(),
        b"SERVER_NAME": host.name,
        b"SERVER_PORT": port,
        b"REQUEST_METHOD": request.method.encode(),
        b"SCRIPT_NAME": match.script_name,
        b"PATH_INFO": match.path_info,
        b"PATH_TRANSLATED": match.path_info,  # as in WAGI; host paths are withheld
        b"QUERY_STRING": request.query,
        b"CONTENT_LENGTH": b"0",
        b"CONTENT_TYPE": _content_type(request),
        b"REMOTE_ADDR": address,
        b"REMOTE_HOST": address,
        b"REMOTE_USER": b"",  # the gateway does no authentication
        b"AUTH_TYPE": b"",
        # Additions of Apache, lighttpd and Go
        b"REQUEST_URI": request.raw_path + query,
        b"REQUEST_SCHEME": scheme,
        # Additions of WAGI
        b"X_FULL_URL": b"%s://%s:%s%s%s" % (scheme, host.name, port, match.path, query),
        b"X_MATCHED_ROUTE": match.pattern.encode(),
        b"X_RAW_PATH_INFO": match.raw_path_info,
        # Additions of this gateway
        b"X_REQUEST_ID": request.request_id.encode(),
    }
    if https:
        environ[b"HTTPS"] = b"on"
    if request.client and request.client[1]:
        environ[b"REMOTE_PORT"] = b"%d" % request.client[1]
    if not is_checked and len(b"".join(environ)) + len(b"".join(environ.values())) > MAX_ENVIRON:
        raise FieldsTooLarge(f"the request would need more than {MAX_ENVIRON} bytes of environment")
    return environ


def is_usual(request: RequestHead, match: RouteMatch[object], operator: Mapping[bytes, bytes]) -> bool:
    """Whether `build_environ` raises nothing for certain, so that the environment can be built when the guest reads it.

    True for fields in ASCII without control characters and far from MAX_FIELDS and MAX_ENVIRON; costs a tenth of
    `build_environ`.
    """
    fields = b"".join(chain.from_iterable(request.headers))
    size = len(fields) + len(request.raw_path) + len(request.query) + len(request.method) + len(match.pattern)
    if operator:
        size += len(b"".join(chain.from_iterable(operator.items())))
    return (
        size <= _USUAL_SIZE
        and len(request.headers) <= MAX_FIELDS
        and fields.isascii()
        and len(fields.translate(None, _CONTROLS)) == len(fields)  # a third of a search's time
        and len(request.fields.get(b"content-type", ())) <= 1
    )


_THIS_HOST = b"127.0.0.1"  # a peer on a UNIX socket
_PROTOCOL = {"1.1": b"HTTP/1.1", "1.0": b"HTTP/1.0", "2": b"HTTP/2.0", "3": b"HTTP/3.0"}


def withheld(request: RequestHead) -> list[bytes]:
    """The names of the header fields that become no meta-variable, for the debug log."""
    return [field for field, _ in request.headers if len(field) > MAX_NAME or _variable_name(field) is None]


def _fields(request: RequestHead, *, is_checked: bool) -> Environ:
    """Header fields as HTTP_* variables; repeated fields are joined in order (RFC 3875 section 4.1.18)."""
    variables: Environ = {}
    for field_name, values in request.fields.items():
        # Only short names enter the cache: the client chooses them.
        name = _variable_name(field_name) if len(field_name) <= MAX_NAME else None
        if name is not None:
            variables[name] = values[0] if len(values) == 1 else _joined(field_name, values)
    if is_checked:
        return variables
    together = b"".join(variables.values())
    if together.isascii() and not _FIELD_CONTROL.search(together):
        return variables
    return {name: _field_value(_field_name(name), value) for name, value in variables.items()}


def _field_name(variable: bytes) -> bytes:
    return variable.removeprefix(b"HTTP_").lower().replace(b"_", b"-")


def _joined(field_name: bytes, values: Sequence[bytes]) -> bytes:
    """Joins the values of a repeated field, each converted to UTF-8 by itself: one in ISO-8859-1 changes no other."""
    return (b"; " if field_name == b"cookie" else b", ").join([_field_value(field_name, value) for value in values])


def _field_value(field: bytes, value: bytes) -> bytes:
    """A field value in UTF-8, converted from ISO-8859-1 if need be: wasmtime refuses any other environment.

    Raises BadRequest for a control character.
    """
    if _FIELD_CONTROL.search(value):
        raise BadRequest(f"the header field {field.decode('latin-1')} contains a control character")
    return value if is_utf8(value) else value.decode("latin-1").encode("utf-8")


def _content_type(request: RequestHead) -> bytes:
    values = request.values(b"content-type")
    if len(set(values)) > 1:
        raise BadRequest("the request has two differing Content-Type headers")
    return _field_value(b"content-type", values[0]) if values else b""


@lru_cache(maxsize=1024)
def _address(host: str) -> bytes:
    """An IP address without zone, an IPv4-mapped one as IPv4."""
    address = host.partition("%")[0]
    return (address.removeprefix("::ffff:") if "." in address else address).encode()


def build_argv(template: str | None, mode: ArgvMode, request: RequestHead, path: bytes) -> list[bytes]:
    """The argument vector: from `template`, or without one `path` and the arguments that `mode` takes from the query.

    In a template `${SCRIPT_NAME}` stands for the path and `${ARGS}` for the query's items, not decoded. The result is
    split on white space, without a shell or quoting. Empty items are dropped.
    """
    if template is not None:
        values = {b"${SCRIPT_NAME}": path, b"${ARGS}": b" ".join(_items(request.query))}
        # In one pass: `${ARGS}` within the path is not replaced.
        return _PLACEHOLDER.sub(lambda found: values[found[0]], template.encode()).split()
    if not request.query:
        return [path]
    if mode == "wagi":
        return [path, *_items(request.query)]
    return [path, *(_search_words(request) if mode == "rfc3875" else ())]


def _items(query: bytes) -> list[bytes]:
    return [item for item in query.split(b"&") if item]


def _search_words(request: RequestHead) -> list[bytes]:
    """The search words of an indexed query (RFC 3875 section 4.4): all of them, or none if one is no valid argument."""
    if request.method not in ("GET", "HEAD") or b"=" in request.query:
        return []
    words = [unquote_to_bytes(word) for word in request.query.split(b"+")]
    together = b" ".join(words)
    return words if b"\0" not in together and is_utf8(together) else []
