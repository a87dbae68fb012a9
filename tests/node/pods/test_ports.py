"""The listening socket of a Pod."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.support.pods import a_pod, free_port
from wagi_gateway.node.pods import ports
from wagi_gateway.node.pods.ports import Listeners, PortUnavailable, bind, reachable, resolve


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


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", "0.0.0.0"), ("0::0", "::"), ("127.0.0.1", "127.0.0.1")])
def test_the_address_of_a_host(host: str, address: str) -> None:
    assert asyncio.run(resolve(host)) == address
    assert asyncio.run(resolve("localhost")) in ("127.0.0.1", "::1")


@pytest.mark.parametrize("host", ["no host", "a" * 70 + ".example"])
def test_a_name_without_an_address(host: str) -> None:
    with pytest.raises(PortUnavailable, match="no address of this node"):
        asyncio.run(resolve(host))


def test_a_name_server_that_does_not_answer_delays_no_other_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = threading.Event(), threading.Event()

    def silent(_: str) -> list[str]:
        asked.set()
        answered.wait(60)
        return []

    monkeypatch.setattr(ports, "_addresses", silent)
    monkeypatch.setattr(ports, "_NAME_TIME", 0.2)

    async def story() -> None:
        waits = asyncio.create_task(resolve("slow.example"))
        await asyncio.to_thread(asked.wait, 60)
        assert await resolve("127.0.0.1") == "127.0.0.1"
        with pytest.raises(PortUnavailable, match="not resolved within"):
            await waits

    try:
        asyncio.run(story())
    finally:
        answered.set()


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
