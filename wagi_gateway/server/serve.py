"""uvicorn around the application: one process that serves, or several."""

from __future__ import annotations

import contextlib
import functools
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from uvicorn.config import STARTUP_FAILURE

from ..app import Application, create_app
from ..cgi.environ import SERVER_SOFTWARE
from ..config.file import ConfigFile
from ..config.settings import ServerConfig
from ..gateway.reload import Read
from ..observe.process_registry import ProcessRegistry
from ..site.site import Site
from . import protocol
from .autoreload import watching
from .listener import BACKLOG
from .signals import HangupHandler
from .supervisor import Supervisor
from .worker import OnReady, Worker, bounds, create_worker_app, raise_descriptor_limit

_HEALTHCHECK = 15
"""Seconds a worker may take to answer its supervisor; one that is just being started on a busy machine needs some."""


def run(
    file: ConfigFile,
    loaded: list[Site],
    listener: socket.socket,
    on_ready: OnReady,
    on_stop: Callable[[], None],
    admin_listener: socket.socket | None = None,
    *,
    read: Read,
    watched: Sequence[Path] | None = None,
) -> None:
    """Serves until a signal ends it. The site in `loaded` is served by this process if it is the only worker.

    The list is emptied: a reference beside the application's would keep the engine of a replaced site in memory.
    `on_ready` is called once everything serves, and `on_stop` when the end begins.
    `read` reads the configuration for a reload, and a change of the files `watched` has one begin.
    """
    raise_descriptor_limit()
    settings = file.config.server
    admin = None
    if admin_listener:
        from .admin import AdminListener  # and with it what writes metrics

        admin = AdminListener(admin_listener, ProcessRegistry(loaded[0].served(), settings.workers))
    registry = admin.registry if admin else None
    if settings.workers > 1:
        app = functools.partial(create_worker_app, loaded[0].pinned(file))
        config = _uvicorn_config(app, settings)
        supervisor = Supervisor(config, [listener], on_ready, on_stop, registry, site=loaded.pop(), read=read)
        if admin:
            admin.reload = supervisor.reload
        watch = _watching(read, watched, supervisor.reload_soon)
        with contextlib.closing(supervisor), admin or contextlib.nullcontext(), watch:
            supervisor.run()
        if supervisor.has_failed:
            raise SystemExit(STARTUP_FAILURE)
        return

    def serve() -> Application:
        if registry:
            return create_app(loaded.pop(), read, registry.on_reload, registry.metrics)
        return create_app(loaded.pop(), read)

    server = Worker(_uvicorn_config(serve, settings), on_ready)

    def begin_to_end() -> None:
        on_stop()
        if registry:
            registry.stop()

    server.on_stop = begin_to_end

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn raises the signal that ended it again; a stop that was asked for is a success.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, stop)
    server.on_hangup = HangupHandler(stop, server.reload_soon)
    if admin:
        admin.reload = server.reload
    with admin or contextlib.nullcontext(), _watching(read, watched, server.reload_soon):
        server.run([listener])


def _watching(
    read: Read, files: Sequence[Path] | None, on_change: Callable[[], object]
) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if files is None else watching(read, files, on_change)


def _uvicorn_config(app: Callable[[], object], settings: ServerConfig) -> protocol.UvicornConfig:
    return protocol.UvicornConfig(
        app,
        send_timeout=settings.send_timeout,
        is_secure=settings.tls_cert is not None,
        factory=True,
        loop="uvloop",
        ws="none",
        lifespan="on",
        workers=settings.workers,
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=[("server", SERVER_SOFTWARE.decode())],
        timeout_worker_healthcheck=_HEALTHCHECK,
        **bounds(settings),
    )
