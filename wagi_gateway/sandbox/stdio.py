"""A guest's standard output and standard error as two pipes, used by one guest after the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select

from .invocation import Invocation
from .pipes import available, descriptor_path, open_pipe, read_available

CAPACITY = 256 * 1024
"""Bytes of standard output that the pipe holds before the guest's write blocks."""
_STDERR_CHUNK = 2 * 1024
"""Bytes of standard error read, and logged, in one turn of the event loop."""
_LINE_COST = 256
"""Bytes of `limits.stderr` that a line costs beside its own: its time, route and request id in the log."""
_DRAIN_INTERVAL = 0.01
"""Seconds between reads of standard error beyond `limits.stderr`: the guest is slowed down, not the gateway."""
_MAX_IDLE = 64
"""Pairs of pipes that are kept for the next guest."""


class Stdio:
    """The gateway's reading ends, the paths of the guest's writing ends, and the reader of standard error.

    The writing ends stay open in the gateway, so that the pipes outlive each guest: standard output is complete when
    the guest has ended and the pipe is empty. The reader of standard error stays registered with the event loop from
    one guest to the next, so that a guest that writes nothing to standard error costs nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raises OSError where the system has no descriptor left."""
        with contextlib.ExitStack() as stack:
            self.stdout, self._stdout_writer = open_pipe(stack, CAPACITY)
            self._stderr, self._stderr_writer = open_pipe(stack)
            stack.pop_all()
        self.stdout_path = descriptor_path(self._stdout_writer)
        self.stderr_path = descriptor_path(self._stderr_writer)
        self.is_broken = False
        """Whether standard output is closed; the pipes are not used again."""
        self._loop = loop
        self._invocation: Invocation | None = None
        self._stderr_left = 0
        self._stderr_dropped = 0
        self._drain_timer: asyncio.TimerHandle | None = None
        loop.add_reader(self._stderr, self._read_stderr)

    @property
    def writers(self) -> tuple[int, int]:
        """The writing ends of standard output and standard error."""
        return self._stdout_writer, self._stderr_writer

    def attach(self, invocation: Invocation) -> None:
        """Hands what is written to standard error from now on to `invocation.on_stderr`, up to `limits.stderr`."""
        self._invocation = invocation
        self._stderr_left = invocation.limits.stderr
        self._stderr_dropped = 0

    def detach(self) -> int:
        """Reads the rest of an ended guest's standard error; returns the number of bytes beyond `limits.stderr`."""
        if available(self._stderr):  # cheaper than a read that finds nothing
            while data := read_available(self._stderr, _STDERR_CHUNK):
                self._take_stderr(data)
        self._resume_stderr()
        self._invocation = None
        return self._stderr_dropped

    def break_stdout(self) -> None:
        """Closes the reading end of standard output: a guest that is blocked in a write to it gets EPIPE."""
        if not self.is_broken:
            self.is_broken = True
            os.close(self.stdout)

    def is_full(self) -> bool:
        """Whether a guest's next write to one of its outputs blocks. May be called from any thread."""
        writers = select.poll()
        for writer in self.writers:
            writers.register(writer, select.POLLOUT)
        return len(writers.poll(0)) < len(self.writers)

    def cut(self, end_of_file: int) -> None:
        """Frees a guest that is blocked in a write to one of its outputs: each write gets EPIPE from now on.

        May be called from any thread while the event loop's thread runs the guest. `end_of_file`, a descriptor at
        its end, takes the place of both reading ends, so that the descriptor numbers stay the event loop's; the pipes
        have to be closed afterwards.
        """
        os.dup2(end_of_file, self.stdout, inheritable=False)
        os.dup2(end_of_file, self._stderr, inheritable=False)

    def close(self) -> None:
        """Closes the pipes. No guest may be running."""
        self.break_stdout()
        self._resume_stderr()
        self._loop.remove_reader(self._stderr)
        for descriptor in (self._stdout_writer, self._stderr, self._stderr_writer):
            os.close(descriptor)

    def _read_stderr(self) -> None:
        self._take_stderr(read_available(self._stderr, _STDERR_CHUNK))
        if self._stderr_dropped and self._drain_timer is None:
            self._loop.remove_reader(self._stderr)
            self._drain_timer = self._loop.call_later(_DRAIN_INTERVAL, self._drain_stderr)

    def _drain_stderr(self) -> None:
        self._take_stderr(read_available(self._stderr))
        self._drain_timer = self._loop.call_later(_DRAIN_INTERVAL, self._drain_stderr)

    def _resume_stderr(self) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None
            self._loop.add_reader(self._stderr, self._read_stderr)

    def _take_stderr(self, data: bytes) -> None:
        if self._invocation is None:
            return
        kept = self._affordable(data)
        self._stderr_dropped += len(data) - len(kept)
        if kept:
            self._invocation.on_stderr(kept)

    def _affordable(self, data: bytes) -> bytes:
        """Returns the beginning of `data` that `limits.stderr` has room for, and takes it off that room."""
        end = 0
        while end < len(data) and self._stderr_left:
            newline = data.find(b"\n", end)
            cost = (newline + 1 if newline >= 0 else len(data)) - end
            end += min(cost, self._stderr_left)
            self._stderr_left = max(0, self._stderr_left - cost - (_LINE_COST if newline >= 0 else 0))
        return data[:end]


class StdioPool:
    """Pairs of pipes for the guests of one event loop; some stay open for the next guest."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: list[Stdio] = []
        self._is_closed = False

    def take(self) -> Stdio:
        """Returns pipes for one guest. Raises OSError where the system has no descriptor left."""
        return self._idle.pop() if self._idle else Stdio(self._loop)

    def give_back(self, stdio: Stdio) -> None:
        """Keeps the pipes of an ended guest for the next one, or closes them."""
        if stdio.is_broken or self._is_closed or len(self._idle) >= _MAX_IDLE:
            stdio.close()
        else:
            self._idle.append(stdio)

    def close(self) -> None:
        """Closes the idle pipes now, and each other pair when its guest gives it back."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()
