"""A slot's standard error, read while the guest writes it."""

from __future__ import annotations

import asyncio

from .invocation import Invocation
from .pipes import read_available

_PAUSE = 0.01
"""Seconds between readings once a guest is over its limit: that slows the guest, not the gateway."""


class StderrReader:
    """Hands what a guest writes to `Invocation.on_stderr`, up to `limits.stderr` bytes; the rest is counted.

    It stays registered with the event loop from one guest to the next, so a guest that writes nothing costs nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._invocation: Invocation | None = None
        self._size = 0
        self._is_open = True
        loop.add_reader(descriptor, self._ready)

    def attach(self, invocation: Invocation) -> None:
        """What comes from now on is `invocation`'s."""
        self._invocation = invocation
        self._size = 0

    def detach(self) -> int:
        """The guest has ended: takes what is left and returns how many bytes were over the limit."""
        while data := read_available(self._descriptor):
            self._take(data)
        dropped = self._excess()
        self._invocation = None
        return dropped

    def close(self) -> None:
        """The descriptor is about to be closed."""
        self._is_open = False
        self._loop.remove_reader(self._descriptor)

    def _ready(self) -> None:
        self._take(read_available(self._descriptor))
        if self._excess():
            self._loop.remove_reader(self._descriptor)
            self._loop.call_later(_PAUSE, self._resume)

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._descriptor, self._ready)

    def _take(self, data: bytes) -> None:
        if self._invocation is None:
            return
        room = max(0, self._invocation.limits.stderr - self._size)
        self._size += len(data)
        if kept := data[:room]:
            self._invocation.on_stderr(kept)

    def _excess(self) -> int:
        return max(0, self._size - self._invocation.limits.stderr) if self._invocation else 0
