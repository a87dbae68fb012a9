"""The own addresses of Pods."""

from __future__ import annotations

import asyncio
import logging

import pytest

from wagi_gateway.errors import StartupError
from wagi_gateway.node.address_range import AddressRange
from wagi_gateway.node.pods.address_pool import AddressesExhausted, AddressPool, why_not_local


def pool(cidr: str = "10.1.2.0/29") -> AddressPool:
    return AddressPool(AddressRange(cidr))


def test_each_pod_has_an_address_of_its_own() -> None:
    addresses = pool()
    assert [addresses.assign(uid) for uid in "abab"] == ["10.1.2.1", "10.1.2.2", "10.1.2.1", "10.1.2.2"]


def test_a_released_address_is_assigned_last() -> None:
    """Clients may still have connections to the Pod that had it."""
    addresses = pool()
    addresses.assign("a")
    addresses.release("a")
    later = [addresses.assign(uid) for uid in "bcdefg"]
    assert later == [f"10.1.2.{number}" for number in (2, 3, 4, 5, 6, 1)]


def test_a_range_without_a_free_address_is_named() -> None:
    addresses = pool("10.1.2.0/30")
    for uid in "ab":
        addresses.assign(uid)
    with pytest.raises(AddressesExhausted, match=r"all 2 addresses of 10\.1\.2\.0/30 \(pod_cidr\) have a Pod"):
        addresses.assign("c")
    addresses.release("a")
    addresses.release("absent")
    assert addresses.assign("c") == "10.1.2.1"


def test_a_pod_keeps_its_earlier_address() -> None:
    addresses = pool()
    addresses.claim("adopted", "10.1.2.1")
    addresses.claim("other", "10.1.2.1")
    assert addresses.assign("adopted", "10.1.2.1") == "10.1.2.1"
    assert addresses.assign("other", "10.1.2.1") == "10.1.2.2"
    assert addresses.assign("again", "10.1.2.5") == "10.1.2.5"
    assert addresses.assign("moved", "10.9.9.9") == "10.1.2.3"


def test_the_end_of_a_pod_is_awaited() -> None:
    async def story() -> None:
        addresses = pool()
        addresses.assign("a")
        waits = asyncio.create_task(addresses.wait_for_release())
        await asyncio.sleep(0)
        addresses.release("absent")
        await asyncio.sleep(0)
        assert not waits.done()
        addresses.release("a")
        await waits

    asyncio.run(story())


def test_a_large_range_is_not_listed() -> None:
    assert pool("fd00:1::/64").assign("a") == "fd00:1::1"


@pytest.mark.parametrize(
    ("cidr", "command"),
    [
        ("192.0.2.0/28", 'pod_cidr: "192.0.2.0/28": 192.0.2.1 is no address of this machine ('),
        ("192.0.2.0/28", "run as root: ip route add local 192.0.2.0/28 dev lo"),
        ("2001:db8::/64", "run as root: ip -6 route add local 2001:db8::/64 dev lo"),
    ],
)
def test_a_range_that_is_not_local_is_refused_with_the_remedy(cidr: str, command: str) -> None:
    with pytest.raises(StartupError) as error:
        AddressPool.open(cidr)
    assert command in str(error.value)


def test_a_loopback_range_works_without_services(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert AddressPool.open("127.1.2.0/24").assign("a") == "127.1.2.1"
    assert "EndpointSlices refuse loopback addresses" in caplog.text
    assert why_not_local("127.1.2.1") is None
