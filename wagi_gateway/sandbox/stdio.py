"""The two pipes a guest writes to, used by one guest after the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select

from .pipes import descriptor_path, open_pipe
from .stderr import StderrReader

CAPACITY = 256 * 1024
"""Bytes of standard output that wait to be read before the guest has to."""


class Slot:
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
