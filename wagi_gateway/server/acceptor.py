"""The acceptor of connections: pauses, and leaves clients in the backlog, while file descriptors are short."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import ssl
from collections.abc import Callable
from typing import Any

from .plain_http import is_plain_http, refuse

logger = logging.getLogger("wagi_gateway")

MAX_BATCH = 64
"""Connections accepted in one iteration of the event loop at most."""
RETRY_INTERVAL = 0.1
"""Seconds between two checks for free descriptors."""
_WARNING_INTERVAL = 60.0
"""Seconds between two warnings that connections wait."""
_HANDSHAKE_GRACE = 0.1
"""Seconds that TLS handshakes under way have to finish at the shutdown."""


class Acceptor:
    """Accepts connections from a listening socket, in place of asyncio's server.

    asyncio's server resets connections when the process has no descriptor left. The acceptor leaves them in the
    backlog, and reserves the last quarter of the descriptors for guests, files and logs, which accepted requests need.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        at_once: int = MAX_BATCH,
        **options: Any,
    ) -> None:
        """Starts on the running loop; `options` are those of `loop.connect_accepted_socket`.

        Processes that share a socket accept one connection `at_once`, as nginx and libuv do, so that a burst spreads:
        the first of them would otherwise take all connections. A single process accepts MAX_BATCH, so that under full
        load no connection waits for as many iterations of the loop as there are connections before it.
        """
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._protocol = protocol
        self._at_once = at_once
        self._options = options
        self._opening: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._next_warning = 0.0
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Stops accepting; the socket stays open."""
        if self._retry:
            self._retry.cancel()
        self._loop.remove_reader(self._listener)

    def renew_tls(self, context: ssl.SSLContext) -> None:
        """New connections use another context."""
        self._options["ssl"] = context

    async def wait_closed(self) -> None:
        """Waits until accepted sockets are connections of the protocol, for TLS handshakes at most _HANDSHAKE_GRACE."""
        if self._opening:
            await asyncio.wait(self._opening, timeout=_HANDSHAKE_GRACE)

    def _accept(self) -> None:
        for _ in range(self._at_once):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error.strerror or str(error))
                return
            task = self._loop.create_task(self._open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
            if _is_reserved(connection.fileno()):
                self._pause("few descriptors are left; raise the limit on open files")
                return

    async def _open(self, connection: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            with contextlib.suppress(OSError):  # a handshake that fails, or a client that has gone
                options = self._options
                if "ssl" in options:
                    connection.setblocking(False)
                    deadline = self._loop.time() + options["ssl_handshake_timeout"]
                    async with asyncio.timeout_at(deadline):
                        is_plain = await is_plain_http(connection)
                    if is_plain:
                        await refuse(connection)
                        return
                    options = options | {"ssl_handshake_timeout": max(deadline - self._loop.time(), 0.01)}
                await self._loop.connect_accepted_socket(self._protocol, connection, **options)
                stack.pop_all()

    def _pause(self, reason: str) -> None:
        if self._loop.time() >= self._next_warning:
            self._next_warning = self._loop.time() + _WARNING_INTERVAL
            logger.warning("new connections wait: %s", reason)
        self._loop.remove_reader(self._listener)
        self._retry = self._loop.call_later(RETRY_INTERVAL, self._resume)

    def _resume(self) -> None:
        if self._has_descriptors():
            self._retry = None
            self._loop.add_reader(self._listener, self._accept)
        else:
            self._retry = self._loop.call_later(RETRY_INTERVAL, self._resume)

    def _has_descriptors(self) -> bool:
        try:
            lowest = os.dup(self._listener.fileno())
        except OSError:
            return False
        os.close(lowest)
        return not _is_reserved(lowest)


def _is_reserved(descriptor: int) -> bool:
    """Whether a descriptor is in the last quarter of RLIMIT_NOFILE: the kernel always assigns the lowest free one."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit != resource.RLIM_INFINITY and descriptor >= limit * 3 // 4
