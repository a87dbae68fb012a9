"""Requests: the validation of method and fields, the header section, redirects."""

# ruff: noqa: RUF001 - the tests are about ambiguous characters

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagi_gateway.outbound.destination import Destination
from wagi_gateway.outbound.errors import InvalidEncoding, InvalidMethod
from wagi_gateway.outbound.request import Request, check_method, parse_fields

GATEWAYS = """host content-length transfer-encoding connection keep-alive proxy-connection proxy-authorization te
trailer upgrade expect proxy proxy-foo proxy_foo transfer_encoding content_length""".split()


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        pytest.param("", [], id="none"),
        pytest.param("a:b", [("a", "b")], id="one"),
        pytest.param("a:b\n", [("a", "b")], id="ended"),
        pytest.param("a:b\r\n", [("a", "b")], id="ended-with-crlf"),
        pytest.param("a:b\nc:d", [("a", "b"), ("c", "d")], id="two"),
        pytest.param("a:b\r\nc:d\r\n", [("a", "b"), ("c", "d")], id="two-with-crlf"),
        pytest.param("Content-Type:text/x", [("content-type", "text/x")], id="lower-case"),
        pytest.param("a:1\na:2", [("a", "2")], id="last-wins"),
        pytest.param("a:1\nb:2\nA:3", [("a", "3"), ("b", "2")], id="last-wins-in-any-case"),
        pytest.param("a:1\na:", [("a", "")], id="last-wins-though-empty"),
        pytest.param("a:", [("a", "")], id="empty-value"),
        pytest.param("a: ", [("a", "")], id="blank-value"),
        pytest.param("a:  b \t", [("a", "b")], id="blanks-around"),
        pytest.param("a:b\tc d", [("a", "b\tc d")], id="blanks-inside"),
        pytest.param("a:b:c", [("a", "b:c")], id="colon-in-the-value"),
        pytest.param("a::", [("a", ":")], id="colon-as-the-value"),
        pytest.param('a:!~"\\', [("a", '!~"\\')], id="visible"),
        pytest.param("!#$%&'*+-.^_`|~09az:x", [("!#$%&'*+-.^_`|~09az", "x")], id="token"),
        pytest.param(f"a:{'x' * 60_000}", [("a", "x" * 60_000)], id="long"),
        pytest.param(
            "authorization:Bearer x\ncookie:a=b", [("authorization", "Bearer x"), ("cookie", "a=b")], id="own"
        ),
        pytest.param("hosts:x\nx-host:y", [("hosts", "x"), ("x-host", "y")], id="nearly-the-gateways"),
        pytest.param("proxied:x\nx_proxy-a:y", [("proxied", "x"), ("x_proxy-a", "y")], id="nearly-a-proxys"),
    ],
)
def test_fields(text: str, fields: list[tuple[str, str]]) -> None:
    assert parse_fields(text) == [(name.encode(), value.encode()) for name, value in fields]


@pytest.mark.parametrize("name", GATEWAYS)
def test_fields_of_the_gateway_are_left_out(name: str) -> None:
    for text in (f"{name}:x", f"{name.upper()}: x", f"{name.title()}:x\n{name}:y\n"):
        assert parse_fields(f"a:b\n{text}") == [(b"a", b"b")]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a", id="no-colon"),
        pytest.param("\n", id="blank-line"),
        pytest.param("\r\n", id="blank-line-with-cr"),
        pytest.param("a:b\n\n", id="blank-line-at-the-end"),
        pytest.param("a:b\n\nc:d", id="blank-line-inside"),
        pytest.param("a:b\r\n\r\nGET / HTTP/1.1", id="second-request"),
        pytest.param(":b", id="no-name"),
        pytest.param(" a:b", id="blank-before-the-name"),
        pytest.param("a :b", id="blank-after-the-name"),
        pytest.param("a b:c", id="blank-in-the-name"),
        pytest.param("a:b\n c", id="folded"),
        pytest.param("a:b\n\tc:d", id="folded-with-a-colon"),
        pytest.param("a:b\rc:d", id="cr-inside"),
        pytest.param("a:b\r\r\n", id="two-crs"),
        pytest.param("a\r:b", id="cr-in-the-name"),
        pytest.param("a:b\0", id="nul-in-the-value"),
        pytest.param("a\0:b", id="nul-in-the-name"),
        pytest.param("a:\x7f", id="del"),
        pytest.param("a:\x0b", id="vertical-tab"),
        pytest.param("a:\x85host:x", id="next-line"),
        pytest.param("a:b\u2028host:x", id="line-separator"),
        pytest.param("a:b\u560ahost:x", id="line-feed-in-the-low-byte"),
        pytest.param("a:é", id="not-ascii"),
        pytest.param("ａ:b", id="full-width-name"),
        pytest.param("a：b", id="full-width-colon"),
        pytest.param("a(b):c", id="parentheses"),
        pytest.param('"a":b', id="quotes"),
        pytest.param("host\u212a:b", id="kelvin-sign"),
        pytest.param("host", id="the-gateways-without-colon"),
        pytest.param("host:\x01", id="the-gateways-with-a-bad-value"),
    ],
)
def test_malformed_fields(text: str) -> None:
    with pytest.raises(InvalidEncoding):
        parse_fields(text)


@given(st.text(st.characters(codec="utf-8")) | st.text(st.sampled_from("ahost:\r\n \t\0é-")))
def test_fields_never_hold_a_line_end(text: str) -> None:
    try:
        fields = parse_fields(text)
    except InvalidEncoding:
        return
    for name, value in fields:
        assert name == name.lower()
        assert name.decode() not in GATEWAYS
        assert not set(name + value) & set(b"\r\n\0")
        assert value == value.strip()
    assert len({name for name, _ in fields}) == len(fields)


@pytest.mark.parametrize("method", ["GET", "get", "Post", "BREW", "M-SEARCH", "!#$%&'*+-.^_`|~", "X" * 64, "CONNECTED"])
def test_methods(method: str) -> None:
    assert check_method(method) == method


BAD_METHODS = ["", " ", "G T", " GET", "GET ", "GET\n", "GET\r\n", "GET / HTTP/1.1\r\nx:", "G(T", "G/T", "G:T", "G\0T"]
BAD_METHODS += ["GÉT", "ＧＥＴ", "CONNECT", "connect", "Connect", "X" * 65]


@pytest.mark.parametrize("method", BAD_METHODS)
def test_bad_methods(method: str) -> None:
    with pytest.raises(InvalidMethod):
        check_method(method)


HERE = Destination.parse("https://example.com/a")
FIELDS = [
    (b"accept", b"text/x"),
    (b"authorization", b"Bearer x"),
    (b"content-encoding", b"gzip"),
    (b"content-language", b"en"),
    (b"content-type", b"text/x"),
    (b"cookie", b"a=b"),
    (b"digest", b"sha-256=x"),
    (b"last-modified", b"x"),
    (b"repr-digest", b"sha-256=:x:"),
    (b"x-own", b"1"),
]
KEPT = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "post")


@pytest.mark.parametrize(
    ("status", "changed"),
    [(301, {"POST"}), (302, {"POST"}), (303, set(KEPT) - {"HEAD"}), (307, set[str]()), (308, set[str]())],
)
@pytest.mark.parametrize("method", KEPT)
def test_method_after_a_redirect(status: int, changed: set[str], method: str) -> None:
    """RFC 9110 section 15.4; methods are case-sensitive (section 9.1)."""
    request = Request(method, FIELDS, b"body")
    followed = request.redirected(status, HERE, Destination.parse("/b", HERE))
    if method in changed:
        names = {b"accept", b"authorization", b"cookie", b"x-own"}
        assert followed == Request("GET", [field for field in FIELDS if field[0] in names], b"")
        assert b"content-length" not in dict(followed.headers(HERE))
    else:
        assert followed == request


@pytest.mark.parametrize(
    ("location", "same"),
    [
        ("/b", True),
        ("https://example.com/b", True),
        ("https://EXAMPLE.com:443/b", True),
        ("https://example.com./b", True),
        ("//example.com/b", True),
        ("http://example.com/b", False),
        ("http://example.com:443/b", False),
        ("https://example.com:8443/b", False),
        ("https://www.example.com/b", False),
        ("https://example.com.evil.com/b", False),
        ("https://example.com@evil.com/b", False),
        ("//evil.com/b", False),
        ("\\\\evil.com\\b", False),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_stay_with_their_origin(location: str, same: bool, status: int) -> None:
    to = Destination.parse(location, HERE)
    for method in ("GET", "POST"):
        request = Request(method, FIELDS, b"body")
        followed = request.redirected(status, HERE, to)
        back = followed.redirected(status, to, HERE)
        for headers in (followed.headers(to), back.headers(HERE)):  # dropped fields do not return
            names = {name for name, _ in headers}
            assert ((b"authorization", b"Bearer x") in headers, b"cookie" in names) == (same, same)
            assert {b"accept", b"x-own"} <= names


def test_credentials_in_a_url_stay_with_it() -> None:
    first = Destination.parse("http://user:pass@example.com/a")
    assert first.authorization == b"Basic " + b64encode(b"user:pass")
    assert Destination.parse("http://example.com/b", first).authorization is None
    assert Destination.parse("//evil.com/b", first).authorization is None
    assert Destination.parse("/b", first).authorization == first.authorization
    request = Request("GET", (), b"")
    assert dict(request.headers(first))[b"authorization"] == first.authorization
    evil = Destination.parse("http://evil.com/", first)
    assert b"authorization" not in dict(request.redirected(302, first, evil).headers(evil))


def test_an_authorization_field_wins_over_the_url() -> None:
    destination = Destination.parse("http://user:pass@example.com/")
    headers = Request("GET", [(b"authorization", b"Bearer x")], b"").headers(destination)
    assert [value for name, value in headers if name == b"authorization"] == [b"Bearer x"]


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", b"", None),
        ("HEAD", b"", None),
        ("OPTIONS", b"", None),
        ("DELETE", b"", None),
        ("POST", b"", b"0"),
        ("PUT", b"", b"0"),
        ("PATCH", b"", b"0"),
        ("BREW", b"", b"0"),
        ("GET", b"12", b"2"),
        ("POST", b"123", b"3"),
    ],
)
def test_content_length(method: str, body: bytes, length: bytes | None) -> None:
    """RFC 9110 section 8.6."""
    assert dict(Request(method, (), body).headers(HERE)).get(b"content-length") == length


def test_headers() -> None:
    request = Request("POST", parse_fields("Host: evil.com\nAccept: text/x\nContent-Length: 99\nX-Own: 1"), b"body")
    assert request.headers(Destination.parse("http://[::1]:81/")) == [
        (b"host", b"[::1]:81"),
        (b"accept", b"text/x"),
        (b"x-own", b"1"),
        (b"user-agent", b"wagi-gateway"),
        (b"content-length", b"4"),
    ]


def test_defaults() -> None:
    headers = dict(Request("GET", [(b"user-agent", b"mine")], b"").headers(HERE))
    assert headers == {b"host": b"example.com", b"user-agent": b"mine", b"accept": b"*/*"}


@pytest.mark.parametrize("name", ["authorization", "cookie", "cookie2", "www-authenticate"])
def test_fields_that_stay_with_their_origin(name: str) -> None:
    request = Request("GET", [(name.encode(), b"secret")], b"")
    assert request.redirected(302, HERE, Destination.parse("/b", HERE)).fields == request.fields
    for other in ("http://example.com/", "https://example.com:444/", "https://a.example.com/", "//example.com.test/"):
        assert request.redirected(302, HERE, Destination.parse(other, HERE)).fields == []


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ((b"authorization", b"NTLM TlRMTVNTUAAB"), True),
        ((b"authorization", b"Negotiate YII="), True),
        ((b"authorization", b"nEgOtIaTe YII="), True),
        ((b"authorization", b"Basic bnRsbTo="), False),
        ((b"authorization", b"Bearer ntlm"), False),
        ((b"x-authorization", b"NTLM x"), False),
    ],
)
def test_credentials_of_a_connection(field: tuple[bytes, bytes], expected: bool) -> None:
    """RFC 4559 section 6: NTLM and Negotiate authenticate the connection, which is then not used again."""
    assert Request("GET", [field], b"").authenticates_connection == expected
