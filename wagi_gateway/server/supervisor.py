"""The supervisor: starts the workers, replaces dead ones, and reloads all of them."""

from __future__ import annotations

import functools
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from multiprocessing.connection import wait

from uvicorn.config import STARTUP_FAILURE

from ..config.file import ConfigFile
from ..errors import LoadCancelled, Problem, StartupError
from ..gateway.reload import OnReload, Read, ReloadResult, explain, in_thread, load_anew, report
from ..observe import log
from ..observe.process_registry import ProcessRegistry, ServedSite
from ..observe.shared_counters import SharedCounters
from ..site.site import Site, release
from .listener import url
from .once import Once
from .signals import IGNORED_SIGNALS, HangupHandler, ignore
from .uvicorn_config import UvicornConfig
from .worker import OnReady
from .worker_process import WorkerProcess

_CHECK_INTERVAL = 0.5
"""Seconds between two checks of all workers."""
_POLL_INTERVAL = 0.1
"""Seconds between two checks of one thing that is awaited; signals are handled in between."""
_READY_TIMEOUT = 1.0
"""Seconds a starting worker has to answer before the supervisor checks that it is alive."""
_RELOAD_TIMEOUT = 60.0
"""Minimum seconds a worker has to reload; ten times the supervisor's own load time is added."""
_RETRY_INTERVAL = 5.0
"""Seconds between two starts in place of a worker that cannot start."""
_EXIT_TIMEOUT = 10.0
"""Seconds a worker has to end beyond `server.shutdown_grace`, in which it stops its guests."""
_FORCED_GRACE = 1.0
"""Seconds the workers have to end after a second SIGINT."""


class Supervisor:
    """Starts workers, replaces workers that die or hang, and has all of them reload.

    The supervisor loads a new site itself, so that a broken configuration reaches no worker. Each worker then reloads
    in place: its guests finish in their own time, its connections stay open, and its modules stay warm. A worker that
    fails to reload is replaced.
    """

    def __init__(
        self,
        config: UvicornConfig,
        file: ConfigFile,
        site: Site,
        listener: socket.socket,
        *,
        read: Read,
        on_ready: OnReady,
        on_stop: Callable[[], None],
        on_reload: OnReload = lambda _site, _error: None,
        registry: ProcessRegistry | None = None,
    ) -> None:
        """Workers serve `site`, loaded from `file`, and write metrics that `registry` reads.

        `read` reads the configuration for a reload, `on_ready` is called once all workers serve, `on_stop` at the
        beginning of the shutdown, and `on_reload` after each reload.
        """
        self.has_failed = False
        """Whether the supervisor ended because no worker could start."""
        self._config = config
        self._site = site
        self._file = site.pinned(file)
        self._listener = listener
        self._read = read
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._after_reload = on_reload
        self._registry = registry
        self._may_notice = Once()
        self._started_with = site.config
        self._log = site.log

        self._should_exit = threading.Event()
        self._signals: list[int] = []
        self._hangup = HangupHandler(self._should_exit.set, self.reload_soon)
        self._reloads: list[Future[ReloadResult]] = []
        """The results of reloads that were requested and have not begun."""

        self._workers: list[WorkerProcess] = []
        self._retired: list[tuple[WorkerProcess, float]] = []
        """Replaced workers still finishing requests, each with its kill time (monotonic clock)."""
        self._retry_at: dict[int, float] = {}
        """Worker index → monotonic time of the next start attempt."""
        self._is_announced = False
        """Whether `on_ready` was called."""

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: self._signals.append(number))
        ignore(*IGNORED_SIGNALS)

    def run(self) -> None:
        """Serves until a signal ends the process, or no worker can start."""
        self._start_all()
        while not self._should_exit.wait(_CHECK_INTERVAL):
            self._handle_signals()
            self._check_workers()
            if not self._is_announced:
                self._announce()
            while self._reloads and not self._should_exit.is_set():
                self._reload()
        self._stop_all()

    def close(self) -> None:
        """Releases what the workers shared. Called after `run`."""
        self._site.close()
        self._may_notice.close()

    def reload(self) -> ReloadResult:
        """Reads the configuration anew and has all workers serve it. Called on another thread. Raises StartupError."""
        return self.reload_soon().result()

    def reload_soon(self) -> Future[ReloadResult]:
        """Requests a reload. May be called on any thread."""
        future: Future[ReloadResult] = Future()
        self._reloads.append(future)
        return future

    def _handle_signals(self) -> None:
        while self._signals:
            if self._signals.pop(0) == signal.SIGHUP:
                self._hangup()
            else:
                self._should_exit.set()

    def _start_all(self) -> None:
        count = self._config.workers
        self._workers = [worker for number in range(count) if (worker := self._start(number))]
        if len(self._workers) < count:
            self.has_failed = True
            self._should_exit.set()
        else:
            self._announce()

    def _announce(self) -> None:
        """Calls `on_ready` when all workers serve, or, if one could not start, when any does."""
        are_enough = any if self._retry_at else all
        if are_enough(map(self._wait_ready, self._workers)):
            self._is_announced = True
            self._on_ready(url(self._listener, is_secure=self._config.is_secure))

    def _check_workers(self) -> None:
        """Replaces workers that are dead or hang, and kills retired workers that are late."""
        if self._registry:
            self._registry.remove_ended()
        self._retired = [(worker, deadline) for worker, deadline in self._retired if _is_ending(worker, deadline)]
        for number, worker in enumerate(self._workers):
            if self._should_exit.is_set():
                return
            if not worker.is_alive(self._config.timeout_worker_healthcheck):
                self._replace_dead(number, worker)

    def _reload(self) -> None:
        """Reloads once for all requests so far. A later request overtakes a reload that waits for a compilation."""
        requests, self._reloads = self._reloads, []
        started = time.monotonic()
        cancelled = threading.Event()
        loading = in_thread(functools.partial(load_anew, self._read, self._site, cancelled))
        while wait_for_futures([loading], _POLL_INTERVAL).not_done:
            self._handle_signals()
            self._check_workers()
            if self._should_exit.is_set():
                cancelled.set()
                self._reloads += requests
                return
            if self._reloads:
                cancelled.set()
        try:
            file, site = loading.result()
        except LoadCancelled as overtaken:
            log.logger.info("reload: a later one overtakes it: %s", overtaken)
            self._reloads += requests
            return
        except StartupError as error:
            explain(error)
            self._on_reload(None, error)
            _fail(requests, error)
            return
        site.take_over_from(self._site, keep_all=True)  # guests of the workers may still use what the new site does not
        replaced = [self._site]
        self._site = site
        release(replaced)
        self._file = site.pinned(file)
        self._config.update(site.config.server)
        if site.log != self._log:
            self._log = site.log
            log.configure(*self._log)
        self._reload_workers(_RELOAD_TIMEOUT + 10 * (time.monotonic() - started))
        result = report(self._started_with, site, started)
        self._on_reload(site.served(), None)
        for future in requests:
            future.set_result(result)

    def _on_reload(self, site: ServedSite | None, error: StartupError | None) -> None:
        if self._registry:
            self._registry.on_reload(site, error)
        self._after_reload(site, error)

    def _reload_workers(self, timeout: float) -> None:
        """Sends every worker the new configuration; replaces each worker that does not serve it within `timeout`
        seconds."""
        was_sent = [self._wait_ready(worker) and worker.send(self._file) for worker in self._workers]
        deadline = time.monotonic() + timeout
        for number, worker in enumerate(self._workers):
            has_reloaded = was_sent[number] and self._has_reloaded(worker, deadline)
            if self._should_exit.is_set():
                return
            if not has_reloaded:
                log.logger.warning("worker %d does not reload; another one takes its place", worker.pid)
                self._replace_gracefully(number, worker)

    def _has_reloaded(self, worker: WorkerProcess, deadline: float) -> bool:
        while time.monotonic() < deadline and not self._should_exit.is_set():
            self._handle_signals()
            try:
                if not wait([worker.pipe], _POLL_INTERVAL):
                    continue
                problems = worker.pipe.recv()
                if isinstance(problems, bool):  # the late answer to a healthcheck
                    continue
                for problem in problems:
                    log.logger.error("reload: worker %d: %s", worker.pid, problem)
                return not problems
            except (OSError, EOFError):
                return False
        return False

    def _replace_gracefully(self, number: int, old: WorkerProcess) -> None:
        """Starts a new worker, and retires the old one as soon as the new one serves; else the old one stays."""
        new = self._start(number)
        if new and self._wait_ready(new):
            self._workers[number] = new
            old.terminate()
            self._retired.append((old, self._exit_deadline()))
            return
        if new:
            new.kill()
        if not self._should_exit.is_set():
            log.logger.error("a new worker does not start; the old one stays")

    def _replace_dead(self, number: int, worker: WorkerProcess) -> None:
        """Starts a new worker in place of one that is dead or hangs."""
        worker.kill()
        has_failed = worker.exitcode == STARTUP_FAILURE  # a new one is likely to fail, too, but others may be serving
        if has_failed and all(other.exitcode is not None for other in self._workers):
            self.has_failed = True
            self._should_exit.set()
            return
        if time.monotonic() < self._retry_at.get(number, 0.0):
            return
        new = self._start(number)
        if new is None:
            return
        if has_failed:
            self._retry_at[number] = time.monotonic() + _RETRY_INTERVAL
        log.logger.warning("worker %d ended with %s; another one takes its place", worker.pid, worker.exitcode)
        if self._registry:
            self._registry.count_death()
        self._workers[number] = new

    def _start(self, number: int) -> WorkerProcess | None:
        """Starts a worker; returns None, and logs the reason, if the system lacks the resources."""
        counters = None
        try:
            counters = SharedCounters() if self._registry else None
            worker = WorkerProcess(self._config, self._file, self._listener, counters, self._may_notice)
            worker.start()
        except OSError as error:
            log.logger.error("no worker can be started: %s", error.strerror or error)
            self._retry_at[number] = time.monotonic() + _RETRY_INTERVAL
            if counters:
                counters.close()
            return None
        if self._registry and counters:
            self._registry.join(f"worker-{number + 1}", worker.process, counters)
        return worker

    def _wait_ready(self, worker: WorkerProcess) -> bool:
        """Waits until a worker serves, however long it compiles; False if it dies, hangs or the server has to exit."""
        while not self._should_exit.is_set():
            has_started = worker.healthcheck(_READY_TIMEOUT)
            if has_started:
                return True
            if has_started is None and not worker.is_alive(self._config.timeout_worker_healthcheck):
                return False
            self._should_exit.wait(_POLL_INTERVAL)
            self._handle_signals()
        return False

    def _stop_all(self) -> None:
        """Ends the workers; a second SIGINT shortens the time they have."""
        for worker in self._workers:
            worker.terminate()
        self._on_stop()
        _fail(self._reloads, StartupError(Problem("", "the server is stopping")))
        if self._registry:
            self._registry.stop()
        self._listener.close()  # otherwise clients would wait in its backlog
        workers = [*self._workers, *(worker for worker, _ in self._retired)]
        deadline = self._exit_deadline()
        while any(_is_ending(worker, deadline) for worker in workers):
            if signal.SIGINT in self._signals:
                self._signals.clear()
                deadline = min(deadline, time.monotonic() + _FORCED_GRACE)
                for worker in workers:
                    worker.interrupt()
            wait([worker.process.sentinel for worker in workers if worker.process.is_alive()], _POLL_INTERVAL)

    def _exit_deadline(self) -> float:
        """The time on the monotonic clock when a worker that is terminated now is killed."""
        return time.monotonic() + (self._config.timeout_graceful_shutdown or 0) + _EXIT_TIMEOUT


def _is_ending(worker: WorkerProcess, deadline: float) -> bool:
    """Whether a terminated worker still runs; kills it after its deadline."""
    if worker.process.is_alive() and time.monotonic() > deadline:
        log.logger.warning("worker %d does not end; it is killed", worker.pid)
        worker.kill()
    return worker.process.is_alive()


def _fail(reloads: list[Future[ReloadResult]], error: StartupError) -> None:
    for future in reloads:
        future.set_exception(error)
