"""The two pipes a guest writes to, used by one guest after the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select

from .invocation import Invocation
from .pipes import available, descriptor_path, open_pipe, read_available

CAPACITY = 256 * 1024
"""Bytes of standard output that wait to be read before the guest has to."""


class Stdio:
    """Reading ends for the gateway, paths for the guest.

    The writing ends stay open, so that the pipes outlive each guest: standard output is complete when the guest has
    ended and the pipe is empty.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raises OSError where the system has no descriptor left."""
        with contextlib.ExitStack() as stack:
            self.stdout, self._stdout_writer = open_pipe(stack, CAPACITY)
            self.stderr, self._stderr_writer = open_pipe(stack)
            stack.pop_all()
        self.stdout_path = descriptor_path(self._stdout_writer)
        self.stderr_path = descriptor_path(self._stderr_writer)
        self.stderr_reader = StderrReader(loop, self.stderr)
        self.is_broken = False

    @property
    def writers(self) -> tuple[int, int]:
        """The writing ends, of standard output and standard error."""
        return self._stdout_writer, self._stderr_writer

    def break_stdout(self) -> None:
        """Frees a guest that is blocked in a write to standard output: it gets EPIPE. The slot is not used again."""
        if not self.is_broken:
            self.is_broken = True
            os.close(self.stdout)

    def is_full(self) -> bool:
        """Whether a guest that writes has to wait. May be called from any thread."""
        writers = select.poll()
        for writer in self.writers:
            writers.register(writer, select.POLLOUT)
        return len(writers.poll(0)) < len(self.writers)

    def cut(self, nothing: int) -> None:
        """Frees a guest that is blocked in a write, of either output: from now on it gets EPIPE.

        May be called from any thread while the loop's is with the guest. `nothing` is read in place of what the guest
        has printed, so that the descriptors stay the loop's; the slot has to be closed then.
        """
        os.dup2(nothing, self.stdout, inheritable=False)
        os.dup2(nothing, self.stderr, inheritable=False)

    def close(self) -> None:
        """Closes the pipes. No guest is running."""
        self.break_stdout()
        self.stderr_reader.close()
        for descriptor in (self._stdout_writer, self.stderr, self._stderr_writer):
            os.close(descriptor)


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
