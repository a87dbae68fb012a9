"""A guest's standard streams in memory: standard input, standard output and standard error, descriptors 0 to 2."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from .pipes import PipePool

CHUNK = 64 * 1024
"""Bytes of one piece of standard input or standard output."""
CAPACITY = 256 * 1024
"""Bytes of standard output, and of standard error, that are held for the event loop before the guest's write blocks."""
_PIECE_COST = 128
"""Bytes of CAPACITY that a piece costs beside its own: its object in memory, and its part of a read."""
_STDERR_CHUNK = 2 * 1024
"""Bytes of standard error that are logged in one turn of the event loop."""
_STDERR_LINES = 16
"""Lines of it: an empty line costs the log as much time as a long one."""
_LINE_COST = 256
"""Bytes of `limits.stderr` that a line costs beside its own: its time, route and request id in the log."""

STDIN, STDOUT, STDERR, CLOSED = 0, 1, 2, -1


class StandardStreams:
    """The streams of one guest.

    The guest's thread reads and writes, the event loop's thread takes the output. Each queue has one writer and one
    reader, and each counter one writer, so that the GIL is the only lock.
    """

    __slots__ = (
        "_log",
        "_loop",
        "_stderr",
        "_stderr_logged",
        "_stderr_room",
        "_stderr_size",
        "_stdin",
        "_stdin_at",
        "_stdout",
        "_stdout_size",
        "_stdout_taken",
        "_waiter",
        "_wake_guest",
        "descriptors",
        "is_guest_blocked",
        "is_stdout_closed",
        "stderr_dropped",
    )

    def __init__(self, stdin: bytes | int, stderr_limit: int, log: Callable[[bytes], None]) -> None:
        """`stdin` is the request body, or the descriptor of a file that holds the body. `log` is called on the event
        loop with each piece of standard error, up to `stderr_limit` bytes."""
        self.descriptors = [STDIN, STDOUT, STDERR]
        """The stream of each descriptor, or CLOSED."""
        self.is_stdout_closed = False
        """Whether no descriptor of the guest is standard output any more."""
        self.is_guest_blocked = False
        """Whether the guest waits until the event loop has taken output."""
        self.stderr_dropped = 0
        """Bytes of standard error beyond the limit."""
        self._stdin = stdin
        self._stdin_at = 0
        self._stdout: deque[bytes] = deque()
        self._stdout_size = 0
        self._stdout_taken = 0
        self._stderr: deque[bytes] = deque()
        self._stderr_size = 0
        self._stderr_logged = 0
        self._stderr_room = stderr_limit
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake_guest: Callable[[], None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    # On the guest's thread.

    def read_stdin(self, size: int) -> bytes:
        """Returns up to CHUNK bytes of standard input; no bytes at its end. Raises OSError."""
        size = min(size, CHUNK)
        if isinstance(self._stdin, int):
            data = os.pread(self._stdin, size, self._stdin_at)
        else:
            data = self._stdin[self._stdin_at : self._stdin_at + size]
        self._stdin_at += len(data)
        return data

    def stdin_left(self) -> int:
        """The number of bytes of standard input that the guest has not read. Raises OSError."""
        size = os.fstat(self._stdin).st_size if isinstance(self._stdin, int) else len(self._stdin)
        return size - self._stdin_at

    def write_stdout(self, data: bytes) -> bool:
        """Adds a piece of standard output, and wakes the event loop if it waits for one. Returns whether the guest has
        to wait before its next write."""
        self._stdout.append(data)
        self._stdout_size += len(data) + _PIECE_COST
        if self._waiter is not None:
            self._wake_loop()
        return self._stdout_size - self._stdout_taken >= CAPACITY

    @property
    def is_full(self) -> bool:
        """Whether the guest has to wait before its next write."""
        return self.stdout_held >= CAPACITY or self._stderr_size - self._stderr_logged >= CAPACITY

    def write_stderr(self, data: bytes) -> None:
        """Adds the part of a piece of standard error for which `limits.stderr` has room."""
        kept = self._affordable(data)
        self.stderr_dropped += len(data) - len(kept)
        if kept:
            self._stderr.append(kept)
            self._stderr_size += len(kept) + _PIECE_COST
            if self._loop and self._stderr_size - self._stderr_logged == len(kept) + _PIECE_COST:
                self._call_loop(self.log_stderr)

    def drop_stderr(self, size: int) -> bool:
        """Whether the limit of standard error is reached: then `size` bytes count as dropped, and need not be read."""
        if self._stderr_room:
            return False
        self.stderr_dropped += size
        return True

    def close(self, descriptor: int) -> None:
        """Closes one of the guest's descriptors."""
        self.descriptors[descriptor] = CLOSED
        if STDOUT not in self.descriptors and not self.is_stdout_closed:
            self.is_stdout_closed = True
            if self._waiter is not None:
                self._wake_loop()

    def renumber(self, source: int, target: int) -> None:
        """Moves a stream from one of the guest's descriptors to another (WASI, `fd_renumber`)."""
        if source != target:
            self.descriptors[target] = self.descriptors[source]
            self.close(source)

    def _affordable(self, data: bytes) -> bytes:
        """Returns the beginning of `data` that `limits.stderr` has room for, and takes it off that room."""
        whole = len(data) + data.count(b"\n") * _LINE_COST
        if whole <= self._stderr_room:
            self._stderr_room -= whole
            return data
        end = 0
        while end < len(data) and self._stderr_room:
            newline = data.find(b"\n", end)
            cost = (newline + 1 if newline >= 0 else len(data)) - end
            end += min(cost, self._stderr_room)
            self._stderr_room = max(0, self._stderr_room - cost - (_LINE_COST if newline >= 0 else 0))
        return data[:end]

    def _wake_loop(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._call_loop(_finish, waiter)

    def _call_loop(self, function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the event loop is closed
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *arguments)

    # On the event loop's thread.

    def attach(
        self, loop: asyncio.AbstractEventLoop, wake_guest: Callable[[], None], _pipes: PipePool | None = None
    ) -> None:
        """Connects the streams of a guest that is about to run on a thread with the event loop. `wake_guest` ends the
        guest's wait for room; streams in memory take no pipe."""
        self._loop = loop
        self._wake_guest = wake_guest

    def detach(self) -> None:
        """Logs the rest of standard error, and drops the references to the event loop and the guest."""
        while self._stderr:
            self._log(self._stderr.popleft())
        self._loop = self._wake_guest = None

    def begin_streaming(self) -> None:
        """Called when the output is going to be read while the guest runs."""

    def abandon(self) -> None:
        """Called when standard output is not read any more."""

    @property
    def is_nearly_full(self) -> bool:
        """Whether the guest will soon be blocked unless its output is read."""
        return self.stdout_held > CAPACITY // 2

    @property
    def stdout_held(self) -> int:
        """Bytes of standard output that were not taken, with the cost of their pieces."""
        return self._stdout_size - self._stdout_taken

    def take_stdout(self) -> bytes:
        """Takes about CHUNK bytes of standard output; no bytes if the guest has written none since."""
        stdout = self._stdout
        if not stdout:
            return b""
        data = stdout.popleft()
        size = len(data) + _PIECE_COST
        if stdout and size < CHUNK:
            pieces = [data]
            while stdout and size < CHUNK:
                data = stdout.popleft()
                pieces.append(data)
                size += len(data) + _PIECE_COST
            data = b"".join(pieces)
        self._stdout_taken += size
        if self.is_guest_blocked:
            self._free_guest()
        return data

    def set_waiter(self, waiter: asyncio.Future[None]) -> None:
        """Has `waiter` done at the guest's next write to standard output; it is done now if there was one before."""
        self._waiter = waiter
        if self._stdout or self.is_stdout_closed:
            self._waiter = None
            _finish(waiter)

    def log_piece(self) -> bool:
        """Logs as much of standard error as one turn of the event loop has time for. Returns whether more is left."""
        if self._stderr:
            data = self._stderr.popleft()
            end, size = _end_of_piece(data), len(data) + _PIECE_COST
            if end < len(data):
                self._stderr.appendleft(data[end:])
                size = end
            self._log(data[:end])
            self._stderr_logged += size
            self._free_guest()
        return bool(self._stderr)

    def log_stderr(self) -> None:
        """Logs a piece of standard error, and the next one in a later turn of the event loop."""
        if self.log_piece():
            self._call_loop(self.log_stderr)

    def _free_guest(self) -> None:
        """Wakes a guest that waits for room, once half of it is free: each wake-up costs a change of threads."""
        if self.is_guest_blocked and max(self.stdout_held, self._stderr_size - self._stderr_logged) < CAPACITY // 2:
            self.is_guest_blocked = False
            if self._wake_guest:
                self._wake_guest()


def _end_of_piece(data: bytes) -> int:
    """The end of the part of `data` that is logged in one turn."""
    end = min(len(data), _STDERR_CHUNK)
    at = -1
    for _ in range(_STDERR_LINES):
        at = data.find(b"\n", at + 1, end)
        if at < 0:
            return end
    return at + 1


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
