"""Target: the `Forwarded` and `X-Forwarded-*` fields of proxies and of clients that pose as a proxy."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from wagi_gateway.cgi.forwarded import apply_forwarded
from wagi_gateway.cgi.request import RequestHead

_TRUSTED = (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
_NAMES = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-port", b"forwarded")

SEEDS = (
    b"0203.0.113.9\n1https\n28443",
    b"06.6.6.6, 10.0.0.1\n0[2001:db8::1]:80, 10.1.2.3:99\n1http,HTTPS",
    b"0::ffff:127.0.0.1\n0fd00::1%eth0, unknown, _hidden\n265536\n2 1",
    b"3for=6.6.6.6\n0\n0,,",
)


def check(data: bytes) -> None:
    """Each line is a field; its first byte chooses the name."""
    lines = [line for line in data.split(b"\n") if line]
    fields = tuple((_NAMES[line[0] % 4], line[1:]) for line in lines)
    request = RequestHead("GET", b"/", b"", "1.1", "http", fields, ("127.0.0.1", 5), ("127.0.0.1", 80), "1")
    found = apply_forwarded(request, _TRUSTED)
    assert found.client
    address, port = found.client
    assert str(ip_address(address)) == address
    assert "%" not in address
    assert 0 <= port < 65536
    assert found.scheme in ("http", "https")
    assert found.forwarded_port is None or 0 < int(found.forwarded_port) < 65536
    assert replace(found, client=request.client, scheme="http", forwarded_port=None) == request
    # The fields of a peer that is no trusted proxy have no effect.
    stranger = replace(request, client=("203.0.113.1", 5))
    assert apply_forwarded(stranger, _TRUSTED) is stranger
    # Hops that a client puts in front of its proxy's own have no effect, unless all hops are proxies.
    claimed = replace(request, headers=((b"x-forwarded-for", b"6.6.6.6"), *fields))
    again = apply_forwarded(claimed, _TRUSTED)
    assert again.client == found.client or any(ip_address(address) in network for network in _TRUSTED)
