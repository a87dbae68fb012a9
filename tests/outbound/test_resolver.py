"""Name resolution on threads: results, failures, bounds, and the end of the guest."""

from __future__ import annotations

import threading
from ipaddress import ip_address

import httpcore2
import pytest

from tests.support.clients import IdleWaiter
from wagi_gateway.outbound import resolver as module
from wagi_gateway.outbound.deadline import CallDeadline
from wagi_gateway.outbound.errors import CallTimeout
from wagi_gateway.outbound.resolver import Resolver, look_up


def deadline(seconds: float = 10) -> CallDeadline:
    """A call's deadline, for a guest that has time."""
    return CallDeadline(IdleWaiter(), seconds, seconds)


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1")], ids=["ipv4", "ipv6"])
def test_an_address_is_not_looked_up(host: str, address: str) -> None:
    def fail(name: str) -> list[str]:
        raise AssertionError(name)

    assert Resolver(fail).resolve(host, deadline()) == [ip_address(address)]


def test_addresses_keep_their_order_and_are_distinct() -> None:
    found = Resolver(lambda _: ["192.0.2.2", "::1", "192.0.2.2"]).resolve("name.test", deadline())
    assert found == [ip_address("192.0.2.2"), ip_address("::1")]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(-2, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "label"),
    ],
    ids=["os", "unicode"],
)
def test_a_failure_is_the_calls(error: Exception, message: str) -> None:
    def fail(_name: str) -> list[str]:
        raise error

    with pytest.raises(httpcore2.ConnectError, match=f"name.test: {message}"):
        Resolver(fail).resolve("name.test", deadline())


def test_a_look_up_is_abandoned_at_the_deadline_and_counted_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_LOOKUPS", 1)
    end, ended = threading.Event(), threading.Event()

    class Guest(IdleWaiter):
        def wake(self) -> None:
            super().wake()
            ended.set()

    def hang(name: str) -> list[str]:
        if name == "slow.test":
            end.wait(10)
        return ["192.0.2.1"]

    resolver = Resolver(hang)
    with pytest.raises(CallTimeout):
        resolver.resolve("slow.test", CallDeadline(Guest(), 0.01, 0.01))
    with pytest.raises(httpcore2.ConnectError, match="too many names"):
        resolver.resolve("other.test", deadline())
    end.set()
    assert ended.wait(10)
    assert resolver.resolve("other.test", deadline()) == [ip_address("192.0.2.1")]


def test_the_systems_resolver() -> None:
    assert "127.0.0.1" in look_up("localhost") or "::1" in look_up("localhost")
