"""Accepts connections while there are descriptors for them; the others wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("wagi_gateway")

ALL = 64
"""Connections that one turn of the loop takes at most."""
PAUSE = 0.1
"""Seconds between two looks whether there are descriptors again."""
_WARN = 60.0
"""Seconds between two warnings that connections wait."""
_OPENING = 0.1
"""Seconds that are left to handshakes of TLS at the end."""


class Acceptor:
    """Takes connections from a listening socket, in place of the loop's own server.

    That one, where there is no descriptor left, accepts all the same, and resets the connection. Here it waits in the
    backlog; and the last quarter of the descriptors is for guests, files and logs, so that requests which are let in
    can be answered.
    """

    def __init__(
        self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], at_once: int = ALL, **options: Any
    ) -> None:
        """Begins at once, on the running loop; `options` are those of `loop.connect_accepted_socket`.

        Where processes share the socket, each takes one `at_once`, as those of nginx and libuv do, and so gets its
        share of a burst: one that takes all it finds leaves nothing to others, which are late by microseconds. Who is
        alone takes all, so that under full load a connection does not wait for a turn of the loop for each one before
        it.
        """
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._protocol = protocol
        self._at_once = at_once
        self._options = options
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._warn_at = 0.0
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Accepts no more; the socket stays open."""
        if self._pause:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Returns once what was accepted is a connection."""
        if self._opening:
            await asyncio.wait(self._opening, timeout=_OPENING)

    def _accept(self) -> None:
        for _ in range(self._at_once):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._wait(error.strerror or str(error))
                return
            task = self._loop.create_task(self._open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
            if _is_among_the_last(connection.fileno()):
                self._wait("few descriptors are left; raise the limit on open files")
                return

    async def _open(self, connection: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            with contextlib.suppress(OSError):  # a handshake that fails, or a client that has gone
                await self._loop.connect_accepted_socket(self._protocol, connection, **self._options)
                stack.pop_all()

    def _wait(self, reason: str) -> None:
        if self._loop.time() >= self._warn_at:
            self._warn_at = self._loop.time() + _WARN
            logger.warning("new connections wait: %s", reason)
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(PAUSE, self._look)

    def _look(self) -> None:
        if self._has_descriptors():
            self._pause = None
            self._loop.add_reader(self._listener, self._accept)
        else:
            self._pause = self._loop.call_later(PAUSE, self._look)

    def _has_descriptors(self) -> bool:
        try:
            lowest = os.dup(self._listener.fileno())
        except OSError:
            return False
        os.close(lowest)
        return not _is_among_the_last(lowest)


def _is_among_the_last(descriptor: int) -> bool:
    """Whether a descriptor, which is always the lowest free one, is in the last quarter of what a process may have."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit != resource.RLIM_INFINITY and descriptor >= limit * 3 // 4
