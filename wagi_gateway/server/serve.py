"""The server's start: configuration, site, listeners, and then one process that serves, or a supervisor of several."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from uvicorn.config import STARTUP_FAILURE

from ..app import create_app
from ..compiler.abi import WASMTIME_VERSION
from ..config.file import ConfigFile, log_directory, log_files
from ..errors import StartupError
from ..gateway.reload import OnReload, Read
from ..memory import bound_arenas, check_memory, memory_bound
from ..observe import log
from ..observe.process_registry import ProcessRegistry, ServedSite
from ..router import RoutePattern
from ..sandbox.sandbox import inline_warning
from ..site.site import Site
from ..version import __version__
from . import systemd
from .autoreload import watching
from .listener import listening, listening_to_admin, url
from .signals import HangupHandler, ignore_signals
from .supervisor import Supervisor
from .uvicorn_config import worker_config
from .worker import OnReady, Worker, raise_descriptor_limit

if TYPE_CHECKING:  # imported with an admin listener alone: the module takes the encoder of metrics along
    from .admin import AdminListener

_PATH_CHARACTERS = "/%!$&'()*+,;=:@~"
"""What stands for itself in the path of a URL (RFC 3986 section 3.3), beside letters, digits, `-`, `.` and `_`."""
_Watching = Callable[[Callable[[], object]], AbstractContextManager[None]]
"""Begins to watch the files of the configuration, whose changes call a function."""


def serve(read: Read, *, load: Callable[[ConfigFile], Site], watched: Sequence[Path] | None = None) -> None:
    """Serves until a signal ends the process.

    `read` reads the configuration, also for each reload, and `load` loads the first site. A change of a file in
    `watched`, or of a file the configuration names, starts a reload; None watches no files. Raises StartupError before
    anything is served.
    """
    notify = systemd.ServiceManager()
    file = read()
    log.configure(file.config.log, log_directory(file), log_files(file))
    _log_start(file)
    bound_arenas()
    ignore_signals()
    site = load(file)
    for warning in (*site.warnings, *check_memory(site.config, site.config.server.workers, memory_bound())):
        log.logger.warning("%s", warning)
    if slow := inline_warning():
        log.logger.warning("%s", slow)

    def on_ready(address: str) -> None:
        notify.ready()
        hint = " (Ctrl-C stops)" if sys.stdout.isatty() else ""
        ready = f"Ready: serving on {address}"
        log.announce(ready + hint, message=ready, url=address)

    def on_stop() -> None:
        notify.stopping()
        log.server_logger.info("the server stops, and requests in flight have server.shutdown_grace to end")

    with ExitStack() as stack:
        try:
            listener = stack.enter_context(listening(site.config.server, file.base))
            admin_listener = stack.enter_context(listening_to_admin(site.config.admin, file.base))
        except StartupError:
            site.close()
            raise
        _print_routes(site, listener)
        if admin_listener:
            log.announce(f"Admin: serving on {url(admin_listener)}", url=url(admin_listener))
        raise_descriptor_limit()
        create = _supervisor if site.config.server.workers > 1 else _single_process
        run = create(
            file,
            site,
            listener,
            read=notify.announcing_reload(read),
            watching=_watching(read, watched),
            admin=_admin(admin_listener, site),
            on_ready=on_ready,
            on_stop=on_stop,
            on_reload=notify.on_reload,
        )
        del site  # a reload frees the site, which a reference from here would prevent
        try:
            run()
        finally:
            log.server_logger.info("the server has ended")


def _supervisor(
    file: ConfigFile,
    site: Site,
    listener: socket.socket,
    *,
    read: Read,
    watching: _Watching,
    admin: AdminListener | None,
    on_ready: OnReady,
    on_stop: Callable[[], None],
    on_reload: OnReload,
) -> Callable[[], None]:
    """Creates the supervisor of `server.workers` processes, and returns the function that serves."""
    supervisor = Supervisor(
        worker_config(file.config.server),
        file,
        site,
        listener,
        read=read,
        on_ready=on_ready,
        on_stop=on_stop,
        on_reload=on_reload,
        registry=admin.registry if admin else None,
    )
    if admin:
        admin.reload = supervisor.reload

    def run() -> None:
        watch = watching(supervisor.reload_soon)
        with contextlib.closing(supervisor), admin or contextlib.nullcontext(), watch:
            supervisor.run()
        if supervisor.has_failed:
            raise SystemExit(STARTUP_FAILURE)

    return run


def _single_process(
    file: ConfigFile,
    site: Site,
    listener: socket.socket,
    *,
    read: Read,
    watching: _Watching,
    admin: AdminListener | None,
    on_ready: OnReady,
    on_stop: Callable[[], None],
    on_reload: OnReload,
) -> Callable[[], None]:
    """Creates the worker of a server without other processes, and returns the function that serves."""
    registry = admin.registry if admin else None

    def after_reload(site: ServedSite | None, error: StartupError | None) -> None:
        if registry:
            registry.on_reload(site, error)
        on_reload(site, error)

    app = create_app(site, read, after_reload, registry.metrics if registry else None)

    def on_shutdown() -> None:
        on_stop()
        if registry:
            registry.stop()

    server = Worker(worker_config(file.config.server), lambda: app, on_ready=on_ready, on_stop=on_shutdown)

    def stop(*_: object) -> None:
        server.should_exit = True

    if admin:
        admin.reload = server.reload

    def run() -> None:
        # uvicorn raises the signal that ended it again, whose default action would fail: a requested stop is a success.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, stop)
        server.on_hangup = HangupHandler(stop, server.reload_soon)
        with admin or contextlib.nullcontext(), watching(server.reload_soon):
            server.run([listener])

    return run


def _admin(listener: socket.socket | None, site: Site) -> AdminListener | None:
    if listener is None:
        return None
    from .admin import AdminListener

    return AdminListener(listener, ProcessRegistry(site.served(), site.config.server.workers))


def _watching(read: Read, files: Sequence[Path] | None) -> _Watching:
    return lambda on_change: contextlib.nullcontext() if files is None else watching(read, files, on_change)


def _log_start(file: ConfigFile) -> None:
    """Logs what starts, in JSON."""
    listener = file.config.server
    fields = {
        "version": __version__,
        "wasmtime": WASMTIME_VERSION,
        "python": platform.python_version(),
        "pid": os.getpid(),
        "config": str(file.path),
        "listen": listener.listen,
        "workers": listener.workers,
        "modules": len(file.config.module),
    }
    log.server_logger.info("the server starts", extra={"fields": fields})


def _print_routes(site: Site, listener: socket.socket) -> None:
    is_secure = site.certificate is not None
    for pattern, endpoint in site.routes:
        what = f"{endpoint.source} ({endpoint.entrypoint})"
        _print_route(pattern, what, listener, is_secure, source=endpoint.source, entrypoint=endpoint.entrypoint)
    for pattern, directory in site.static:
        _print_route(pattern, f"{directory.source} (files)", listener, is_secure, source=directory.source)


def _print_route(pattern: RoutePattern, what: str, listener: socket.socket, is_secure: bool, **fields: object) -> None:
    """Prints a route with a URL that a terminal makes a link."""
    at = url(listener, pattern.text, is_secure=is_secure)
    link = route_link(pattern, listener, is_secure=is_secure)
    log.announce(f"{link} -> {what}", message=f"{at} -> {what}", route=pattern.text, url=at, **fields)


def route_link(pattern: RoutePattern, listener: socket.socket, *, is_secure: bool) -> str:
    """The URL of a route, encoded, and what it stands for: `http://127.0.0.1:3000/hello (and below)`."""
    link = url(listener, quote(pattern.path or "/", safe=_PATH_CHARACTERS), is_secure=is_secure)
    return f"{link} (and below)" if pattern.is_prefix else link
