"""The listening socket of a Pod."""

from __future__ import annotations

import pytest

from tests.support.pods import a_pod, free_port
from wagi_gateway.node.pods.ports import Listeners, PortUnavailable, bind, reachable


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


@pytest.mark.parametrize(
    ("host", "port", "holder"),
    [
        ("10.1.2.1", 3001, "default/one"),
        ("0.0.0.0", 3001, "default/one"),
        ("10.1.2.2", 3001, ""),
        ("10.1.2.1", 3002, ""),
        ("10.1.2.2", 8080, "default/all"),
    ],
)
def test_the_pod_of_a_clash(host: str, port: int, holder: str) -> None:
    listeners = Listeners()
    listeners.add("10.1.2.1", 3001, a_pod(name="one"))
    listeners.add("::", 8080, a_pod(name="all"))
    assert listeners.holder(host, port) == holder
    listeners.remove("10.1.2.1", 3001)
    assert listeners.holder("10.1.2.1", 3001) == ""
