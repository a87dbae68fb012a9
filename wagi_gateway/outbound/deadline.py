"""The time limits of a call: as a whole, for a connection, for each address."""

from __future__ import annotations

import select
import time
from typing import Protocol

from .errors import CallStopped, CallTimeout


class Waiter(Protocol):
    """The guest that makes a call, as far as waiting concerns it."""

    def wait(self, seconds: float, descriptor: int, events: int) -> bool:
        """Waits until a descriptor is ready for the events of poll(2), or `wake` is called from another thread; with
        -1, for `wake` alone. Returns False after `seconds`, or when the guest has to end."""

    def wake(self) -> None:
        """Ends a wait; may be called from any thread."""

    def must_stop(self) -> bool:
        """Whether the guest has to end."""


class CallDeadline:
    """The deadline of one call, which starts with the object.

    httpcore passes a request's timeouts to the network backend unchanged, so the deadline is passed in their place: it
    bounds the whole call where a timeout would bound each operation, and it ends with the guest.
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
        """Whether only public addresses may be connected to."""
        self.is_secure = False
        """Whether the connection uses TLS."""
        self.has_connected = False
        """Whether the request opened a connection instead of using an idle one."""
        self._deadline = time.monotonic() + seconds
        self._connect_time = connect_seconds
        self._connect_deadline = self._step_deadline = self._deadline

    def begin_hop(self, *, public_only: bool, is_secure: bool) -> None:
        """Starts a request of the call: the first, or one that follows a redirect."""
        self.public_only = public_only
        self.is_secure = is_secure
        self.has_connected = False
        self._step_deadline = self._deadline

    def begin_connect(self) -> None:
        """Starts the set-up of a connection, proxy and TLS included, which has a time limit of its own."""
        self.has_connected = True
        self._connect_deadline = min(self._deadline, time.monotonic() + self._connect_time)
        self._step_deadline = self._connect_deadline

    def begin_attempt(self, addresses_left: int) -> None:
        """Starts the connection to one of several addresses, which gets an equal share of the time left."""
        now = time.monotonic()
        self._step_deadline = now + (self._connect_deadline - now) / addresses_left

    def end_attempt(self) -> None:
        """Ends the connection to an address; TLS gets all the time that is left for connecting."""
        self._step_deadline = self._connect_deadline

    def end_connect(self) -> None:
        """Ends the set-up of a connection."""
        self._step_deadline = self._deadline

    def check(self) -> None:
        """Raises CallTimeout after the deadline and CallStopped once the guest has to end.

        Checked before each operation, because an operation that never blocks never waits for the deadline.
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
        """Waits for a descriptor, or with -1 until the guest is woken. Raises CallTimeout, CallStopped."""
        if not self.guest.wait(self._step_deadline - time.monotonic(), descriptor, events):
            self.check()

    def until_readable(self, descriptor: int) -> None:
        """Waits until a descriptor is readable. Raises CallTimeout, CallStopped."""
        self.until_ready(descriptor, select.POLLIN)

    def until_writable(self, descriptor: int) -> None:
        """Waits until a descriptor is writable. Raises CallTimeout, CallStopped."""
        self.until_ready(descriptor, select.POLLOUT)
