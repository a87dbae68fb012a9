"""uvicorn around the application: the socket, the workers and the line that says it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait

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
_HEALTHCHECK = 15
"""Seconds a worker may take to answer its supervisor; one that is just being started on a busy machine needs some."""
_RETRY = 5.0
"""Seconds between two starts in the place of a worker that cannot start."""

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
            supervisor = _Supervisor(_uvicorn_config(app, settings), [listener], on_ready)
            supervisor.run()
        if supervisor.has_failed:
            raise SystemExit(STARTUP_FAILURE)
        return
    server = _Server(_uvicorn_config(functools.partial(create_app, site), settings), on_ready)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn raises the signal that ended it again; a stop that was asked for is a success.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.on_hangup = stop if _is_at_terminal() else _explain_hangup
    server.run([listener])


def _is_at_terminal() -> bool:
    """Whether SIGHUP says that the terminal was closed, rather than that somebody wants a restart."""
    return sys.stdin is not None and sys.stdin.isatty()


def _explain_hangup() -> None:
    log.logger.warning("SIGHUP has no effect on a single process; with --workers 2 it replaces them one by one")


def _create_worker_app(file: ConfigFile) -> object:
    """Called in each worker process, which begins with nothing but the configuration."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # sent to all of a terminal's processes; the supervisor's business
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
        timeout_worker_healthcheck=_HEALTHCHECK,
    )


class _Server(uvicorn.Server):
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


class _Worker(Process):
    """A process that serves."""

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = _Server(self.config)
        return self._server

    def _healthcheck(self, timeout: float) -> bool | None:
        """As uvicorn has it, but for a worker that dies before it answers: its end is seen at once."""
        try:
            self.parent_conn.send(b"ping")
            if self.parent_conn in wait([self.parent_conn, self.process.sentinel], timeout):
                return bool(self.parent_conn.recv())
        except (OSError, EOFError):
            pass
        return None


class _Supervisor(Multiprocess):
    """Starts workers, replaces those that die, and on SIGHUP all of them, one by one and without losing a request."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], on_ready: OnReady) -> None:
        super().__init__(config, sockets)
        self.has_failed = False
        """Whether it has ended because no worker could start."""
        self._on_ready = on_ready
        self._is_restart_wanted = False
        self._retired: list[Process] = []
        """Workers that finish what they have begun."""
        self._retry_at = 0.0

    def init_processes(self) -> None:
        self.processes = [self._start() for _ in range(self.processes_num)]
        if all(map(self._comes_up, self.processes)):
            self._on_ready(url(self.sockets[0]))

    def handle_hup(self) -> None:
        if _is_at_terminal():
            self.should_exit.set()
        else:  # not here and now: signals are also handled while workers are being replaced
            self._is_restart_wanted = True

    def keep_subprocess_alive(self) -> None:
        self._retired = [worker for worker in self._retired if worker.process.is_alive()]
        for number, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if not worker.is_alive(timeout=self.config.timeout_worker_healthcheck):
                self._replace(number, worker)
        if self._is_restart_wanted:
            self._is_restart_wanted = False
            self.restart_all()

    def restart_all(self) -> None:
        """The old worker goes when the new one serves; while that cannot start, the old ones stay."""
        for number, old in enumerate(self.processes):
            self.handle_signals()
            if self.should_exit.is_set():
                return
            new = self._start()
            if not self._comes_up(new):
                new.kill()
                new.join()
                if not self.should_exit.is_set():
                    log.logger.error("a new worker does not start; the old ones stay")
                return
            self.processes[number] = new
            old.terminate()
            self._retired.append(old)
        log.logger.info("all workers are replaced")

    def join_all(self) -> None:
        for worker in (*self.processes, *self._retired):
            worker.join()

    def _start(self) -> Process:
        worker = _Worker(self.config, self.sockets)
        worker.start()
        return worker

    def _replace(self, number: int, worker: Process) -> None:
        """Puts a new one in the place of a worker that is dead, or hangs."""
        worker.kill()
        worker.join()
        if worker.exitcode == STARTUP_FAILURE:  # the next one will hardly do better, but others may be serving
            if all(other.exitcode is not None for other in self.processes):
                self.has_failed = True
                self.should_exit.set()
                return
            if time.monotonic() < self._retry_at:
                return
            self._retry_at = time.monotonic() + _RETRY
        log.logger.warning("worker %d ended with %s; another one takes its place", worker.pid, worker.exitcode)
        self.processes[number] = self._start()

    def _comes_up(self, worker: Process) -> bool:
        """Waits for a worker, however long it compiles, unless it dies or a signal ends the wait."""
        while not worker.wait_until_ready(1.0, self.should_exit):
            self.handle_signals()
            if self.should_exit.is_set() or not worker.process.is_alive():
                return False
        return True


def _raise_descriptor_limit() -> None:
    """A connection costs a descriptor and a sandbox six; the usual 1024 are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
