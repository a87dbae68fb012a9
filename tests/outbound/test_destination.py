"""Destinations: URLs by the WHATWG URL standard, redirects, canonical hosts."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagi_gateway.outbound.destination import Destination, address_of, canonical_host


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "target", "origin"),
    [
        ("http://example.com", "http", "example.com", 80, "/", "http://example.com"),
        ("https://example.com", "https", "example.com", 443, "/", "https://example.com"),
        ("HTTP://0x7F.1:8080/a?b#c", "http", "127.0.0.1", 8080, "/a?b", "http://127.0.0.1:8080"),
        ("http://example.com?", "http", "example.com", 80, "/", "http://example.com"),
        ("http://example.com?a=b", "http", "example.com", 80, "/?a=b", "http://example.com"),
        ('http://example.com/a b"<>`{}', "http", "example.com", 80, "/a%20b%22%3C%3E%60%7B%7D", "http://example.com"),
        ("http://example.com/é?é'", "http", "example.com", 80, "/%C3%A9?%C3%A9%27", "http://example.com"),
        ("http://example.com/a/../b/./c", "http", "example.com", 80, "/b/c", "http://example.com"),
        ("http://example.com/%2e%2E/a%2Fb", "http", "example.com", 80, "/a%2Fb", "http://example.com"),
        ("http://example.com/%0d%0a%00", "http", "example.com", 80, "/%0d%0a%00", "http://example.com"),
        ("http://example.com/a\r\nb", "http", "example.com", 80, "/ab", "http://example.com"),
        ("http://example.com/a\x01\x7f", "http", "example.com", 80, "/a%01%7F", "http://example.com"),
        ("http://example.com\\a\\b", "http", "example.com", 80, "/a/b", "http://example.com"),
        ("http://example.com//evil.com", "http", "example.com", 80, "//evil.com", "http://example.com"),
        ("http://a:b@example.com./", "http", "example.com", 80, "/", "http://example.com"),
        ("http://[::FFFF:10.0.0.1]:81/", "http", "10.0.0.1", 81, "/", "http://10.0.0.1:81"),
        ("https://[2001:DB8:0::1]/", "https", "2001:db8::1", 443, "/", "https://[2001:db8::1]"),
        ("https://bücher.example:80/", "https", "xn--bcher-kva.example", 80, "/", "https://xn--bcher-kva.example:80"),
    ],
)
def test_destination(url: str, scheme: str, host: str, port: int, target: str, origin: str) -> None:
    found = Destination.parse(url)
    assert (found.scheme, found.host, found.port, found.target) == (scheme, host, port, target.encode())
    assert found.origin == origin
    assert found.authority == origin.partition("://")[2]
    assert found.authorization == (b"Basic " + b64encode(b"a:b") if "a:b@" in url else None)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("b", "http://user@example.com:81/x/b"),
        ("/b", "http://user@example.com:81/b"),
        ("../../b", "http://user@example.com:81/b"),
        ("?q", "http://user@example.com:81/x/y?q"),
        ("#f", "http://user@example.com:81/x/y?z#f"),
        ("", "http://user@example.com:81/x/y?z"),
        ("//other.test/b", "http://other.test/b"),
        ("\\\\other.test\\b", "http://other.test/b"),
        ("/\\other.test", "http://other.test/"),
        ("\t//other.test", "http://other.test/"),
        ("http:b", "http://user@example.com:81/x/b"),
        ("https:other.test", "https://other.test/"),
        ("https://other.test", "https://other.test/"),
    ],
)
def test_destination_of_a_redirect(location: str, url: str) -> None:
    base = Destination.parse("http://user@example.com:81/x/y?z")
    found = Destination.parse(location, base)
    assert (found.url, found.origin) == (url, Destination.parse(url).origin)


NO_URLS = [
    "",
    "a",
    "/a",
    "http:",
    "http://",
    "http://:80",
    "http://a:b",
    "http://a b/",
    "http://[::1",
    "file:///a",
    "data:a",
]
NO_URLS += [
    "http://.example.com/",
    "http://a..example.com/",
    "http://example.com../",
    "http://%2e/",
    "http://127.0.0.1../",
]


@pytest.mark.parametrize("url", NO_URLS)
def test_no_destination(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are those of the parser
        Destination.parse(url)


@given(st.text(st.characters(codec="utf-8"), max_size=30), st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_destination_can_be_sent(host: str, rest: str) -> None:
    """No URL ends the request line or the Host header, or is parsed differently a second time."""
    try:
        found = Destination.parse(f"http://{host}/{rest}")
    except ValueError:
        return
    assert found.target[:1] == b"/"
    assert all(0x20 < octet < 0x7F for octet in found.target + found.authority.encode("ascii"))
    again = Destination.parse(found.url)
    assert (again.origin, again.target) == (found.origin, found.target)
    assert Destination.parse(f"{found.origin}/").origin == found.origin


@pytest.mark.parametrize(
    ("host", "canonical", "is_address"),
    [
        ("example.com", "example.com", False),
        ("example.com.", "example.com", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("[::1]", "::1", True),
        ("[::ffff:7f00:1]", "127.0.0.1", True),
        ("[64:ff9b::7f00:1]", "64:ff9b::7f00:1", True),
    ],
)
def test_canonical_host(host: str, canonical: str, is_address: bool) -> None:
    assert canonical_host(host) == canonical
    assert (address_of(canonical) is not None) == is_address


@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [("a", b"a:"), (":b", b":b"), ("a:b:c", b"a:b:c"), ("%C3%A9:%0d%0a", "é:\r\n".encode()), ("a%3Ab:c", b"a:b:c")],
)
def test_credentials_are_encoded(userinfo: str, credentials: bytes) -> None:
    destination = Destination.parse(f"http://{userinfo}@example.com/")
    assert destination.authorization == b"Basic " + b64encode(credentials)
