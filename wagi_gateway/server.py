"""uvicorn around the application: one process that serves, or several."""

from __future__ import annotations

import contextlib
import functools
import signal
import socket
from collections.abc import Callable

from uvicorn.config import STARTUP_FAILURE

from . import protocol
from .app import create_app
from .cgi.environ import SERVER_SOFTWARE
from .config import Server
from .configfile import ConfigFile
from .listener import BACKLOG
from .observe import log
from .site import Site
from .supervisor import Supervisor, is_at_terminal
from .worker import OnReady, Worker, create_worker_app, raise_descriptor_limit

_HEALTHCHECK = 15
"""Seconds a worker may take to answer its supervisor; one that is just being started on a busy machine needs some."""


def run(file: ConfigFile, site: Site, listener: socket.socket, on_ready: OnReady) -> None:
    """Serves until a signal ends it. `site` is served by this process if it is the only worker."""
    raise_descriptor_limit()
    settings = file.config.server
    if settings.workers > 1:
        app = functools.partial(create_worker_app, site.pinned(file))
        with contextlib.closing(site):
            supervisor = Supervisor(_uvicorn_config(app, settings), [listener], on_ready)
            supervisor.run()
        if supervisor.has_failed:
            raise SystemExit(STARTUP_FAILURE)
        return
    server = Worker(_uvicorn_config(functools.partial(create_app, site), settings), on_ready)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn raises the signal that ended it again; a stop that was asked for is a success.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.on_hangup = stop if is_at_terminal() else _explain_hangup
    server.run([listener])


def _explain_hangup() -> None:
    log.logger.warning("SIGHUP has no effect on a single process; with --workers 2 it replaces them one by one")


def _uvicorn_config(app: Callable[[], object], settings: Server) -> protocol.Config:
    return protocol.Config(
        app,
        head_time=settings.head_time,
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
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=round(settings.keep_alive),
        timeout_graceful_shutdown=round(settings.shutdown_grace),
        timeout_worker_healthcheck=_HEALTHCHECK,
    )
