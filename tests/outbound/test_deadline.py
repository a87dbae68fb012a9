"""Deadlines of calls: the whole call, the set-up of a connection, the share of one address."""

from __future__ import annotations

import select
import time

import pytest

from wagi_gateway.outbound.deadline import CallDeadline
from wagi_gateway.outbound.errors import CallStopped, CallTimeout


class Guest:
    """A waiter that records its waits and returns at once."""

    def __init__(self, *, is_ready: bool = True, must_stop: bool = False) -> None:
        self.waits: list[tuple[float, int, int]] = []
        self._is_ready = is_ready
        self._must_stop = must_stop

    def wait(self, seconds: float, descriptor: int, events: int) -> bool:
        self.waits.append((seconds, descriptor, events))
        return self._is_ready

    def wake(self) -> None:
        pass

    def must_stop(self) -> bool:
        return self._must_stop


def test_a_call_has_its_whole_time_before_it_connects() -> None:
    guest = Guest()
    CallDeadline(guest, 20, 10).until_readable(5)
    ((seconds, descriptor, events),) = guest.waits
    assert 19 < seconds <= 20
    assert (descriptor, events) == (5, select.POLLIN)


@pytest.mark.parametrize(("seconds", "connect_seconds", "most"), [(20, 10, 10), (5, 10, 5)], ids=["connect", "whole"])
def test_a_connection_has_the_shorter_time(seconds: float, connect_seconds: float, most: float) -> None:
    guest = Guest()
    deadline = CallDeadline(guest, seconds, connect_seconds)
    deadline.begin_connect()
    deadline.until_writable(5)
    deadline.end_connect()
    deadline.until_readable(5)
    (connecting, _, events), (reading, _, _) = guest.waits
    assert most - 1 < connecting <= most
    assert events == select.POLLOUT
    assert seconds - 1 < reading <= seconds


def test_each_address_has_an_equal_share_of_what_is_left() -> None:
    guest = Guest()
    deadline = CallDeadline(guest, 60, 30)
    deadline.begin_connect()
    for addresses_left in (3, 2, 1):
        deadline.begin_attempt(addresses_left)
        deadline.until_writable(5)
    deadline.end_attempt()
    deadline.until_readable(5)
    assert [round(seconds) for seconds, _, _ in guest.waits] == [10, 15, 30, 30]


def test_only_a_connection_of_its_own_counts_as_one() -> None:
    deadline = CallDeadline(Guest(), 20, 10)
    deadline.begin_hop(public_only=False, is_secure=True)
    assert (deadline.has_connected, deadline.public_only, deadline.is_secure) == (False, False, True)
    deadline.begin_connect()
    assert deadline.has_connected
    deadline.begin_hop(public_only=True, is_secure=False)
    assert (deadline.has_connected, deadline.public_only, deadline.is_secure) == (False, True, False)


@pytest.mark.parametrize(
    ("seconds", "connect_seconds", "addresses", "message", "limit"),
    [
        (0, 10, None, "not done within limits.http_time (0 s)", "http_time"),
        (0, 10, 1, "not done within limits.http_time (0 s)", "http_time"),
        (600, 0, None, "no connection within limits.http_connect_time (0 s)", "http_connect_time"),
        (600, -1, 1, "no connection within limits.http_connect_time (-1 s)", "http_connect_time"),
    ],
    ids=["whole", "whole-at-an-address", "connecting", "last-address"],
)
def test_the_error_names_the_setting(
    seconds: float, connect_seconds: float, addresses: int | None, message: str, limit: str
) -> None:
    deadline = CallDeadline(Guest(is_ready=False), seconds, connect_seconds)
    deadline.begin_connect()
    if addresses:
        deadline.begin_attempt(addresses)
    with pytest.raises(CallTimeout) as raised:
        deadline.until_readable(5)
    assert (str(raised.value), raised.value.limit) == (message, limit)


def test_a_share_is_named_as_one() -> None:
    deadline = CallDeadline(Guest(), 60, 0.02)
    deadline.begin_connect()
    deadline.begin_attempt(1000)
    while time.monotonic() < deadline._step_deadline:
        pass
    with pytest.raises(CallTimeout, match=r"no connection within its share of limits\.http_connect_time \(0\.02 s\)"):
        deadline.check()


def test_a_guest_that_has_to_end_ends_the_call_first() -> None:
    deadline = CallDeadline(Guest(is_ready=False, must_stop=True), 0, 0)
    for operation in (deadline.check, lambda: deadline.until_ready(-1, 0)):
        with pytest.raises(CallStopped):
            operation()
