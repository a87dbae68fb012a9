"""X-Forwarded-* fields: used from trusted proxies, ignored from all other peers (docs/spec/cgi.md A2)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from tests.support.request_head import REQUEST
from wagi_gateway.cgi.forwarded import Proxies, apply_forwarded, ignored_proxy
from wagi_gateway.cgi.request import RequestHead

TRUSTED = (ip_network("192.0.2.7"), ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


def request(peer: str = "192.0.2.7", **fields: str) -> RequestHead:
    """A request from `peer` with X-Forwarded-* fields; `|` separates repeated fields."""
    headers = tuple(
        (f"x-forwarded-{name}".encode(), value.encode()) for name, both in fields.items() for value in both.split("|")
    )
    return replace(REQUEST, client=(peer, 9), headers=headers)


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ("6.6.6.6, 203.0.113.9, 10.0.0.2", ("203.0.113.9", 0)),
        ("203.0.113.9", ("203.0.113.9", 0)),
        ("203.0.113.9:4711", ("203.0.113.9", 4711)),
        ("6.6.6.6|203.0.113.9", ("203.0.113.9", 0)),
        ("2001:DB9::1", ("2001:db9::1", 0)),
        ("[2001:db9::1]", ("2001:db9::1", 0)),
        ("[2001:db9::1]:80", ("2001:db9::1", 80)),
        ("10.0.0.1, 10.0.0.2", ("10.0.0.1", 0)),
        ("203.0.113.9, [2001:db8::5]", ("203.0.113.9", 0)),
        ("::ffff:203.0.113.9", ("203.0.113.9", 0)),
        ("unknown", ("192.0.2.7", 9)),
        ("203.0.113.9, evil", ("192.0.2.7", 9)),
        ("203.0.113.9:99999", ("192.0.2.7", 9)),
        ("", ("192.0.2.7", 9)),
        ("203.0.113.9,", ("192.0.2.7", 9)),
        ("1.2.3", ("192.0.2.7", 9)),
        ("é", ("192.0.2.7", 9)),
    ],
)
def test_client(hops: str, client: tuple[str, int]) -> None:
    assert apply_forwarded(request(**{"for": hops}), TRUSTED).client == client


@pytest.mark.parametrize(
    ("proto", "scheme"),
    [("https", "https"), ("HTTPS", "https"), ("http", "http"), ("ftp", "http"), ("", "http"), ("http, https", "https")],
)
def test_scheme(proto: str, scheme: str) -> None:
    assert apply_forwarded(request(proto=proto), TRUSTED).scheme == scheme


@pytest.mark.parametrize(
    ("port", "known"),
    [("8443", b"8443"), ("0", None), ("65536", None), ("x", None), ("", None), ("9" * 5000, None), ("80, 81", b"81")],
)
def test_port(port: str, known: bytes | None) -> None:
    assert apply_forwarded(request(port=port), TRUSTED).forwarded_port == known


@pytest.mark.parametrize("peer", ["192.0.2.8", "203.0.113.1", "not an address"])
def test_fields_of_other_peers_are_ignored(peer: str) -> None:
    made = request(peer, **{"for": "6.6.6.6", "proto": "https", "port": "1"})
    assert apply_forwarded(made, TRUSTED) is made


def test_no_proxy_is_trusted_by_default() -> None:
    made = request(**{"for": "6.6.6.6"})
    assert apply_forwarded(made, ()) is made


@pytest.mark.parametrize(
    ("server", "trusted", "client"),
    [
        (("/run/wagi.sock", None), ("unix",), ("6.6.6.6", 0)),
        (("/run/wagi.sock", None), ("unix", *TRUSTED), ("6.6.6.6", 0)),
        (("/run/wagi.sock", None), TRUSTED, None),
        (("127.0.0.1", 3000), ("unix",), None),
        (None, ("unix",), None),
    ],
)
def test_a_peer_without_an_address(
    server: tuple[str, int | None] | None, trusted: tuple[Proxies, ...], client: tuple[str, int] | None
) -> None:
    made = replace(request(**{"for": "6.6.6.6"}), client=None, server=server)
    assert apply_forwarded(made, trusted).client == client


def test_unix_is_no_address() -> None:
    made = request(**{"for": "6.6.6.6"})
    assert apply_forwarded(made, ("unix",)) is made


def test_a_mapped_peer_is_the_same_peer() -> None:
    assert apply_forwarded(request("::ffff:10.1.2.3", **{"for": "6.6.6.6"}), TRUSTED).client == ("6.6.6.6", 0)


@pytest.mark.parametrize(
    ("client", "server", "trusted", "expected"),
    [
        (("127.0.0.1", 1), ("127.0.0.1", 80), (), "127.0.0.1"),
        (("::1", 1), ("::1", 80), (), "::1"),
        (("::ffff:10.0.0.1", 1), ("::", 80), (), "10.0.0.1"),
        (("10.0.0.1", 1), ("10.0.0.2", 80), (ip_network("127.0.0.0/8"),), "10.0.0.1"),
        (("10.0.0.1", 1), ("10.0.0.2", 80), (ip_network("10.0.0.0/8"),), None),
        (("8.8.8.8", 1), ("10.0.0.2", 80), (), None),
        (("testclient", 1), ("testserver", 80), (), None),
        (None, ("/run/s", None), (), "unix"),
        (None, ("/run/s", None), ("unix",), None),
        (None, None, (), None),
    ],
    ids=str,
)
def test_a_proxy_that_is_not_named(
    client: tuple[str, int] | None,
    server: tuple[str, int | None] | None,
    trusted: tuple[Proxies, ...],
    expected: str | None,
) -> None:
    assert ignored_proxy(replace(REQUEST, client=client, server=server), trusted) == expected
