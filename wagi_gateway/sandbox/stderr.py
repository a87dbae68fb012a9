"""A slot's standard error, read while the guest writes it."""

from __future__ import annotations

import asyncio

from .invocation import Invocation
from .pipes import available, read_available

_CHUNK = 2 * 1024
"""Bytes read at once: what is logged between two turns of the event loop."""
_LINE = 256
"""Bytes a line costs besides its own: its time, route and id in the log."""
_PAUSE = 0.01
"""Seconds between readings once a guest is over its limit: that slows the guest, not the gateway."""


class StderrReader:
    """Hands what a guest writes to `Invocation.on_stderr`, as far as `limits.stderr` goes; the rest is counted.

    It stays registered with the event loop from one guest to the next, so a guest that writes nothing costs nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._invocation: Invocation | None = None
        self._room = 0
        self._dropped = 0
        self._pause: asyncio.TimerHandle | None = None
        loop.add_reader(descriptor, self._ready)

    def attach(self, invocation: Invocation) -> None:
        """What comes from now on is `invocation`'s."""
        self._invocation = invocation
        self._room = invocation.limits.stderr
        self._dropped = 0

    def detach(self) -> int:
        """The guest has ended: takes what is left and returns how many bytes were over the limit."""
        if available(self._descriptor):  # cheaper than a read that finds nothing
            while data := read_available(self._descriptor, _CHUNK):
                self.take(data)
        self._resume()
        self._invocation = None
        return self._dropped

    def close(self) -> None:
        """The descriptor is about to be closed."""
        self._resume()
        self._loop.remove_reader(self._descriptor)

    def _ready(self) -> None:
        self.take(read_available(self._descriptor, _CHUNK))
        if self._dropped and self._pause is None:
            self._loop.remove_reader(self._descriptor)
            self._pause = self._loop.call_later(_PAUSE, self._drain)

    def _drain(self) -> None:
        self.take(read_available(self._descriptor))
        self._pause = self._loop.call_later(_PAUSE, self._drain)

    def _resume(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
            self._loop.add_reader(self._descriptor, self._ready)

    def take(self, data: bytes) -> None:
        """The guest has written something."""
        if self._invocation is None:
            return
        kept = self._affordable(data)
        self._dropped += len(data) - len(kept)
        if kept:
            self._invocation.on_stderr(kept)

    def _affordable(self, data: bytes) -> bytes:
        """The beginning of `data` that the limit has room for, and takes it out of the room."""
        end = 0
        while end < len(data) and self._room:
            newline = data.find(b"\n", end)
            cost = (newline + 1 if newline >= 0 else len(data)) - end
            end += min(cost, self._room)
            self._room = max(0, self._room - cost - (_LINE if newline >= 0 else 0))
        return data[:end]
