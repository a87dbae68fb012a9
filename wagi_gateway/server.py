"""uvicorn around the application: the socket, the workers and the line that says it is ready."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from . import protocol
from .app import create_app
from .cgi.environ import SERVER_SOFTWARE
from .config import Server, parse_listen
from .configfile import ConfigFile
from .errors import Problem, StartupError
from .observe import log
from .site import Site

_BACKLOG = 2048

OnReady = Callable[[str], None]


def bind(settings: Server) -> socket.socket:
    """The listening socket. Raises StartupError."""
    host, port = parse_listen(settings.listen)
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, number)
    except OSError as error:
        raise StartupError(Problem("", f"server.listen: {host} is no address of this host: {error.strerror}")) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(AttributeError, OSError):  # Linux; accepted connections inherit it
            timeout = int(settings.send_timeout * 1000)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        what = f"server.listen: cannot serve on {settings.listen}: {error.strerror}; choose another address (--listen)"
        raise StartupError(Problem("", what)) from None
    listener.set_inheritable(True)
    return listener


def url(listener: socket.socket) -> str:
    """The address of a listening socket as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(file: ConfigFile, site: Site, listener: socket.socket, on_ready: OnReady) -> None:
    """Serves until a signal ends it. `site` is served by this process if it is the only worker."""
    _raise_descriptor_limit()
    settings = file.config.server
    if settings.workers > 1:
        app = functools.partial(_create_worker_app, site.pinned(file))
        with contextlib.closing(site):
            _Supervisor(_uvicorn_config(app, settings), [listener], on_ready).run()
        return
    server = _Server(_uvicorn_config(functools.partial(create_app, site), settings), on_ready)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn raises the signal that ended it again; a stop that was asked for is a success.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.run([listener])


def _create_worker_app(file: ConfigFile) -> object:
    """Called in each worker process, which begins with nothing but the configuration."""
    log.configure(file.config.log)
    _raise_descriptor_limit()
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


def _uvicorn_config(app: Callable[[], object], settings: Server) -> protocol.Config:
    return protocol.Config(
        app,
        head_time=settings.head_time,
        factory=True,
        loop="uvloop",
        ws="none",
        lifespan="on",
        workers=settings.workers,
        backlog=_BACKLOG,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=[("server", SERVER_SOFTWARE.decode())],
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=round(settings.keep_alive),
        timeout_graceful_shutdown=round(settings.shutdown_grace),
    )


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: OnReady) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            self._on_ready(url(sockets[0]))


class _Supervisor(Multiprocess):
    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], on_ready: OnReady) -> None:
        super().__init__(config, sockets)
        self._on_ready = on_ready

    def init_processes(self) -> None:
        super().init_processes()
        if all(map(self._comes_up, self.processes)):
            self._on_ready(url(self.sockets[0]))

    def _comes_up(self, process: Process) -> bool:
        """Waits for a worker, however long it compiles, unless it dies or a signal ends the wait."""
        while not process.wait_until_ready(1.0, self.should_exit):
            self.handle_signals()
            if self.should_exit.is_set() or not process.process.is_alive():
                return False
        return True


def _raise_descriptor_limit() -> None:
    """A connection costs a descriptor and a sandbox six; the usual 1024 are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
