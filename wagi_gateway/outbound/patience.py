"""How long a call may take, and what ends it before its time."""

from __future__ import annotations

import select
import time
from typing import Protocol

from .errors import CallStopped, OutOfTime


class Guest(Protocol):
    """The guest on whose behalf is waited."""

    def wait(self, seconds: float, descriptor: int, events: int) -> bool:
        """Waits until a descriptor (or -1) is ready for the events of poll(2), or `wake` is called from another thread;
        False when the time is over or the guest has to end."""

    def wake(self) -> None:
        """Ends a wait."""

    def must_stop(self) -> bool:
        """Whether the guest has to end."""


class Patience:
    """The time of one call, running since it was made.

    httpcore hands a request's timeouts to the network untouched, so this goes in their place: it bounds the whole where
    a timeout would bound each step, and it ends when the guest does.
    """

    __slots__ = (
        "_connect_deadline",
        "_connect_time",
        "_connected_by",
        "_deadline",
        "guest",
        "has_connected",
        "is_secure",
        "public_only",
        "time",
    )

    def __init__(self, guest: Guest, seconds: float, connect_seconds: float) -> None:
        self.guest = guest
        self.time = seconds
        self.public_only = True
        """Whether the destination may be reached at public addresses alone."""
        self.is_secure = False
        """Whether the destination is spoken to over TLS."""
        self.has_connected = False
        """Whether the request went out on a connection of its own, and not on one that was kept."""
        self._deadline = time.monotonic() + seconds
        self._connect_time = connect_seconds
        self._connect_deadline = self._connected_by = self._deadline

    def begin_hop(self, *, public_only: bool, is_secure: bool) -> None:
        """The next request of the call: the first, or one that follows a redirect."""
        self.public_only = public_only
        self.is_secure = is_secure
        self.has_connected = False

    def begin_connect(self) -> None:
        """Connecting has a time of its own, TLS included."""
        self.has_connected = True
        self._connect_deadline = self._connected_by = min(self._deadline, time.monotonic() + self._connect_time)

    def begin_attempt(self, addresses_left: int) -> None:
        """One address after the other is tried; each has its share of the time that is left."""
        now = time.monotonic()
        self._connected_by = now + (self._connect_deadline - now) / addresses_left

    def check(self) -> None:
        """For an operation that need not wait: another side that never lets it wait would go on for ever.

        Raises OutOfTime, CallStopped.
        """
        if self.guest.must_stop():
            raise CallStopped("the guest had to end")
        if time.monotonic() >= self._deadline:
            raise OutOfTime(f"not done within limits.http_time ({self.time:g} s)")

    def until_ready(self, descriptor: int, events: int, *, connecting: bool = False) -> None:
        """Waits for a descriptor, or with -1 until the guest is woken. Raises OutOfTime, CallStopped."""
        deadline = self._connected_by if connecting else self._deadline
        if not self.guest.wait(deadline - time.monotonic(), descriptor, events):
            self.check()
            if connecting and time.monotonic() >= deadline:
                raise OutOfTime(f"no connection within limits.http_connect_time ({self._connect_time:g} s)")

    def until_readable(self, descriptor: int, *, connecting: bool = False) -> None:
        """Waits for something to read. Raises OutOfTime, CallStopped."""
        self.until_ready(descriptor, select.POLLIN, connecting=connecting)

    def until_writable(self, descriptor: int, *, connecting: bool = False) -> None:
        """Waits for room to write. Raises OutOfTime, CallStopped."""
        self.until_ready(descriptor, select.POLLOUT, connecting=connecting)
