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
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from ..app import Application, create_app
from ..config.file import ConfigFile, log_directory
from ..config.settings import LogConfig, ServerConfig
from ..errors import Problem, StartupError
from ..gateway.reload import ReloadResult
from ..memory import bound_arenas
from ..observe import log
from ..observe.shared_counters import SharedCounters
from ..observe.worker_metrics import WorkerMetrics
from ..site.site import Site
from ..tls import Certificate
from .acceptor import Acceptor
from .listener import url
from .protocol import BoundedProtocol, UvicornConfig
from .signals import WORDS_OF_OTHERS, ignore

T = TypeVar("T")

OnReady = Callable[[str], None]
"""Is told the URL."""


class Worker(uvicorn.Server):
    """Serves in this process."""

    def __init__(self, config: uvicorn.Config, on_ready: OnReady = lambda _url: None) -> None:
        super().__init__(config)
        self.on_hangup: Callable[[], None] | None = None
        self.on_stop: Callable[[], None] = lambda: None
        """Called when it begins to end."""
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where it serves; set while it does."""
        self._reloads: set[asyncio.Task[None]] = set()
        self.servers = []  # uvicorn's own
        self._acceptors: list[Acceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if sockets:
            await self.lifespan.startup()
            if self.lifespan.should_exit:
                raise SystemExit(STARTUP_FAILURE)
            self._acceptors = [self._listen(listener) for listener in sockets]
            self._show_connections()
            self.started = True
            self._loop = asyncio.get_running_loop()
            if self.on_hangup:
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.on_hangup)
            _spare_the_collector()
            self._on_ready(url(sockets[0], is_secure=cast(UvicornConfig, self.config).is_secure))

    def _show_connections(self) -> None:
        """To whoever counts."""
        config, app, connections = (
            cast(UvicornConfig, self.config),
            self.config.loaded_app,
            self.server_state.connections,
        )
        if isinstance(app, Application) and app.metrics:
            app.metrics.connections = lambda: (len(connections), config.refused)

    def _listen(self, listener: socket.socket) -> Acceptor:
        config = cast(UvicornConfig, self.config)
        options: dict[str, Any] = {"at_once": 1} if config.workers > 1 else {}
        if certificate := _certificate(config):
            options |= {"ssl": certificate.context, "ssl_handshake_timeout": config.head_time}
        return Acceptor(listener, self._create_protocol, **options)

    def _create_protocol(self) -> asyncio.Protocol:
        config = cast(UvicornConfig, self.config)
        return BoundedProtocol(config=config, server_state=self.server_state, app_state=self.lifespan.state)

    def reload(self) -> ReloadResult:
        """Serves what the configuration says now. Called on another thread. Raises StartupError."""
        return self._on_loop(self._reload())

    def reload_soon(self) -> None:
        """Has that done; what is wrong is logged. May be called from any thread."""
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._start_reload)

    def take(self, file: ConfigFile) -> tuple[Problem, ...]:
        """Serves this configuration; what is wrong with it, and then nothing has changed. Called on another thread."""
        try:
            self._on_loop(self._take(file))
        except StartupError as error:
            return error.problems
        return ()

    def _on_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            coroutine.close()
            raise StartupError(Problem("", "the worker does not serve yet"))
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _start_reload(self) -> None:
        async def reload() -> None:
            with contextlib.suppress(StartupError):  # it is in the log
                await self._reload()

        task = asyncio.get_running_loop().create_task(reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> ReloadResult:
        app = cast(Application, self.config.loaded_app)
        before = app.site.log
        result = await app.reload()
        self._apply(app.site, before)
        return result

    async def _take(self, file: ConfigFile) -> None:
        app = cast(Application, self.config.loaded_app)
        before = app.site.log
        await app.take(file)
        self._apply(app.site, before)

    def _apply(self, now: Site, log_before: tuple[LogConfig, Path | None]) -> None:
        """What of a new configuration is not the application's business."""
        for name, value in bounds(now.config.server).items():
            setattr(self.config, name, value)
        if now.log != log_before:
            log.configure(*now.log)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.on_stop()
        for acceptor in self._acceptors:
            acceptor.close()
        for acceptor in self._acceptors:
            await acceptor.wait_closed()  # so that what was accepted is told of the end, too
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves out what guests need to end
            await self.lifespan.shutdown()


def bounds(settings: ServerConfig) -> dict[str, Any]:
    """What each new connection, or the end, reads of uvicorn's configuration: it can change while a worker serves."""
    return {
        "head_time": settings.head_time,
        "keep_alive_requests": settings.keep_alive_requests,
        "max_connections": settings.max_connections,
        "timeout_keep_alive": round(settings.keep_alive),
        "timeout_graceful_shutdown": round(settings.shutdown_grace),
    }


def _certificate(config: uvicorn.Config) -> Certificate | None:
    app = config.loaded_app
    return app.certificate if isinstance(app, Application) else None


def _spare_the_collector() -> None:
    """Keeps what start-up has made, which lives until the end, out of garbage collections: they stop every request.

    A request leaves few cycles behind, so that collections can be rarer, too. Measured: p99 6 ms in place of 18. There
    is next to nothing to collect before: that would only make the start longer, by 20 ms.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def create_worker_app(file: ConfigFile, counters: SharedCounters | None = None) -> object:
    """Called in each worker process, which begins with nothing but the configuration, and what it counts in."""
    # Sent to all of a terminal's processes, or to all of a name; the supervisor's business.
    ignore(signal.SIGHUP, signal.SIGQUIT, *WORDS_OF_OTHERS)
    log.configure(file.config.log, log_directory(file))
    raise_descriptor_limit()
    bound_arenas()
    threading.Thread(target=_follow_supervisor, name="supervisor", daemon=True).start()
    try:
        return create_app(file, metrics=WorkerMetrics(counters) if counters else None)
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
