"""Pipes that guests use one after the other: a new one costs as much as the start of a small guest."""

from __future__ import annotations

import os
import select

_MAX_IDLE = 16
"""Pairs of pipes that are kept for the next guests."""


class PipePair:
    """Two pipes, for standard output and standard error.

    A pipe is one descriptor, open for reading and writing, so that it is never at its end. A guest has descriptors of
    its own, which are opened by path and closed with the guest's store.
    """

    __slots__ = ("_poll", "paths", "stderr", "stdout")

    def __init__(self) -> None:
        """Raises OSError."""
        self.stdout = _create()
        try:
            self.stderr = _create()
        except OSError:
            os.close(self.stdout)
            raise
        self.paths = b"/proc/self/fd/%d" % self.stdout, b"/proc/self/fd/%d" % self.stderr
        """The paths under which a guest's descriptors are opened."""
        self._poll = select.poll()
        self._poll.register(self.stdout, select.POLLIN)
        self._poll.register(self.stderr, select.POLLIN)

    def readable(self) -> list[int]:
        """The pipes that hold bytes, of those that are open."""
        return [descriptor for descriptor, _ in self._poll.poll(0)]

    def close_stdout(self) -> None:
        """Closes the pipe of standard output, unless it is closed."""
        if self.stdout >= 0:
            self._poll.unregister(self.stdout)
            os.close(self.stdout)
            self.stdout = -1

    def close(self) -> None:
        """Closes both pipes."""
        self.close_stdout()
        os.close(self.stderr)


class PipePool:
    """The pipes of one sandbox. Belongs to the event loop."""

    def __init__(self) -> None:
        self._idle: list[PipePair] = []

    def take(self) -> PipePair:
        """Two empty pipes, which do not block. Raises OSError."""
        return self._idle.pop() if self._idle else PipePair()

    def give_back(self, pipes: PipePair) -> None:
        """Keeps pipes that are empty and that no guest has open, or closes them."""
        if len(self._idle) < _MAX_IDLE and pipes.stdout >= 0:
            self._idle.append(pipes)
        else:
            pipes.close()

    def close(self) -> None:
        """Closes the idle pipes."""
        while self._idle:
            self._idle.pop().close()


def _create() -> int:
    ends = os.pipe2(os.O_CLOEXEC)
    try:
        return os.open(f"/proc/self/fd/{ends[0]}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        for end in ends:
            os.close(end)
