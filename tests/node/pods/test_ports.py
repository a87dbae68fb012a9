"""The listening socket of a Pod."""

from __future__ import annotations

import pytest

from tests.support.pods import free_port
from wagi_gateway.node.pods.ports import PortUnavailable, bind, reachable


def test_a_taken_port_is_named() -> None:
    port = free_port()
    with bind("127.0.0.1", port) as listener:
        assert listener.getsockname() == ("127.0.0.1", port)
        with pytest.raises(PortUnavailable, match=f"127.0.0.1:{port}: the port is taken"):
            bind("127.0.0.1", port)
    bind("127.0.0.1", port).close()


@pytest.mark.parametrize(
    ("host", "message"),
    [("192.0.2.1", "Cannot assign"), ("2001:db8::1", r"\[2001:db8::1\]:3001"), ("no host", "no address of this node")],
)
def test_an_address_of_another_host(host: str, message: str) -> None:
    with pytest.raises(PortUnavailable, match=message):
        bind(host, 3001)


def test_a_wildcard_is_reached_on_loopback() -> None:
    assert reachable("::", 1) == ("::1", 1)
    assert reachable("192.0.2.1", 1) == ("192.0.2.1", 1)
