"""The meta-variables and arguments of one request: values in, values out (RFC 3875 section 4, WAGI's additions)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
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
"""Bytes of the environment; a request that needs more is answered with 431."""
MAX_FIELDS = 256
"""Header fields; a request with more is answered with 431."""

META_VARIABLES = frozenset(
    "AUTH_TYPE CONTENT_LENGTH CONTENT_TYPE GATEWAY_INTERFACE HTTPS PATH_INFO PATH_TRANSLATED QUERY_STRING REMOTE_ADDR"
    " REMOTE_HOST REMOTE_IDENT REMOTE_PORT REMOTE_USER REQUEST_METHOD REQUEST_SCHEME REQUEST_URI SCRIPT_NAME"
    " SERVER_NAME SERVER_PORT SERVER_PROTOCOL SERVER_SOFTWARE X_FULL_URL X_MATCHED_ROUTE X_RAW_PATH_INFO"
    " X_REQUEST_ID".split()
)
"""The names a request defines; an operator's environment must not."""

# Credentials the gateway is not asked to hand on (RFC 3875 section 9.2), fields that concern the connection alone
# (RFC 9110 section 7.6.1), CONTENT_LENGTH's twin, and Proxy: HTTP_PROXY would steer a guest's client (CVE-2016-5385).
_WITHHELD = frozenset(
    b"authorization proxy-authorization connection content-length keep-alive proxy proxy-connection te trailer"
    b" transfer-encoding upgrade".split()
)
# "_" is not in the set: X_Forwarded_For would take X-Forwarded-For's variable.
_FIELD = re.compile(rb"[a-z0-9-]+")
_PLACEHOLDER = re.compile(rb"\$\{(?:SCRIPT_NAME|ARGS)\}")
_FIELD_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@lru_cache(maxsize=1024)
def _variable_name(field: bytes) -> bytes | None:
    """The meta-variable of a header field, or None for a field that must not become one (RFC 3875 section 4.1.18)."""
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
) -> Environ:
    """The whole environment of one guest: the operator's variables, the meta-variables, then the header fields.

    CONTENT_LENGTH is `0` until the body is there. `authority` is what `find_authority` found; `operator` holds no name
    of META_VARIABLES, and its `HTTP_*` names win over header fields. `trace` takes the place of what traceparent and
    tracestate say. Raises BadRequest for header fields that cannot be expressed, FieldsTooLarge over the
    bounds.
    """
    if len(request.headers) > MAX_FIELDS:
        raise FieldsTooLarge(f"the request has {len(request.headers)} header fields, more than {MAX_FIELDS}")
    fields = _fields(request)
    if pass_authorization and (credentials := request.values(b"authorization")):
        fields[b"HTTP_AUTHORIZATION"] = _field_value(b"authorization", credentials[0])
    fields.pop(b"HTTP_TRACEPARENT", None)
    fields.pop(b"HTTP_TRACESTATE", None)
    fields.update(trace)
    host, is_named = authority
    if not is_named:
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
        b"PATH_TRANSLATED": match.path_info,  # WAGI's; a host's paths are never told
        b"QUERY_STRING": request.query,
        b"CONTENT_LENGTH": b"0",
        b"CONTENT_TYPE": _content_type(request),
        b"REMOTE_ADDR": address,
        b"REMOTE_HOST": address,
        b"REMOTE_USER": b"",  # the gateway authenticates nobody
        b"AUTH_TYPE": b"",
        # What Apache, lighttpd and Go add
        b"REQUEST_URI": request.raw_path + query,
        b"REQUEST_SCHEME": scheme,
        # WAGI's
        b"X_FULL_URL": b"%s://%s:%s%s%s" % (scheme, host.name, port, match.path, query),
        b"X_MATCHED_ROUTE": match.pattern.encode(),
        b"X_RAW_PATH_INFO": match.raw_path_info,
        # Ours
        b"X_REQUEST_ID": request.request_id.encode(),
    }
    if https:
        environ[b"HTTPS"] = b"on"
    if request.client and request.client[1]:
        environ[b"REMOTE_PORT"] = b"%d" % request.client[1]
    if len(b"".join(environ)) + len(b"".join(environ.values())) > MAX_ENVIRON:
        raise FieldsTooLarge(f"the request would need more than {MAX_ENVIRON} bytes of environment")
    return environ


_THIS_HOST = b"127.0.0.1"  # a peer on a UNIX socket
_PROTOCOL = {"1.1": b"HTTP/1.1", "1.0": b"HTTP/1.0", "2": b"HTTP/2.0", "3": b"HTTP/3.0"}


def withheld(request: RequestHead) -> list[bytes]:
    """The names of the header fields that become no variable, for those who wonder where one is."""
    return [field for field, _ in request.headers if len(field) > MAX_NAME or _variable_name(field) is None]


def _fields(request: RequestHead) -> Environ:
    """Header fields as HTTP_* variables; repeated ones are joined in order (RFC 3875 section 4.1.18)."""
    variables: Environ = {}
    for field_name, values in request.fields.items():
        # What is kept in memory is the client's choice, so it is short.
        name = _variable_name(field_name) if len(field_name) <= MAX_NAME else None
        if name is not None:
            variables[name] = values[0] if len(values) == 1 else _joined(field_name, values)
    together = b"".join(variables.values())
    if together.isascii() and not _FIELD_CONTROL.search(together):
        return variables
    return {name: _field_value(_field_name(name), value) for name, value in variables.items()}


def _field_name(variable: bytes) -> bytes:
    return variable.removeprefix(b"HTTP_").lower().replace(b"_", b"-")


def _joined(field_name: bytes, values: Sequence[bytes]) -> bytes:
    """Each value is UTF-8 before they become one (or else one in ISO-8859-1 would change what the others say)."""
    return (b"; " if field_name == b"cookie" else b", ").join([_field_value(field_name, value) for value in values])


def _field_value(field: bytes, value: bytes) -> bytes:
    """A guest's environment is UTF-8 or nothing (wasmtime refuses all of it), so ISO-8859-1 is converted."""
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
    """A numeric address without brackets or zone."""
    address = host.partition("%")[0]
    return (address.removeprefix("::ffff:") if "." in address else address).encode()


def build_argv(template: str | None, mode: ArgvMode, request: RequestHead, path: bytes) -> list[bytes]:
    """The argument vector: from a template, or the request path and what `mode` makes of the query.

    In a template `${SCRIPT_NAME}` is replaced by the path and `${ARGS}` by the query's items, undecoded, and then it is
    split on white space; there is no shell and no quoting. Empty items vanish.
    """
    if template is not None:
        values = {b"${SCRIPT_NAME}": path, b"${ARGS}": b" ".join(_items(request.query))}
        # In one pass: a path that says ${ARGS} is no template.
        return _PLACEHOLDER.sub(lambda found: values[found[0]], template.encode()).split()
    if mode == "wagi":
        return [path, *_items(request.query)]
    return [path, *(_search_words(request) if mode == "rfc3875" else ())]


def _items(query: bytes) -> list[bytes]:
    return [item for item in query.split(b"&") if item] if query else []


def _search_words(request: RequestHead) -> list[bytes]:
    """The search words of an indexed query (RFC 3875 section 4.4): all, or none if one cannot be an argument."""
    if request.method not in ("GET", "HEAD") or b"=" in request.query or not request.query:
        return []
    words = [unquote_to_bytes(word) for word in request.query.split(b"+")]
    together = b" ".join(words)
    return words if b"\0" not in together and is_utf8(together) else []
