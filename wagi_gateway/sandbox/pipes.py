"""Pipes that guests use one after the other: a new one costs as much as the start of a small guest."""

from __future__ import annotations

import os

_MAX_IDLE = 32
"""Pipes that are kept for the next guests, two for each."""


class PipePool:
    """The pipes of one sandbox. Belongs to the event loop.

    A pipe is one descriptor, open for reading and writing, so that it is never at its end. A guest has descriptors of
    its own, which are opened by path and closed with the guest's store.
    """

    def __init__(self) -> None:
        self._idle: list[int] = []

    def take(self) -> int:
        """An empty pipe, which does not block. Raises OSError."""
        return self._idle.pop() if self._idle else _create()

    def give_back(self, pipe: int) -> None:
        """Keeps a pipe that is empty and that no guest has open, or closes it."""
        if len(self._idle) < _MAX_IDLE:
            self._idle.append(pipe)
        else:
            os.close(pipe)

    def close(self) -> None:
        """Closes the idle pipes."""
        while self._idle:
            os.close(self._idle.pop())


def _create() -> int:
    ends = os.pipe2(os.O_CLOEXEC)
    try:
        return os.open(f"/proc/self/fd/{ends[0]}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        for end in ends:
            os.close(end)
