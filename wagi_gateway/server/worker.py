"""The worker: uvicorn's server with the gateway's application, in the single process or in each of several."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

from uvicorn.config import STARTUP_FAILURE

from ..app import Application
from ..config.file import ConfigFile
from ..errors import LoadCancelled, Problem, StartupError
from ..gateway.reload import ReloadResult
from ..observe import log
from ..site.site import LogTarget
from .acceptor import Acceptor
from .listener import url
from .protocol import BoundedProtocol
from .quiet_server import QuietServer
from .status_line import rename_phrases
from .uvicorn_config import UvicornConfig

T = TypeVar("T")

_MAX_DESCRIPTORS = 65536

OnReady = Callable[[str], None]
"""Callback for the moment from which the server serves; its argument is the server's URL."""


class Worker(QuietServer):
    """Serves one application in this process."""

    config: UvicornConfig
    app: Application

    def __init__(
        self,
        config: UvicornConfig,
        create_app: Callable[[], Application],
        *,
        on_ready: OnReady = lambda _url: None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        """`create_app` is called on the running loop, `on_stop` at the beginning of the shutdown."""
        config.app = self._load_app
        super().__init__(config)
        rename_phrases()
        self.servers = []  # uvicorn's shutdown reads the list; the acceptors below take the place of its servers
        self.is_stopping = threading.Event()
        """Set by the signal that stops the server."""
        self.on_hangup: Callable[[], None] | None = None
        """Handler of SIGHUP."""
        self._create_app = create_app
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop that serves; None before the start."""
        self._reloads: set[asyncio.Task[None]] = set()
        self._acceptors: list[Acceptor] = []
        self._second = 0
        """The Unix time that the Date field shows."""

    async def on_tick(self, _counter: int) -> bool:
        """Updates the Date field of responses in the first tick of each second."""
        second = int(time.time())
        is_new, self._second = second != self._second, second
        return await super().on_tick(0 if is_new else 1)  # uvicorn updates the field if 10 divides the counter

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handles SIGINT and SIGTERM, also while `create_app` loads the site."""
        self.is_stopping.set()
        super().handle_exit(sig, frame)

    def _load_app(self) -> Application:
        self.app = self._create_app()
        return self.app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if sockets:
            await self.lifespan.startup()
            if self.lifespan.should_exit:
                raise SystemExit(STARTUP_FAILURE)
            if self.app.site.log_files:  # of the routes that modules have printed, too
                log.configure(*self.app.site.log)
            self._acceptors = [self._listen(listener) for listener in sockets]
            self._expose_connections()
            self.started = True
            self._loop = asyncio.get_running_loop()
            if self.on_hangup:
                self._loop.add_signal_handler(signal.SIGHUP, self.on_hangup)
            _freeze_gc()
            self._on_ready(url(sockets[0], is_secure=self.config.is_secure))

    def _expose_connections(self) -> None:
        config, connections = self.config, self.server_state.connections
        if self.app.metrics:
            self.app.metrics.connections = lambda: (len(connections), config.refused)

    def _listen(self, listener: socket.socket) -> Acceptor:
        options: dict[str, Any] = {"at_once": 1} if self.config.workers > 1 else {}
        if certificate := self.app.certificate:
            options |= {"ssl": certificate.context, "ssl_handshake_timeout": self.config.head_time}
        return Acceptor(listener, self._create_protocol, **options)

    def _create_protocol(self) -> asyncio.Protocol:
        return BoundedProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def reload(self) -> ReloadResult:
        """Reads the configuration anew and serves it. Called on another thread. Raises StartupError."""
        return self._on_loop(self._reload())

    def reload_soon(self) -> None:
        """Starts a reload, whose failure is logged. May be called on any thread."""
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._start_reload)

    def serve_config(self, file: ConfigFile) -> tuple[Problem, ...]:
        """Serves this configuration, or returns what is wrong with it and changes nothing. Called on another thread."""
        try:
            self._on_loop(self._serve_config(file))
        except StartupError as error:
            return error.problems
        except LoadCancelled:
            return (Problem("", "the worker is stopping"),)
        return ()

    def _on_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            coroutine.close()
            raise StartupError(Problem("", "the worker does not serve yet"))
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _start_reload(self) -> None:
        async def reload() -> None:
            with contextlib.suppress(StartupError):  # which the reload itself logs
                await self._reload()

        task = asyncio.get_running_loop().create_task(reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> ReloadResult:
        previous_log = self.app.site.log
        result = await self.app.reload()
        self._apply_uvicorn_and_log_settings(previous_log)
        return result

    async def _serve_config(self, file: ConfigFile) -> None:
        previous_log = self.app.site.log
        await self.app.serve_config(file)
        self._apply_uvicorn_and_log_settings(previous_log)

    def _apply_uvicorn_and_log_settings(self, previous_log: LogTarget) -> None:
        """Applies the settings of a new site that concern uvicorn and the log."""
        site = self.app.site
        self.config.update(site.config.server)
        if site.log != previous_log:
            log.configure(*site.log)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        self.app.cancel_reload()
        for acceptor in self._acceptors:
            acceptor.close()
        for acceptor in self._acceptors:
            # Otherwise the shutdown would miss connections that are accepted but not yet open.
            await acceptor.wait_closed()
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn then skips the lifespan's end, which stops the guests
            await self.lifespan.shutdown()


def _freeze_gc() -> None:
    """Exempts the objects made during start-up, which live until the end, from garbage collection, and makes
    collections rarer: each one stops all requests, and a request leaves few cycles.

    Measured: p99 of 6 ms in place of 18. A collection before the freeze would find next to nothing, and take 20 ms.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def raise_descriptor_limit() -> None:
    """Raises the soft limit on open files to 65536, or to the hard limit if that is lower: the usual 1024 are few for
    connections, of one descriptor each, and sandboxes, of six."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, _MAX_DESCRIPTORS) if hard != resource.RLIM_INFINITY else _MAX_DESCRIPTORS
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
