"""A process that serves: the only one, or one of several that share a socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from .app import create_app
from .configfile import ConfigFile
from .errors import StartupError
from .listener import url
from .observe import log

OnReady = Callable[[str], None]
"""Is told the URL."""


class Worker(uvicorn.Server):
    """Serves in this process."""

    def __init__(self, config: uvicorn.Config, on_ready: OnReady = lambda _url: None) -> None:
        super().__init__(config)
        self.on_hangup: Callable[[], None] | None = None
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            if self.on_hangup:
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.on_hangup)
            _spare_the_collector()
            self._on_ready(url(sockets[0]))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        # What was accepted in this round of the loop is a connection in the next, and then told of the end, too.
        await asyncio.sleep(0)
        await super().shutdown(sockets)


def _spare_the_collector() -> None:
    """Keeps what start-up has made, which lives until the end, out of garbage collections: they stop every request.

    A request leaves few cycles behind, so that collections can be rarer, too. Measured: p99 6 ms in place of 18. There
    is next to nothing to collect before: that would only make the start longer, by 20 ms.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def create_worker_app(file: ConfigFile) -> object:
    """Called in each worker process, which begins with nothing but the configuration."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # sent to all of a terminal's processes; the supervisor's business
    log.configure(file.config.log)
    raise_descriptor_limit()
    threading.Thread(target=_follow_supervisor, name="supervisor", daemon=True).start()
    try:
        return create_app(file)
    except StartupError as error:
        for problem in error.problems:
            log.logger.error("%s", problem)
        raise SystemExit(STARTUP_FAILURE) from None


def _follow_supervisor() -> None:
    """A worker whose supervisor was killed would hold the port for ever."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)


def raise_descriptor_limit() -> None:
    """A connection costs a descriptor and a sandbox six; the usual 1024 are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
