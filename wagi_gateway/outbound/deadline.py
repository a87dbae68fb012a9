"""How long a call may take, and what ends it before its time."""

from __future__ import annotations

import select
import time
from typing import Protocol

from .errors import CallStopped, CallTimeout


class Waiter(Protocol):
    """The guest on whose behalf is waited."""

    def wait(self, seconds: float, descriptor: int, events: int) -> bool:
        """Waits until a descriptor (or -1) is ready for the events of poll(2), or `wake` is called from another thread;
        False when the time is over or the guest has to end."""

    def wake(self) -> None:
        """Ends a wait."""

    def must_stop(self) -> bool:
        """Whether the guest has to end."""


class CallDeadline:
    """The time of one call, running since it was made.

    httpcore hands a request's timeouts to the network untouched, so this goes in their place: it bounds the whole where
    a timeout would bound each step, and it ends when the guest does.
    """

    __slots__ = (
        "_connect_deadline",
        "_connect_time",
        "_deadline",
        "_step_deadline",
        "guest",
        "has_connected",
        "is_secure",
        "public_only",
        "time",
    )

    def __init__(self, guest: Waiter, seconds: float, connect_seconds: float) -> None:
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
        self._connect_deadline = self._step_deadline = self._deadline

    def begin_hop(self, *, public_only: bool, is_secure: bool) -> None:
        """The next request of the call: the first, or one that follows a redirect."""
        self.public_only = public_only
        self.is_secure = is_secure
        self.has_connected = False
        self._step_deadline = self._deadline

    def begin_connect(self) -> None:
        """Connecting has a time of its own, until the connection can be used: proxy and TLS included."""
        self.has_connected = True
        self._connect_deadline = min(self._deadline, time.monotonic() + self._connect_time)
        self._step_deadline = self._connect_deadline

    def begin_attempt(self, addresses_left: int) -> None:
        """One address after the other is tried; each has its share of the time that is left."""
        now = time.monotonic()
        self._step_deadline = now + (self._connect_deadline - now) / addresses_left

    def end_attempt(self) -> None:
        """An address has answered: what follows has all the time that is left for connecting."""
        self._step_deadline = self._connect_deadline

    def end_connect(self) -> None:
        """The connection can be used."""
        self._step_deadline = self._deadline

    def check(self) -> None:
        """For an operation that need not wait: another side that never lets it wait would go on for ever.

        Raises OutOfTime, CallStopped.
        """
        if self.guest.must_stop():
            raise CallStopped("the guest had to end")
        now = time.monotonic()
        if now >= self._deadline:
            raise CallTimeout(f"not done within limits.http_time ({self.time:g} s)", limit="http_time")
        if now >= self._step_deadline:
            share = "" if self._step_deadline == self._connect_deadline else "its share of "
            what = f"no connection within {share}limits.http_connect_time ({self._connect_time:g} s)"
            raise CallTimeout(what, limit="http_connect_time")

    def until_ready(self, descriptor: int, events: int) -> None:
        """Waits for a descriptor, or with -1 until the guest is woken. Raises OutOfTime, CallStopped."""
        if not self.guest.wait(self._step_deadline - time.monotonic(), descriptor, events):
            self.check()

    def until_readable(self, descriptor: int) -> None:
        """Waits for something to read. Raises OutOfTime, CallStopped."""
        self.until_ready(descriptor, select.POLLIN)

    def until_writable(self, descriptor: int) -> None:
        """Waits for room to write. Raises OutOfTime, CallStopped."""
        self.until_ready(descriptor, select.POLLOUT)
