"""The environment and arguments of a guest (RFC 3875 section 4; docs/spec/cgi.md A1, A4; docs/spec/wagi.md W4)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.request_head import HOST, REQUEST
from wagi_gateway.cgi.environ import (
    MAX_ENVIRON,
    MAX_FIELDS,
    META_VARIABLES,
    SERVER_SOFTWARE,
    ArgvMode,
    Environ,
    build_argv,
    build_environ,
    is_usual,
)
from wagi_gateway.cgi.request import Authority, RequestHead, check_target, find_authority
from wagi_gateway.errors import BadRequest, FieldsTooLarge, RequestError
from wagi_gateway.router import RoutePattern, Router


def environ(
    *headers: tuple[bytes, bytes],
    request: RequestHead = REQUEST,
    route: str = "/e/...",
    operator: Environ | None = None,
    hostname: Authority | None = None,
    is_checked: bool = False,
) -> Environ:
    """The environment of a request with these header fields added."""
    match = Router([(RoutePattern(route), None)]).match(request.raw_path)
    assert match is not None
    request = replace(request, headers=request.headers + headers)
    check_target(request)
    authority = find_authority(request, hostname)
    return build_environ(request, match, authority=authority, operator=operator or {}, is_checked=is_checked)


def test_the_whole_environment() -> None:
    assert environ((b"cookie", b"a=1"), (b"x-foo", b"1")) == {
        b"AUTH_TYPE": b"",
        b"CONTENT_LENGTH": b"0",
        b"CONTENT_TYPE": b"",
        b"GATEWAY_INTERFACE": b"CGI/1.1",
        b"HTTP_COOKIE": b"a=1",
        b"HTTP_HOST": b"h:81",
        b"HTTP_X_FOO": b"1",
        b"PATH_INFO": b"/foo",
        b"PATH_TRANSLATED": b"/foo",
        b"QUERY_STRING": b"a=b&c",
        b"REMOTE_ADDR": b"192.0.2.7",
        b"REMOTE_HOST": b"192.0.2.7",
        b"REMOTE_PORT": b"4711",
        b"REMOTE_USER": b"",
        b"REQUEST_METHOD": b"GET",
        b"REQUEST_SCHEME": b"http",
        b"REQUEST_URI": b"/e/foo?a=b&c",
        b"SCRIPT_NAME": b"/e",
        b"SERVER_NAME": b"h",
        b"SERVER_PORT": b"81",
        b"SERVER_PROTOCOL": b"HTTP/1.1",
        b"SERVER_SOFTWARE": SERVER_SOFTWARE,
        b"X_FULL_URL": b"http://h:81/e/foo?a=b&c",
        b"X_MATCHED_ROUTE": b"/e/...",
        b"X_RAW_PATH_INFO": b"/foo",
        b"X_REQUEST_ID": b"r1",
    }


def test_every_meta_variable_is_known_as_one() -> None:
    https = replace(REQUEST, scheme="https")
    names = {name.decode() for name in environ(request=https) if not name.startswith(b"HTTP_")}
    assert names == META_VARIABLES - {"REMOTE_IDENT"}


@pytest.mark.parametrize(
    ("headers", "name", "value"),
    [
        ([(b"cookie", b"a=1"), (b"cookie", b"b=2")], b"HTTP_COOKIE", b"a=1; b=2"),
        ([(b"x-f", b"1"), (b"x-f", b"2")], b"HTTP_X_F", b"1, 2"),
        ([(b"x-f", b"")], b"HTTP_X_F", b""),
        ([(b"x-f", "é".encode())], b"HTTP_X_F", "é".encode()),
        ([(b"x-f", b"\xe9")], b"HTTP_X_F", "é".encode()),
        ([(b"x-f", b"a\tb")], b"HTTP_X_F", b"a\tb"),
        ([(b"content-type", b"Multipart/X; B=1")], b"CONTENT_TYPE", b"Multipart/X; B=1"),
        ([(b"content-type", b"Multipart/X; B=1")], b"HTTP_CONTENT_TYPE", b"Multipart/X; B=1"),
        ([(b"x-forwarded-for", b"6.6.6.6")], b"REMOTE_ADDR", b"192.0.2.7"),
        ([(b"x-request-id", b"theirs")], b"X_REQUEST_ID", b"r1"),
    ],
)
def test_header_fields(headers: list[tuple[bytes, bytes]], name: bytes, value: bytes) -> None:
    assert environ(*headers)[name] == value


@pytest.mark.parametrize(
    ("field", "variable"),
    [
        (b"proxy", b"HTTP_PROXY"),  # CVE-2016-5385
        (b"authorization", b"HTTP_AUTHORIZATION"),
        (b"proxy-authorization", b"HTTP_PROXY_AUTHORIZATION"),
        (b"content-length", b"HTTP_CONTENT_LENGTH"),
        (b"transfer-encoding", b"HTTP_TRANSFER_ENCODING"),
        (b"connection", b"HTTP_CONNECTION"),
        (b"keep-alive", b"HTTP_KEEP_ALIVE"),
        (b"te", b"HTTP_TE"),
        (b"trailer", b"HTTP_TRAILER"),
        (b"upgrade", b"HTTP_UPGRADE"),
        (b"proxy-connection", b"HTTP_PROXY_CONNECTION"),
        (b"x_forwarded_for", b"HTTP_X_FORWARDED_FOR"),
        (b"x.y", b"HTTP_X_Y"),
        (b"x'y", b"HTTP_X_Y"),
        (b"x+z", b"HTTP_X_Z"),
    ],
)
def test_withheld(field: bytes, variable: bytes) -> None:
    with_field = environ((field, b"evil"))
    assert variable not in with_field
    assert b"evil" not in with_field.values()


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        (b"foo.com", b"foo.com", b"80"),
        (b"foo.com:8080", b"foo.com", b"8080"),
        (b"foo.com:", b"foo.com", b"80"),
        (b"foo.com:00080", b"foo.com", b"80"),
        (b"[::1]:81", b"[::1]", b"81"),
        (b"[::1]", b"[::1]", b"80"),
        (b"192.0.2.1:1", b"192.0.2.1", b"1"),
    ],
)
def test_host(host: bytes, name: bytes, port: bytes) -> None:
    result = environ(request=replace(REQUEST, headers=((b"host", host),)))
    assert (result[b"SERVER_NAME"], result[b"SERVER_PORT"], result[b"HTTP_HOST"]) == (name, port, host)
    assert result[b"X_FULL_URL"] == b"http://" + name + b":" + port + b"/e/foo?a=b&c"


def test_http_1_0_without_host() -> None:
    old = replace(REQUEST, http_version="1.0", headers=())
    result = environ(request=old)
    assert (result[b"SERVER_NAME"], result[b"SERVER_PORT"], result[b"SERVER_PROTOCOL"]) == (
        b"127.0.0.1",
        b"3000",
        b"HTTP/1.0",
    )
    assert b"HTTP_HOST" not in result
    named = environ(request=old, hostname=Authority(b"name", b"8080"))
    assert (named[b"SERVER_NAME"], named[b"SERVER_PORT"]) == (b"name", b"8080")


def test_https() -> None:
    result = environ(request=replace(REQUEST, scheme="https", headers=((b"host", b"h"),)))
    assert (result[b"HTTPS"], result[b"SERVER_PORT"], result[b"REQUEST_SCHEME"]) == (b"on", b"443", b"https")


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (None, b"127.0.0.1"),
        (("::ffff:192.0.2.7", 9), b"192.0.2.7"),
        (("fe80::1%eth0", 9), b"fe80::1"),
        (("192.0.2.7", 0), b"192.0.2.7"),
    ],
    ids=["UNIX socket", "mapped", "zone", "no port"],
)
def test_client(client: tuple[str, int] | None, address: bytes) -> None:
    result = environ(request=replace(REQUEST, client=client))
    assert result[b"REMOTE_ADDR"] == result[b"REMOTE_HOST"] == address
    assert (b"REMOTE_PORT" in result) == bool(client and client[1])


def test_the_operator_wins_over_header_fields_but_not_over_the_request() -> None:
    operator = {b"HTTP_X_KEY": b"ours", b"MODE": b"test"}
    result = environ((b"x-key", b"theirs"), operator=operator)
    assert (result[b"HTTP_X_KEY"], result[b"MODE"], result[b"PATH_INFO"]) == (b"ours", b"test", b"/foo")


@pytest.mark.parametrize("value", [b"a\x01b", b"a\nb", b"a\x7f", b"\x00"])
def test_control_characters_in_a_field(value: bytes) -> None:
    with pytest.raises(BadRequest, match="control character"):
        environ((b"x-f", value))


def test_two_content_types() -> None:
    with pytest.raises(BadRequest, match="Content-Type"):
        environ((b"content-type", b"a/b"), (b"content-type", b"c/d"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"headers": (HOST, *((b"x-%d" % number, b"") for number in range(256)))}, FieldsTooLarge),
        ({"headers": (HOST, *((b"x-%d" % number, b"v" * 1000) for number in range(70)))}, FieldsTooLarge),
    ],
)
def test_bounds(change: dict[str, bytes], error: type[RequestError]) -> None:
    with pytest.raises(error):
        environ(request=replace(REQUEST, **change))  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=20).map(bytes.lower), st.binary(max_size=50)), max_size=8),
    st.binary(max_size=50),
)
def test_any_request_is_an_environment_wasmtime_takes_or_refused(
    headers: list[tuple[bytes, bytes]], query: bytes
) -> None:
    try:
        result = environ(*headers, request=replace(REQUEST, query=query))
    except RequestError:
        return
    for name, value in result.items():
        assert b"\0" not in name + value
        assert b"=" not in name
        (name + value).decode("utf-8")


def usual(*headers: tuple[bytes, bytes], request: RequestHead = REQUEST, operator: Environ | None = None) -> bool:
    """Whether a request with these header fields added is a usual one."""
    match = Router([(RoutePattern("/e/..."), None)]).match(request.raw_path)
    assert match is not None
    return is_usual(replace(request, headers=request.headers + headers), match, operator or {})


CONTENT_TYPE = (b"content-type", b"text/plain")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], True),
        ([(b"accept", b"*/*"), (b"x-tab", b"a\tb"), CONTENT_TYPE], True),
        ([(b"x-f", b"a\0b")], False),
        ([(b"x-f", b"a\x7fb")], False),
        ([(b"x-f", b"a\rb")], False),
        ([(b"x-f", "é".encode())], False),
        ([(b"x-f", b"\xe9")], False),
        ([CONTENT_TYPE, (b"content-type", b"text/html")], False),
        ([(b"x-f", b"v" * 8192)], False),
        ([(b"%d" % number, b"") for number in range(MAX_FIELDS)], False),
    ],
    ids=["none", "plain", "NUL", "DEL", "CR", "UTF-8", "ISO-8859-1", "two types", "large", "many"],
)
def test_a_usual_request(headers: list[tuple[bytes, bytes]], expected: bool) -> None:
    assert usual(*headers) is expected


def test_the_size_of_a_usual_request_includes_target_and_operator() -> None:
    assert not usual(request=replace(REQUEST, query=b"q" * 8192))
    assert not usual(request=replace(REQUEST, raw_path=b"/e/" + b"p" * 8192))
    assert not usual(operator={b"NAME": b"v" * 8192})
    assert usual(operator={b"NAME": b"v" * 1024})


@pytest.mark.parametrize(
    "change",
    [
        {"raw_path": b"/e/" + b"p" * 7000},
        {"query": b"q" * 7000},
        {"headers": (HOST, (b"content-type", b"v" * 7000))},
        {"headers": (HOST, *((b"%d" % number, b"") for number in range(255)))},
        {"headers": (HOST, *((b"x", b"") for _ in range(255)))},
        {"headers": ((b"host", b"h" * 256), (b"x-f", b"v" * 6800))},
    ],
    ids=["path", "query", "type", "fields", "repeated field", "host"],
)
def test_the_largest_usual_requests_fit_in_an_environment(change: dict[str, bytes]) -> None:
    request = replace(REQUEST, **change)  # type: ignore[arg-type]
    assert usual(request=request)
    variables = environ(request=request)
    assert len(b"".join(variables)) + len(b"".join(variables.values())) <= MAX_ENVIRON


@given(
    st.lists(st.tuples(st.sampled_from([b"content-type", b"x-f", b"cookie", b"x"]), st.binary(max_size=50)), max_size=8)
)
def test_a_usual_request_has_an_environment(headers: list[tuple[bytes, bytes]]) -> None:
    if usual(*headers):
        assert environ(*headers) == environ(*headers, is_checked=True)


@pytest.mark.parametrize(
    ("template", "mode", "query", "argv"),
    [
        (None, "wagi", b"foo=bar&b=1", [b"/x", b"foo=bar", b"b=1"]),
        (None, "wagi", b"foo+b%61r", [b"/x", b"foo+b%61r"]),
        (None, "wagi", b"", [b"/x"]),
        (None, "wagi", b"a&&b", [b"/x", b"a", b"b"]),
        (None, "rfc3875", b"foo+b%61r", [b"/x", b"foo", b"bar"]),
        (None, "rfc3875", b"foo=bar", [b"/x"]),
        (None, "rfc3875", b"a%3Db", [b"/x", b"a=b"]),
        (None, "rfc3875", b"a+%00", [b"/x"]),
        (None, "rfc3875", b"%C3+%A9", [b"/x"]),
        (None, "rfc3875", b"", [b"/x"]),
        (None, "none", b"-s", [b"/x"]),
        ("interp main", "wagi", b"-s", [b"interp", b"main"]),
        ("${SCRIPT_NAME} -x  ${ARGS}", "wagi", b"a&b=1", [b"/x", b"-x", b"a", b"b=1"]),
        ("", "wagi", b"a", []),
        ("interp ${SCRIPT_NAME}", "wagi", b"-s", [b"interp", b"/x"]),
    ],
)
def test_argv(template: str | None, mode: ArgvMode, query: bytes, argv: list[bytes]) -> None:
    assert build_argv(template, mode, replace(REQUEST, query=query), b"/x") == argv


def test_a_path_is_no_template() -> None:
    request = replace(REQUEST, query=b"-s")
    assert build_argv("interp ${SCRIPT_NAME}", "wagi", request, b"/${ARGS}") == [b"interp", b"/${ARGS}"]


def test_search_words_are_for_get_and_head() -> None:
    assert build_argv(None, "rfc3875", replace(REQUEST, method="POST", query=b"a+b"), b"/x") == [b"/x"]


def test_authorization_is_passed_if_configured() -> None:
    request = replace(REQUEST, headers=(HOST, (b"authorization", b"Basic dTpw")))
    match = Router([(RoutePattern("/e/..."), None)]).match(request.raw_path)
    assert match is not None
    result = build_environ(request, match, authority=find_authority(request), operator={}, pass_authorization=True)
    assert result[b"HTTP_AUTHORIZATION"] == b"Basic dTpw"
