"""The request head: bounds of the target, the authority, and the request of a local redirect."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from tests.support.request_head import HOST
from tests.support.request_head import REQUEST as PLAIN_REQUEST
from wagi_gateway.cgi.request import MAX_TARGET, Authority, RequestHead, check_target, find_authority, redirected
from wagi_gateway.errors import BadRequest, RequestError, UriTooLong

REQUEST = dataclasses.replace(PLAIN_REQUEST, query=b"")


def test_values_of_a_field_keep_their_order() -> None:
    request = replace(REQUEST, headers=(HOST, (b"a", b"2"), (b"b", b""), (b"a", b"1")))
    assert [list(request.values(name)) for name in (b"a", b"b", b"c")] == [[b"2", b"1"], [b""], []]


def test_values_of_a_field_have_no_white_space_around_them() -> None:
    request = replace(REQUEST, headers=(HOST, (b"a", b" 1\t"), (b"b", b"\t2 3"), (b"b", b" ")))
    assert request.fields == {b"host": [b"h:81"], b"a": [b"1"], b"b": [b"2 3", b""]}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"query": b"a" * MAX_TARGET}, UriTooLong),
        ({"query": b"a\x00"}, BadRequest),
        ({"query": b"a b"}, BadRequest),
        ({"query": b"a#b"}, BadRequest),
        ({"query": b"\xff"}, BadRequest),
        ({"raw_path": b"/\xc3", "query": b"\xa9"}, BadRequest),
    ],
    ids="too long|NUL|blank|fragment|ISO-8859-1|UTF-8 across the question mark".split("|"),
)
def test_targets_that_are_refused(change: dict[str, bytes], error: type[RequestError]) -> None:
    with pytest.raises(error):
        check_target(replace(REQUEST, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("query", [b"", "é".encode(), b"a" * (MAX_TARGET - len(REQUEST.raw_path)), b"%00%23%20"])
def test_targets_that_are_accepted(query: bytes) -> None:
    check_target(replace(REQUEST, query=query))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"foo.com", (b"foo.com", b"")),
        (b"foo.com:8080", (b"foo.com", b"8080")),
        (b"foo.com:", (b"foo.com", b"")),
        (b"foo.com:00080", (b"foo.com", b"80")),
        (b"[::1]:81", (b"[::1]", b"81")),
        (b"192.0.2.1", (b"192.0.2.1", b"")),
        (b"a%2Db", (b"a%2Db", b"")),
    ],
)
def test_authorities(value: bytes, expected: tuple[bytes, bytes]) -> None:
    authority = Authority.parse(value)
    assert (authority.name, authority.port) == expected


@pytest.mark.parametrize(
    "headers",
    [((b"host", host),) for host in (b"a b", b"u@h", b"h:99999", b"h:8a", b"h/../x", b"[::1", b"h?x", b"[v]", b"h:0")]
    + [(), (HOST, HOST), (HOST, (b"host", b"other"))],
)
def test_refused_host(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    with pytest.raises(BadRequest, match="Host"):
        find_authority(replace(REQUEST, headers=headers))


@pytest.mark.parametrize("value", [b"u:s3cr3t@h", b"u@s3cr3t@h", b"s3cr3t@h:80"])
def test_a_password_in_an_authority_is_not_shown(value: bytes) -> None:
    for change in ({"headers": ((b"host", value),)}, {"target_authority": value}):
        with pytest.raises(BadRequest, match="Host header b'@h") as raised:
            find_authority(replace(REQUEST, **change))
        assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("change", [{"headers": ((b"host", b"h" * 257),)}, {"target_authority": b"h" * 257}])
def test_a_host_that_is_too_long(change: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match="more than 256 bytes"):
        find_authority(replace(REQUEST, **change))  # type: ignore[arg-type]


OLD = replace(REQUEST, http_version="1.0", headers=())


@pytest.mark.parametrize(
    ("request_head", "hostname", "name", "port", "is_named"),
    [
        (REQUEST, None, b"h", b"81", True),
        (REQUEST, Authority(b"ours", b""), b"h", b"81", True),
        (replace(REQUEST, target_authority=b"t:9"), None, b"t", b"9", True),
        (OLD, None, b"127.0.0.1", b"3000", False),
        (OLD, Authority(b"ours", b"8080"), b"ours", b"8080", False),
        (replace(OLD, server=("::1", 80)), None, b"[::1]", b"80", False),
        (replace(OLD, server=("/run/wagi.sock", None)), None, b"localhost", b"", False),
        (replace(OLD, server=None), None, b"localhost", b"", False),
        (replace(REQUEST, headers=((b"host", b""),)), None, b"127.0.0.1", b"3000", False),
    ],
    ids="Host|before hostname|absolute form|TCP|hostname|IPv6|UNIX socket|no server|empty Host".split("|"),
)
def test_the_authority(
    request_head: RequestHead, hostname: Authority | None, name: bytes, port: bytes, is_named: bool
) -> None:
    assert find_authority(request_head, hostname) == (Authority(name, port), is_named)


def test_an_invalid_host_is_refused_beside_an_absolute_target() -> None:
    with pytest.raises(BadRequest, match="not a host"):
        find_authority(replace(REQUEST, headers=((b"host", b"a b"),), target_authority=b"t"))


@pytest.mark.parametrize(("method", "then"), [("GET", "GET"), ("HEAD", "HEAD"), ("POST", "GET"), ("DELETE", "GET")])
def test_a_local_redirect_has_no_body(method: str, then: str) -> None:
    kept = (HOST, (b"cookie", b"a=1"))
    of_body = ((b"content-type", b"a/b"), (b"content-length", b"3"), (b"expect", b"100-continue"))
    request = replace(REQUEST, method=method, headers=(*kept, *of_body, (b"transfer-encoding", b"chunked")))
    redirect = redirected(request, b"//host/x?a?b")
    assert (redirect.method, redirect.raw_path, redirect.query, redirect.headers) == (then, b"//host/x", b"a?b", kept)
    assert (redirect.client, redirect.request_id) == (request.client, request.request_id)
