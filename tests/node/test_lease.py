"""The Lease: one holder, its renewal, and its end."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.kubernetes_api import MemoryApi
from wagi_gateway.errors import StartupError
from wagi_gateway.node.api import LEASES, ApiError, Object
from wagi_gateway.node.lease import NAMESPACE, Lease, LeaseLost, holder_identity
from wagi_gateway.node.options import NodeOptions
from wagi_gateway.node.timestamps import parse

OPTIONS = NodeOptions(name="n", lease_duration=40)


class Clock:
    """A clock that each sleep moves on, and what happens meanwhile."""

    def __init__(self) -> None:
        self.now = 0.0
        self.meanwhile: Callable[[], object] = lambda: None

    async def sleep(self, time: float) -> None:
        self.now += time
        self.meanwhile()


def test_an_identity_that_cannot_be_kept_refuses_the_start(tmp_path: Path) -> None:
    """As on a full disk: an earlier identity stays."""
    options = NodeOptions(name="n", state_directory=tmp_path)
    first = holder_identity(options)
    with no_room():
        assert holder_identity(options) == first
        with pytest.raises(StartupError, match=f"^{tmp_path}/holder: the identity of the node cannot be kept there: "):
            holder_identity(NodeOptions(name="m", state_directory=tmp_path))
    assert holder_identity(options) == first


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process gets a further byte meanwhile."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def leased(api: MemoryApi, holder: str, clock: Clock | None = None) -> Lease:
    clock = clock or Clock()
    return Lease(api, OPTIONS, holder, sleep=clock.sleep, clock=lambda: clock.now)


def held(api: MemoryApi, holder: str | None, renewed: int = 0, duration: int = 40) -> None:
    spec = {"holderIdentity": holder, "renewTime": f"2026-11-30T12:00:{renewed:02}Z", "leaseDurationSeconds": duration}
    api.put(LEASES, {"metadata": {"name": "n", "namespace": NAMESPACE}, "spec": spec})


def lease_of(api: MemoryApi) -> Object:
    (found,) = api.objects(LEASES)
    return found


def run(use: Callable[[], Awaitable[None]]) -> None:
    async def go() -> None:
        await use()

    asyncio.run(go())


def test_a_lease_is_created_for_the_node() -> None:
    async def use() -> None:
        api = MemoryApi()
        lease = leased(api, "n_1")
        await lease.claim()
        await lease.renew("uid-1")
        found = lease_of(api)
        assert found["metadata"]["ownerReferences"] == [
            {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "uid-1"}
        ]
        assert found["spec"]["holderIdentity"] == "n_1"
        assert found["spec"]["leaseDurationSeconds"] == 40
        assert found["spec"]["acquireTime"] == found["spec"]["renewTime"]

    run(use)


def test_a_renewal_is_one_call() -> None:
    async def use() -> None:
        api = MemoryApi()
        lease = leased(api, "n_1")
        await lease.renew("uid-1")
        acquired = lease_of(api)["spec"]["acquireTime"]
        api.calls.clear()
        await lease.renew("uid-2")
        assert [verb for verb, _, _ in api.calls] == ["replace"]
        assert lease_of(api)["metadata"]["ownerReferences"][0]["uid"] == "uid-2"
        assert lease_of(api)["spec"]["acquireTime"] == acquired

    run(use)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2199-01-01T00:00:00.000000Z", "2199-01-01T00:00:00.000001Z"),
        ("2199-01-01T00:00:00Z", "2199-01-01T00:00:00.000001Z"),
        ("2020-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59.999999Z", None),
        ("nonsense", None),
    ],
    ids=["set back", "set back, whole seconds", "in time", "the end of time", "damaged"],
)
def test_a_renewal_is_later_than_the_one_before_whatever_the_clock_does(before: str, after: str | None) -> None:
    """The node controller takes a renewal with an earlier time for none, and the node for dead."""

    async def use() -> None:
        api = MemoryApi()
        spec = {"holderIdentity": "n_1", "renewTime": before}
        api.put(LEASES, {"metadata": {"name": "n", "namespace": NAMESPACE}, "spec": spec})
        lease = leased(api, "n_1")
        started = datetime.now(UTC)
        await lease.renew("uid")
        renewed = lease_of(api)["spec"]["renewTime"]
        assert renewed == after if after else started <= parse(renewed) <= datetime.now(UTC)
        await lease.renew("uid")
        assert parse(lease_of(api)["spec"]["renewTime"]) > parse(renewed)

    run(use)


@pytest.mark.parametrize("holder", [None, "n_1"], ids=["released", "our own"])
def test_a_lease_of_no_other_is_taken_at_once(holder: str | None) -> None:
    async def use() -> None:
        api, clock = MemoryApi(), Clock()
        held(api, holder)
        await leased(api, "n_1", clock).claim()
        assert clock.now == 0

    run(use)


def test_a_lease_that_is_renewed_refuses_the_start() -> None:
    async def use() -> None:
        api, clock = MemoryApi(), Clock()
        held(api, "n_2")
        clock.meanwhile = lambda: held(api, "n_2", int(clock.now))
        await leased(api, "n_1", clock).claim()

    with pytest.raises(StartupError, match="node n: a node of this name is alive: n_2 renews its Lease; stop it"):
        run(use)


@pytest.mark.parametrize(("duration", "waited"), [(40, 40), (3600, 300)])
def test_a_lease_that_is_not_renewed_is_taken_over(duration: int, waited: float) -> None:
    async def use() -> None:
        api, clock = MemoryApi(), Clock()
        held(api, "n_2", duration=duration)
        lease = leased(api, "n_1", clock)
        await lease.claim()
        assert clock.now == pytest.approx(waited)
        await lease.renew("uid")
        assert lease_of(api)["spec"]["holderIdentity"] == "n_1"

    run(use)


def test_a_lease_may_be_given_up_meanwhile() -> None:
    async def use() -> None:
        api, clock = MemoryApi(), Clock()
        held(api, "n_2")
        clock.meanwhile = lambda: held(api, None)
        await leased(api, "n_1", clock).claim()
        assert clock.now == 1

    run(use)


def test_a_lease_that_another_takes_is_lost() -> None:
    async def use() -> None:
        api = MemoryApi()
        lease = leased(api, "n_1")
        await lease.renew("uid")
        held(api, "n_2", 1)
        with pytest.raises(ApiError):
            await lease.renew("uid")
        await lease.renew("uid")

    with pytest.raises(LeaseLost, match="n_2 has taken the Lease of the Node n"):
        run(use)


def test_a_lease_that_was_collected_comes_back() -> None:
    async def use() -> None:
        api = MemoryApi()
        lease = leased(api, "n_1")
        await lease.renew("uid")
        await api.delete(LEASES, "n", NAMESPACE)
        with pytest.raises(ApiError):
            await lease.renew("uid")
        await lease.renew("uid")
        assert lease_of(api)["spec"]["holderIdentity"] == "n_1"

    run(use)


def test_a_released_lease_has_no_holder() -> None:
    async def use() -> None:
        api = MemoryApi()
        lease = leased(api, "n_1")
        await lease.release()
        assert api.objects(LEASES) == []
        await lease.renew("uid")
        await lease.release()
        assert "holderIdentity" not in lease_of(api)["spec"]

    run(use)


def test_errors_of_the_api_are_the_callers() -> None:
    async def use() -> None:
        api = MemoryApi()
        api.failures.append(ApiError(403, "Forbidden", ""))
        await leased(api, "n_1").claim()

    with pytest.raises(ApiError):
        run(use)


def test_a_holder_is_the_same_after_a_restart(tmp_path: Path) -> None:
    options = NodeOptions(name="n", state_directory=tmp_path)
    first = holder_identity(options)
    assert first.startswith("n_")
    assert holder_identity(options) == first
    assert holder_identity(NodeOptions(name="m", state_directory=tmp_path)).startswith("m_")
