"""The notation of `outbound.proxy`."""

from __future__ import annotations

from base64 import b64encode

import pytest

from wagi_gateway.outbound.proxy import Proxy


@pytest.mark.parametrize(
    ("text", "host", "port", "credentials"),
    [
        ("http://proxy.example.com", "proxy.example.com", 80, None),
        ("http://proxy.example.com:3128/", "proxy.example.com", 3128, None),
        ("HTTP://Proxy.Example.com:3128", "proxy.example.com", 3128, None),
        ("http://[::1]:3128", "::1", 3128, None),
        ("http://user:pass@proxy.test:3128", "proxy.test", 3128, b"user:pass"),
        ("http://user@proxy.test", "proxy.test", 80, b"user:"),
        ("http://a%3Ab:%C3%A9@proxy.test", "proxy.test", 80, "a:b:é".encode()),
    ],
    ids=["default-port", "port", "upper-case", "ipv6", "credentials", "user", "encoded"],
)
def test_parse(text: str, host: str, port: int, credentials: bytes | None) -> None:
    proxy = Proxy.parse(text)
    assert (proxy.host, proxy.port) == (host, port)
    value = credentials and b"Basic " + b64encode(credentials)
    assert list(proxy.fields) == ([(b"proxy-authorization", value)] if value else [])


@pytest.mark.parametrize(
    "text",
    [
        "proxy.test:3128",
        "https://user:SECRET@proxy.test",
        "socks5://user:SECRET@proxy.test",
        "http://user:SECRET@proxy.test/path",
        "http://user:SECRET@proxy.test/?q",
        "http://user:SECRET@proxy.test/#f",
        "http://user:SECRET@proxy test/",
        "",
    ],
    ids=["no-scheme", "https", "socks", "path", "query", "fragment", "bad-host", "empty"],
)
def test_an_error_never_holds_the_password(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a proxy; write for example") as raised:
        Proxy.parse(text)
    assert "SECRET" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
