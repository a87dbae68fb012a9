"""The calls of one invocation: each is recorded once, at its end, and their number is limited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from tests.support.clients import Described, IdleWaiter, guest_that_calls, run_alone
from tests.support.farm import Target
from wagi_gateway.config.settings import Limits
from wagi_gateway.outbound.client import Call, OutboundClient
from wagi_gateway.outbound.errors import DestinationNotAllowed, InvalidUrl, OutboundError, TooManySessions
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.outbound.session import OutboundSession

BOUND = 3
"""`limits.http_calls`"""


@dataclass(slots=True)
class World:
    """An outbound session, the server it may call, and the records of its calls."""

    target: Target
    client: OutboundClient
    calls: list[Call] = field(default_factory=list)
    guest: IdleWaiter = field(default_factory=IdleWaiter)
    session: OutboundSession = field(init=False)

    def __post_init__(self) -> None:
        self.session = OutboundSession(self.client, self.calls.append)

    def get(self, path: str) -> int:
        """Makes a call; returns the handle of the response."""
        return self.session.request(Described(self.target.url + path), self.guest)[1]


@pytest.fixture
def world() -> Iterator[World]:
    with Target() as target:
        world = World(target, OutboundClient(Policy([target.url]), Limits(http_calls=BOUND), 100))
        yield world
        world.session.end()
        world.client.close()


@pytest.mark.parametrize("url", ["{}/hello", "http://denied.test/", "nonsense"], ids=["answered", "denied", "no-url"])
def test_calls_beyond_the_bound_have_one_line(world: World, url: str) -> None:
    for _ in range(BOUND):
        with suppress(OutboundError):
            world.session.request(Described(url.format(world.target.url)), world.guest)
    for _ in range(1000):
        with pytest.raises(TooManySessions):
            world.session.request(Described(url.format(world.target.url)), world.guest)
    assert len(world.calls) == BOUND + 1
    assert world.calls[-1].reason == "more than limits.http_calls (3) in one request"


@pytest.mark.parametrize(
    ("host", "error"),
    [
        (f"{'a' * 50}." * 4 + "a" * 49, DestinationNotAllowed),
        (f"{'a' * 50}." * 4 + "a" * 49 + ".", DestinationNotAllowed),
        (f"{'a' * 50}." * 4 + "a" * 50, InvalidUrl),
        ("a" * 65_000, InvalidUrl),
    ],
    ids=["253", "253-and-a-dot", "254", "65000"],
)
def test_a_host_is_no_longer_than_the_dns_allows(world: World, host: str, error: type[OutboundError]) -> None:
    with pytest.raises(error):
        world.session.request(Described(f"http://{host}/"), world.guest)
    (call,) = world.calls
    assert call.origin == ("-" if error is InvalidUrl else f"http://{host.removesuffix('.')}")
    assert len(call.reason) < 300


def test_a_small_body_ends_its_call(world: World) -> None:
    handle = world.get("/hello")
    (call,) = world.calls
    assert (call.outcome, call.status, call.received) == ("answered", 200, 22)
    assert bytes(world.session.read(handle, 5)) == b"hello"
    assert world.session.header(handle, "content-type") == b"text/plain"
    world.session.end()
    assert world.calls == [call]


@pytest.mark.parametrize("framing", ["", "&chunked"], ids=["length", "chunked"])
def test_a_large_body_ends_its_call_when_it_was_read(world: World, framing: str) -> None:
    handle = world.get(f"/big?size=200000{framing}")
    assert world.calls == []
    received = 0
    while piece := world.session.read(handle, 65536):
        received += len(piece)
        assert not world.calls or received == 200_000
    (call,) = world.calls
    assert (call.outcome, call.received) == ("answered", 200_000)
    assert world.session.header(handle, "content-type") == b"text/plain"
    world.session.close(handle)
    world.session.end()
    assert world.calls == [call]


def test_the_last_byte_ends_a_call_whose_length_is_known(world: World) -> None:
    handle = world.get("/big?size=200000")
    received = 0
    while received < 200_000:
        received += len(world.session.read(handle, 50_000))
    assert [call.received for call in world.calls] == [200_000]
    world.get("/hello")
    assert world.target.connections() == 1


@pytest.mark.parametrize("path", ["/status/204", "/hello"])
def test_a_call_is_over_while_its_guest_computes_on(world: World, path: str) -> None:
    """A call ends with its response, not with a guest that leaves the response open."""
    wat = guest_that_calls((world.target.url + path).encode(), then="(loop $forever (br $forever))")
    guest, calls, _ = run_alone(wat, world.client, Limits(http_calls=BOUND), until=bool)
    assert guest.stop_reason == "disconnect"
    assert [call.outcome for call in calls] == ["answered"]
