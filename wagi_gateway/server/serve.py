"""The server's start: configuration, site, listeners, and then one process that serves, or a supervisor of several."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from uvicorn.config import STARTUP_FAILURE

from ..app import Application, create_app
from ..config.file import ConfigFile, log_directory
from ..errors import StartupError
from ..gateway.reload import Read
from ..memory import bound_arenas, check_memory, memory_bound
from ..observe import log
from ..observe.process_registry import ProcessRegistry
from ..site.site import Site
from . import systemd
from .autoreload import check_available, watching
from .listener import listening, listening_to_operator, url
from .signals import HangupHandler, ignore_signals
from .supervisor import Supervisor
from .uvicorn_config import worker_config
from .worker import OnReady, Worker, raise_descriptor_limit

if TYPE_CHECKING:  # imported with an admin listener alone: the module takes the encoder of metrics along
    from .admin import AdminListener


def serve(read: Read, *, load: Callable[[ConfigFile], Site], watched: Sequence[Path] | None = None) -> None:
    """Serves until a signal ends the process.

    `read` reads the configuration, also for each reload, and `load` loads the first site. A change of a file in
    `watched`, or of a file the configuration names, starts a reload; None watches no files. Raises StartupError before
    anything is served.
    """
    notify = systemd.service_manager()
    if watched is not None:
        check_available()
    file = read()
    log.configure(file.config.log, log_directory(file))
    bound_arenas()
    ignore_signals()
    site = load(file)
    for warning in (*site.warnings, *check_memory(site.config, site.config.server.workers, memory_bound())):
        log.logger.warning("%s", warning)
    # The application empties the list: a second reference would keep the engine of a replaced site in memory.
    loaded = [site]
    del site

    def on_ready(address: str) -> None:
        notify(systemd.READY)
        print(f"Ready: serving on {address}", flush=True)

    with ExitStack() as stack:
        try:
            listener = stack.enter_context(listening(file.config.server, file.base))
            admin_listener = stack.enter_context(listening_to_operator(file.config.admin, file.base))
        except StartupError:
            loaded[0].close()
            raise
        _print_routes(loaded[0], listener)
        if admin_listener:
            print(f"Admin: serving on {url(admin_listener)}")
        raise_descriptor_limit()
        (_supervise if file.config.server.workers > 1 else _serve_alone)(
            file,
            loaded,
            listener,
            read=read,
            watched=watched,
            admin=_admin(admin_listener, loaded[0]),
            on_ready=on_ready,
            on_stop=lambda: notify(systemd.STOPPING),
        )


def _supervise(
    file: ConfigFile,
    loaded: list[Site],
    listener: socket.socket,
    *,
    read: Read,
    watched: Sequence[Path] | None,
    admin: AdminListener | None,
    on_ready: OnReady,
    on_stop: Callable[[], None],
) -> None:
    """Serves with `server.workers` processes."""
    supervisor = Supervisor(
        worker_config(file.config.server),
        file,
        loaded.pop(),
        listener,
        read=read,
        on_ready=on_ready,
        on_stop=on_stop,
        registry=admin.registry if admin else None,
    )
    if admin:
        admin.reload = supervisor.reload
    watch = _watching(read, watched, supervisor.reload_soon)
    with contextlib.closing(supervisor), admin or contextlib.nullcontext(), watch:
        supervisor.run()
    if supervisor.has_failed:
        raise SystemExit(STARTUP_FAILURE)


def _serve_alone(
    file: ConfigFile,
    loaded: list[Site],
    listener: socket.socket,
    *,
    read: Read,
    watched: Sequence[Path] | None,
    admin: AdminListener | None,
    on_ready: OnReady,
    on_stop: Callable[[], None],
) -> None:
    """Serves with this process."""

    def create() -> Application:
        if admin:
            return create_app(loaded.pop(), read, admin.registry.on_reload, admin.registry.metrics)
        return create_app(loaded.pop(), read)

    def on_shutdown() -> None:
        on_stop()
        if admin:
            admin.registry.stop()

    server = Worker(worker_config(file.config.server), create, on_ready=on_ready, on_stop=on_shutdown)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn raises the signal that ended it again, and the default action would fail: a requested stop is a success.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, stop)
    server.on_hangup = HangupHandler(stop, server.reload_soon)
    if admin:
        admin.reload = server.reload
    with admin or contextlib.nullcontext(), _watching(read, watched, server.reload_soon):
        server.run([listener])


def _admin(listener: socket.socket | None, site: Site) -> AdminListener | None:
    if listener is None:
        return None
    from .admin import AdminListener

    return AdminListener(listener, ProcessRegistry(site.served(), site.config.server.workers))


def _watching(
    read: Read, files: Sequence[Path] | None, on_change: Callable[[], object]
) -> AbstractContextManager[None]:
    return contextlib.nullcontext() if files is None else watching(read, files, on_change)


def _print_routes(site: Site, listener: socket.socket) -> None:
    is_secure = site.certificate is not None
    for pattern, endpoint in site.routes:
        print(f"{url(listener, pattern.text, is_secure=is_secure)} -> {endpoint.source} ({endpoint.entrypoint})")
    for pattern, directory in site.static:
        print(f"{url(listener, pattern.text, is_secure=is_secure)} -> {directory.source} (files)")
