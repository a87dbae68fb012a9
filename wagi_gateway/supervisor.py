"""What starts workers and sees to it that there are as many as there should be."""

from __future__ import annotations

import socket
import sys
import time
from multiprocessing.connection import wait

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from .listener import url
from .observe import log
from .worker import OnReady, Worker

_RETRY = 5.0
"""Seconds between two starts in the place of a worker that cannot start."""


class Supervisor(Multiprocess):
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
        if is_at_terminal():
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
        worker = _Process(self.config, self.sockets)
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


class _Process(Process):
    """A process that serves."""

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Worker(self.config)
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


def is_at_terminal() -> bool:
    """Whether SIGHUP says that the terminal was closed, rather than that somebody wants a restart."""
    return sys.stdin is not None and sys.stdin.isatty()
