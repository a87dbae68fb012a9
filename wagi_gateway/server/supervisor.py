"""What starts workers and sees to it that there are as many as there should be."""

from __future__ import annotations

import copy
import functools
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from multiprocessing.connection import wait
from typing import cast

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from ..config.file import ConfigFile
from ..errors import Problem, StartupError
from ..gateway.reload import Read, ReloadResult, explain, in_thread, load_anew, report
from ..observe import log
from ..observe.process_registry import ProcessRegistry
from ..observe.shared_counters import SharedCounters
from ..site.site import Site, release
from .listener import url
from .protocol import UvicornConfig
from .signals import WORDS_OF_OTHERS, HangupHandler, ignore
from .worker import OnReady, Worker, bounds, create_worker_app

_LOOK = 0.1
"""Seconds between two looks at something that takes its time."""
_PATIENCE = 60.0
"""Seconds a worker may take to reload at least."""
_RETRY = 5.0
"""Seconds between two starts in the place of a worker that cannot start."""
_END = 10.0
"""Seconds a worker has to end beyond `shutdown_grace`: its guests are stopped then."""
_HASTE = 1.0
"""Seconds it has when somebody asks a second time."""


class Supervisor(Multiprocess):
    """Starts workers, replaces those that die, and has them reload.

    A reload begins here: the supervisor loads the new site itself, so that a broken configuration reaches no worker.
    Then each worker reloads in its own place rather than being replaced: its guests may take as long as they like to
    end, its connections stay, and its modules stay warm. One that cannot is replaced all the same.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        on_ready: OnReady,
        on_stop: Callable[[], None],
        registry: ProcessRegistry | None = None,
        *,
        site: Site,
        read: Read,
    ) -> None:
        """Starts workers that serve `site` and count in `registry`; `read` reads the configuration for a reload."""
        super().__init__(config, sockets)
        ignore(*WORDS_OF_OTHERS)  # uvicorn listens to them, and processes that are started would be ended by them
        self._registry = registry
        self._site = site
        self._read = read
        self._hangup = HangupHandler(self.should_exit.set, self.reload_soon)
        self._started = site.config
        self._log = site.log
        self._asked: list[Future[ReloadResult]] = []
        self.has_failed = False
        """Whether it has ended because no worker could start."""
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._is_announced = False
        """Whether it was said that all serve."""
        self._retired: list[tuple[Process, float]] = []
        """Workers that finish what they have begun, and when they have to be done with it."""
        self._retry_at: dict[int, float] = {}
        """When a worker of this number may be started again."""

    def init_processes(self) -> None:
        self.processes = [worker for number in range(self.processes_num) if (worker := self._start(number))]
        if len(self.processes) < self.processes_num:
            self.has_failed = True
            self.should_exit.set()
        else:
            self._announce()

    def _announce(self) -> None:
        """Says that all serve; where one has failed to start and is tried again and again, that one does."""
        are_enough = any if self._retry_at else all
        if are_enough(map(self._comes_up, self.processes)):
            self._is_announced = True
            self._on_ready(url(self.sockets[0], is_secure=cast(UvicornConfig, self.config).is_secure))

    def handle_hup(self) -> None:
        self._hangup()  # which reloads soon, not here and now: signals are also handled while workers are being told

    def handle_quit(self) -> None:
        self.should_exit.set()

    def reload(self) -> ReloadResult:
        """Has all workers serve what the configuration says now. Called on another thread. Raises StartupError."""
        return self.reload_soon().result()

    def reload_soon(self) -> Future[ReloadResult]:
        """Asks for that. May be called from any thread."""
        future: Future[ReloadResult] = Future()
        self._asked.append(future)
        return future

    def close(self) -> None:
        """Gives back what workers shared. None is left."""
        self._site.close()

    def keep_subprocess_alive(self) -> None:
        self._tend()
        if not self._is_announced:
            self._announce()
        while self._asked and not self.should_exit.is_set():
            self._reload()

    def _tend(self) -> None:
        if self._registry:
            self._registry.bury()
        self._retired = [(worker, end) for worker, end in self._retired if _is_ending(worker, end)]
        for number, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if not worker.is_alive(timeout=self.config.timeout_worker_healthcheck):
                self._replace(number, worker)

    def _reload(self) -> None:
        """All who have asked until now get the same."""
        asked, self._asked = self._asked, []
        started = time.monotonic()
        loading = in_thread(functools.partial(load_anew, self._read, self._site))
        while wait_for_futures([loading], _LOOK).not_done:
            self.handle_signals()
            self._tend()
            if self.should_exit.is_set():
                self._asked += asked
                return
        try:
            file, site = loading.result()
        except StartupError as error:
            explain(error)
            if self._registry:
                self._registry.on_reload(None, error)
            _refuse(asked, error)
            return
        site.succeed(self._site, keep_all=True)  # guests of the workers may still use what the new site does not
        replaced = [self._site]
        self._site = site
        release(replaced)
        pinned = site.pinned(file)
        self.config.app = functools.partial(create_worker_app, pinned)
        for name, value in bounds(site.config.server).items():
            setattr(self.config, name, value)
        if site.log != self._log:
            self._log = site.log
            log.configure(*self._log)
        self._tell_all(pinned, _PATIENCE + 10 * (time.monotonic() - started))
        result = report(self._started, site, started)
        if self._registry:
            self._registry.on_reload(site.served(), None)
        for future in asked:
            future.set_result(result)

    def _tell_all(self, file: ConfigFile, patience: float) -> None:
        """Has every worker serve this; `patience` is how many seconds one may take."""
        told = [self._comes_up(worker) and _tell(worker, file) for worker in self.processes]
        deadline = time.monotonic() + patience
        for number, worker in enumerate(self.processes):
            has_taken = told[number] and self._has_taken(worker, deadline)
            if self.should_exit.is_set():
                return
            if not has_taken:
                log.logger.warning("worker %d does not reload; another one takes its place", worker.pid)
                self._renew(number, worker)

    def _has_taken(self, worker: Process, deadline: float) -> bool:
        while time.monotonic() < deadline and not self.should_exit.is_set():
            self.handle_signals()
            try:
                if not wait([worker.parent_conn], _LOOK):
                    continue
                problems = worker.parent_conn.recv()
                if isinstance(problems, bool):  # the late answer to a healthcheck
                    continue
                for problem in problems:
                    log.logger.error("reload: worker %d: %s", worker.pid, problem)
                return not problems
            except (OSError, EOFError):
                return False
        return False

    def _renew(self, number: int, old: Process) -> None:
        """The old worker goes when the new one serves; while that cannot start, the old one stays."""
        new = self._start(number)
        if new and self._comes_up(new):
            self.processes[number] = new
            old.terminate()
            self._retired.append((old, self._deadline()))
            return
        if new:
            new.kill()
            new.join()
        if not self.should_exit.is_set():
            log.logger.error("a new worker does not start; the old one stays")

    def join_all(self) -> None:
        """Waits for the workers, which have been told to end; at a second SIGINT they are to be quick about it."""
        self._on_stop()
        _refuse(self._asked, StartupError(Problem("", "the server is stopping")))
        if self._registry:
            self._registry.stop()
        for listener in self.sockets:  # else clients would wait for somebody to accept them
            listener.close()
        workers = [*self.processes, *(worker for worker, _ in self._retired)]
        end = self._deadline()
        while any(_is_ending(worker, end) for worker in workers):
            if signal.SIGINT in self.signal_queue:
                self.signal_queue.clear()
                end = min(end, time.monotonic() + _HASTE)
                for worker in workers:
                    if worker.process.is_alive() and worker.pid:
                        os.kill(worker.pid, signal.SIGINT)
            wait([worker.process.sentinel for worker in workers if worker.process.is_alive()], _LOOK)

    def _deadline(self) -> float:
        """When a worker that is told to end now has to be gone."""
        return time.monotonic() + (self.config.timeout_graceful_shutdown or 0) + _END

    def _start(self, number: int) -> Process | None:
        """A new worker; None, and the reason in the log, where the system has not what it takes."""
        counters = None
        try:
            counters = SharedCounters() if self._registry else None
            worker = _Process(self.config, self.sockets, counters)
            worker.start()
        except OSError as error:
            log.logger.error("no worker can be started: %s", error.strerror or error)
            self._retry_at[number] = time.monotonic() + _RETRY
            if counters:
                counters.close()
            return None
        if self._registry and counters:
            self._registry.join(f"worker-{number + 1}", worker.process, counters)
        return worker

    def _replace(self, number: int, worker: Process) -> None:
        """Puts a new one in the place of a worker that is dead, or hangs."""
        worker.kill()
        worker.join()
        has_failed = worker.exitcode == STARTUP_FAILURE  # the next one will hardly do better, but others may be serving
        if has_failed and all(other.exitcode is not None for other in self.processes):
            self.has_failed = True
            self.should_exit.set()
            return
        if time.monotonic() < self._retry_at.get(number, 0.0):
            return
        new = self._start(number)
        if new is None:
            return
        if has_failed:
            self._retry_at[number] = time.monotonic() + _RETRY
        log.logger.warning("worker %d ended with %s; another one takes its place", worker.pid, worker.exitcode)
        if self._registry:
            self._registry.count_death()
        self.processes[number] = new

    def _comes_up(self, worker: Process) -> bool:
        """Waits for a worker, however long it compiles, unless it dies, hangs, or a signal ends the wait."""
        while not worker.wait_until_ready(1.0, self.should_exit):
            self.handle_signals()
            if self.should_exit.is_set() or not worker.is_alive(self.config.timeout_worker_healthcheck):
                return False
        return True


def _is_ending(worker: Process, end: float) -> bool:
    """Whether a worker that was told to end has not yet; one that is late is killed."""
    if worker.process.is_alive() and time.monotonic() > end:
        log.logger.warning("worker %d does not end; it is killed", worker.pid)
        worker.kill()
        worker.join()
    return worker.process.is_alive()


def _refuse(asked: list[Future[ReloadResult]], error: StartupError) -> None:
    for future in asked:
        future.set_exception(error)


def _tell(worker: Process, file: ConfigFile) -> bool:
    try:
        worker.parent_conn.send(file)
    except OSError:
        return False
    return True


class _Process(Process):
    """A process that serves."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], counters: SharedCounters | None = None
    ) -> None:
        """`counters` is what it counts in."""
        if counters:
            config = copy.copy(config)
            config.app = functools.partial(cast(Callable[..., object], config.app), counters=counters)
        super().__init__(config, sockets)

    def start(self) -> None:
        """The worker alone has its end of the pipe then: when it dies, whoever reads the other end sees it."""
        super().start()
        self.child_conn.close()

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Worker(self.config)
        return self._server

    def pong(self) -> None:
        """As uvicorn has it; a worker that is sent a configuration serves that, and replies with what is wrong."""
        asked = self.child_conn.recv()
        worker = cast(Worker, self.server)
        self.child_conn.send(worker.take(asked) if isinstance(asked, ConfigFile) else worker.started)

    def _healthcheck(self, timeout: float) -> bool | None:
        """As uvicorn has it, but for a worker that dies before it answers: its end is seen at once."""
        try:
            self.parent_conn.send(b"ping")
            if self.parent_conn in wait([self.parent_conn, self.process.sentinel], timeout):
                return bool(self.parent_conn.recv())
        except (OSError, EOFError):
            pass
        return None
