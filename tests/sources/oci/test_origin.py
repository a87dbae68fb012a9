"""Origins, and which of them may see credentials."""

from __future__ import annotations

import socket

import pytest

from tests.support.own_address import own_address
from wagi_gateway.sources.oci.origin import Origin, check_peer, is_loopback


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://registry.test", ("https", "registry.test", 443)),
        ("HTTPS://Registry.test:443/v2/?x#y", ("https", "registry.test", 443)),
        ("http://user:pw@registry.test:5000/", ("http", "registry.test", 5000)),
        ("http://[::1]:5000/", ("http", "::1", 5000)),
    ],
)
def test_the_origin_of_a_url(url: str, origin: tuple[str, str, int]) -> None:
    assert Origin.of(url) == origin


@pytest.mark.parametrize("url", ["", "test", "/token", "//registry.test", "https://", "ftp://x/", "http://x:99999/"])
def test_what_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Origin.of(url)


@pytest.mark.parametrize(
    ("url", "is_trustworthy"),
    [
        ("https://registry.test", True),
        ("http://127.0.0.1:5000", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:5000", True),
        ("http://localhost:5000", True),
        ("http://registry.localhost", True),
        ("http://registry.test", False),
        ("http://192.0.2.1", False),
        ("http://0.0.0.0", False),
        ("http://127.1", False),
        ("http://2130706433", False),
        ("http://localhost.evil.test", False),
        ("http://127.0.0.1.evil.test", False),
        ("http://127.0.0.1@evil.test", False),
        ("http://evillocalhost", False),
    ],
)
def test_which_origins_are_trustworthy(url: str, is_trustworthy: bool) -> None:
    assert Origin.of(url).is_trustworthy == is_trustworthy


def test_a_loopback_name_has_a_loopback_address() -> None:
    """A name server may say anything of registry.localhost (RFC 6761 section 6.3)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.connect((own_address(), 9))  # sends nothing
        check_peer("registry.test", connection)
        with pytest.raises(OSError, match="resolved to the address of another machine"):
            check_peer("registry.localhost", connection)
        connection.connect(("127.0.0.1", 9))
        check_peer("registry.localhost", connection)
    assert is_loopback("registry.localhost")
