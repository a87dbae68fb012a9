"""A worker in a child process, and the pipe between it and its supervisor.

The supervisor sends a ping or a ConfigFile. The worker answers a ping with whether it has started, and a ConfigFile,
which it then serves, with the problems that keep it from that.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
from multiprocessing import connection
from multiprocessing.connection import Connection

from uvicorn.config import STARTUP_FAILURE

from ..app import Application, create_app
from ..config.file import ConfigFile, log_directory, log_files
from ..errors import LoadCancelled, StartupError
from ..memory import bound_arenas
from ..observe import log
from ..observe.shared_counters import SharedCounters
from ..observe.worker_metrics import WorkerMetrics
from ..site.load import load
from .once import Once
from .signals import IGNORED_SIGNALS, ignore
from .uvicorn_config import UvicornConfig
from .worker import Worker, raise_descriptor_limit

_spawn = multiprocessing.get_context("spawn")


class WorkerProcess:
    """A worker as the supervisor sees it."""

    def __init__(
        self,
        config: UvicornConfig,
        file: ConfigFile,
        listener: socket.socket,
        counters: SharedCounters | None = None,
        may_notice: Once | None = None,
    ) -> None:
        """Creates a worker, not started, that serves `file` on `listener` and writes its metrics to `counters`.

        `may_notice` allows a warning that is for one worker to write.
        """
        self.pipe, self._child_pipe = _spawn.Pipe()
        """The supervisor's end of the pipe; it reads as closed when the worker has died."""
        arguments = (config, file, listener, self._child_pipe, counters, may_notice)
        self.process = _spawn.Process(target=_run, args=arguments)

    @property
    def pid(self) -> int | None:
        """The process id; None before the start."""
        return self.process.pid

    @property
    def exitcode(self) -> int | None:
        """The exit code, or the negative number of the signal that ended the worker; None while it runs."""
        return self.process.exitcode

    def start(self) -> None:
        """Starts the process. Raises OSError, and then has closed the pipe."""
        try:
            self.process.start()
        except OSError:
            self.pipe.close()
            self._child_pipe.close()
            raise
        self._child_pipe.close()  # the worker then has the only copy, so that its death closes the pipe

    def healthcheck(self, timeout: float) -> bool | None:
        """Whether the worker has started to serve; None if it is dead, or does not answer within `timeout` seconds."""
        try:
            self.pipe.send(b"ping")
            if self.pipe in connection.wait([self.pipe, self.process.sentinel], timeout):
                return bool(self.pipe.recv())
        except (OSError, EOFError):
            pass
        return None

    def is_alive(self, timeout: float) -> bool:
        """Whether the worker runs and answers within `timeout` seconds."""
        return self.process.is_alive() and self.healthcheck(timeout) is not None

    def send(self, file: ConfigFile) -> bool:
        """Sends the worker a configuration to serve; False if the pipe is closed."""
        try:
            self.pipe.send(file)
        except OSError:
            return False
        return True

    def terminate(self) -> None:
        """Sends SIGTERM: the worker finishes its requests, and ends."""
        self.process.terminate()
        self._close()

    def interrupt(self) -> None:
        """Sends SIGINT, which shortens a shutdown under way."""
        if self.process.is_alive() and self.pid:
            os.kill(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """Sends SIGKILL, and waits for the end of the process."""
        self.process.kill()
        self._close()
        self.process.join()

    def _close(self) -> None:
        self.pipe.close()
        self._child_pipe.close()


def _run(
    config: UvicornConfig,
    file: ConfigFile,
    listener: socket.socket,
    pipe: Connection,
    counters: SharedCounters | None,
    may_notice: Once | None,
) -> None:
    """The child process's main function."""
    config.configure_logging()
    worker = Worker(config, lambda: _create_app(file, counters, may_notice, worker.is_stopping))
    threading.Thread(target=_answer, args=(pipe, worker), name="pipe", daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        worker.run([listener])


def _create_app(
    file: ConfigFile, counters: SharedCounters | None, may_notice: Once | None, stopping: threading.Event
) -> Application:
    # A terminal sends these signals to all processes of a group, and pkill(1) to all of a name: the supervisor acts.
    ignore(signal.SIGHUP, signal.SIGQUIT, *IGNORED_SIGNALS)
    log.configure(file.config.log, log_directory(file), log_files(file))
    raise_descriptor_limit()
    bound_arenas()
    threading.Thread(target=_end_with_supervisor, name="supervisor", daemon=True).start()
    try:
        site = load(file, cancelled=stopping)
        return create_app(
            site, metrics=WorkerMetrics(counters) if counters else None, may_notice=may_notice or (lambda: True)
        )
    except LoadCancelled:
        raise SystemExit(0) from None
    except StartupError as error:
        for problem in error.problems:
            log.logger.error("%s", problem)
        raise SystemExit(STARTUP_FAILURE) from None


def _answer(pipe: Connection, worker: Worker) -> None:
    with contextlib.suppress(EOFError, OSError):  # the supervisor closes the pipe of a worker it ends
        while True:
            message = pipe.recv()
            pipe.send(worker.serve_config(message) if isinstance(message, ConfigFile) else worker.started)


def _end_with_supervisor() -> None:
    """Ends the worker when the supervisor has died: the worker would hold the port for ever."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)
