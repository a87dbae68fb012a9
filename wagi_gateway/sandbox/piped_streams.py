"""The standard streams of a guest whose output wasmtime writes itself: a component's, through two pipes.

The guest's write blocks in the system while its pipe is full. The event loop's thread alone reads and closes the pipes,
so that no descriptor is closed while it is watched.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import termios
import threading
from collections.abc import Callable

from .pipes import PipePair, PipePool
from .streams import CAPACITY, CHUNK, StandardStreams

_NEARLY_FULL = 32 * 1024
"""Bytes in a pipe, half of its capacity (pipe(7)), beyond which a guest will soon be blocked."""
_INT = bytes(4)
"""The argument of FIONREAD, an int (ioctl_tty(2))."""
_DROP_INTERVAL = 0.001
"""Seconds between two reads of standard error beyond its limit: a flood is read slowly."""


class PipedStreams(StandardStreams):
    """The streams of one guest, over pipes that exist from `attach` to `detach`."""

    __slots__ = (
        "_is_abandoned",
        "_is_opened",
        "_lock",
        "_pipes",
        "_pool",
        "_stderr_pipe",
        "_stdout_pipe",
        "_watched",
        "stdin",
    )

    def __init__(self, stdin: bytes | int, stderr_limit: int, log: Callable[[bytes], None]) -> None:
        super().__init__(stdin, stderr_limit, log)
        self.stdin = stdin
        """The request body, or the descriptor of a file that holds the body."""
        self._stdout_pipe = self._stderr_pipe = -1
        self._watched: set[int] = set()
        self._pipes: PipePair | None = None
        self._pool: PipePool | None = None
        self._lock = threading.Lock()
        """Held while the pipes are opened by path: meanwhile none is closed."""
        self._is_opened = self._is_abandoned = False

    # On the guest's thread.

    def open_outputs(self, open_outputs: Callable[[bytes, bytes], bool]) -> bool:
        """Calls a function that opens the pipes of standard output and standard error by path; returns its result. Once
        `abandon` was called, nothing is opened."""
        with self._lock:
            if self._pipes is None or self._is_abandoned:
                return False
            self._is_opened = True
            return open_outputs(*self._pipes.paths)

    # On the event loop's thread.

    def attach(
        self, loop: asyncio.AbstractEventLoop, wake_guest: Callable[[], None], _pipes: PipePool | None = None
    ) -> None:
        """Takes the pipes. Raises OSError."""
        super().attach(loop, wake_guest)
        self._pool = _pipes or PipePool()
        self._pipes = pipes = self._pool.take()
        self._stdout_pipe, self._stderr_pipe = pipes.stdout, pipes.stderr

    def detach(self) -> None:
        """Takes what is left in the pipes of a guest that has ended, logs the rest of standard error, and gives the
        pipes back."""
        if self._pipes and self._pool:
            while readable := self._pipes.readable():
                for pipe in readable:
                    write = super().write_stdout if pipe == self._stdout_pipe else self.write_stderr
                    write(self._read(pipe))
            for pipe in list(self._watched):
                self._unwatch(pipe)
            self._pool.give_back(self._pipes)
            self._pipes = None
            self._stdout_pipe = self._stderr_pipe = -1
        super().detach()

    def abandon(self) -> None:
        """Closes standard output for reading: a blocked write of the guest fails, and all later ones."""
        with self._lock:
            self._is_abandoned = True
            is_opened = self._is_opened
        if is_opened and self._pipes:
            self._unwatch(self._stdout_pipe)
            self._stdout_pipe = -1
            self._pipes.close_stdout()

    def begin_streaming(self) -> None:
        """Reads standard error while the guest runs."""
        self._watch(self._stderr_pipe, self._on_stderr)

    @property
    def stdout_held(self) -> int:
        """Bytes of standard output that were not taken."""
        return super().stdout_held + self._readable(self._stdout_pipe)

    @property
    def is_nearly_full(self) -> bool:
        """Whether the guest will soon be blocked unless its output is read."""
        return max(self._readable(self._stdout_pipe), self._readable(self._stderr_pipe)) > _NEARLY_FULL

    def take_stdout(self) -> bytes:
        """Takes a piece of standard output; no bytes if the guest has written none since."""
        return super().take_stdout() or self._read(self._stdout_pipe)

    def set_waiter(self, waiter: asyncio.Future[None]) -> None:
        """Has `waiter` done at the guest's next write to standard output; it is done now if there was one before."""
        super().set_waiter(waiter)
        if self._waiter is not None:
            self._watch(self._stdout_pipe, self._on_stdout)

    def log_piece(self) -> bool:
        """Logs as much of standard error as one turn of the event loop has time for. Returns whether more is left."""
        if not self._stderr:
            if not (data := self._read(self._stderr_pipe)):
                return False
            self.write_stderr(data)
        return super().log_piece() or self._readable(self._stderr_pipe) > 0

    def _on_stdout(self) -> None:
        self._unwatch(self._stdout_pipe)
        self._wake_loop()

    def _on_stderr(self) -> None:
        data = self._read(self._stderr_pipe)
        if data and not self.drop_stderr(len(data)):
            self.write_stderr(data)
        if self._stderr_size - self._stderr_logged >= CAPACITY or not self._stderr_room:
            self._unwatch(self._stderr_pipe)
            if self._loop:
                self._loop.call_later(_DROP_INTERVAL, self._resume_stderr)

    def _resume_stderr(self) -> None:
        if self._stderr_size - self._stderr_logged < CAPACITY:
            self._watch(self._stderr_pipe, self._on_stderr)
        elif self._loop:
            self._loop.call_later(_DROP_INTERVAL, self._resume_stderr)

    def _watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        if descriptor >= 0 and self._loop:
            self._loop.add_reader(descriptor, callback)
            self._watched.add(descriptor)

    def _unwatch(self, descriptor: int) -> None:
        if descriptor in self._watched and self._loop:
            self._watched.discard(descriptor)
            self._loop.remove_reader(descriptor)

    @staticmethod
    def _read(descriptor: int) -> bytes:
        """The next bytes of a pipe; none if it is empty or closed."""
        if descriptor < 0:
            return b""
        try:
            return os.read(descriptor, CHUNK)
        except BlockingIOError:
            return b""

    @staticmethod
    def _readable(descriptor: int) -> int:
        """The number of bytes in a pipe."""
        if descriptor < 0:
            return 0
        return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, _INT), sys.byteorder)
