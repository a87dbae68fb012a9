"""Compilation in a process of its own, with bounds on time and memory."""

from __future__ import annotations

import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, NamedTuple

import wasmtime

from ..config.settings import CompilerConfig
from ..config.values import as_written
from ..errors import LoadCancelled, Problem, StartupError
from . import fork_server

logger = logging.getLogger("wagi_gateway")

POLL_INTERVAL = 0.1
"""Seconds between two checks whether the load is cancelled."""
_FIRST_REPORT = 5.0
"""Seconds after which the log says what is waited for; the interval doubles with each line."""
_EXIT_TIMEOUT = 5.0
"""Seconds the fork server has to end once its socket is closed."""
_PIECE = 2**20
"""Bytes that are read from a pipe at most."""
_MAX_MESSAGE = 4096
"""Bytes of a child process's message."""
_INHERITED = ("LD_LIBRARY_PATH", "PYTHONHOME")
"""Variables without which some interpreters do not start; no other variable of the gateway is passed on."""
_ROOTS = tuple({str(Path(package).parent.parent) for package in (str(Path(__file__).parent), wasmtime.__file__)})
"""The directories from which the fork server imports this package and wasmtime."""
_START = "import sys; sys.path += sys.argv[1:]; from wagi_gateway.compiler.fork_server import main; main()"
_OUT_OF_MEMORY = ("memory allocation of ", "Cannot allocate memory")
"""Messages of Rust's allocator and of mmap(2)."""

_TEXT_ERROR = re.compile(
    r"(?P<what>.+?)(?:\n *--> | at )<anon>:(?P<line>\d+):(?P<column>\d+)(?:\n *\|\n *\d+ \| (?P<source>[^\n]*)\n.*)?",
    re.DOTALL,
)
"""wasmtime's message about WebAssembly text; the line of the text is there unless it is long."""
_MAX_NEAR = 40
"""Characters of WebAssembly text in a message."""
_CAUSE_NUMBER = re.compile(r"^ *\d+: ")


class CompilationFailed(Exception):
    """A module is not compiled; the message says why and what to do."""


class Wait:
    """A wait for something slow, which the log reports and a cancelled load ends."""

    def __init__(self, what: str, cancelled: threading.Event, *, is_silent: bool = False) -> None:
        """`what` is the log's text, such as `compiling module.wasm (3MiB)`."""
        self._what = what
        self._cancelled = cancelled
        self._started = time.monotonic()
        self._next_report = float("inf") if is_silent else _FIRST_REPORT

    def check(self) -> None:
        """Logs the wait if it is long. Raises LoadCancelled."""
        seconds = time.monotonic() - self._started
        if self._cancelled.is_set():
            raise LoadCancelled(f"{self._what} for {seconds:.1f} s")
        if seconds >= self._next_report:
            self._next_report *= 2
            logger.info("%s for %.0f s", self._what, seconds)


class CompilerProcess:
    """Compiles modules in child processes of a fork server, which starts with the first module."""

    def __init__(
        self,
        settings: CompilerConfig,
        cancelled: threading.Event,
        *,
        is_silent: bool = False,
        has_source_lines: bool = False,
    ) -> None:
        """Setting `cancelled`, on any thread, ends a compilation. With `is_silent` the log reports no progress.
        Artefacts are for engines with `has_source_lines`, or for those without."""
        self._settings = settings
        self._has_source_lines = has_source_lines
        self._cancelled = cancelled
        self._is_silent = is_silent
        self._channel: socket.socket | None = None
        self._end: weakref.finalize[..., CompilerProcess] | None = None

    def close(self) -> None:
        """Ends the fork server, and a compilation under way."""
        if self._end:
            self._end()
        self._channel = self._end = None

    def compile(self, name: str, data: bytes) -> bytearray:
        """The artefact of a module in the binary format.

        Raises CompilationFailed, LoadCancelled, and StartupError where the system lacks the resources.
        """
        wait = Wait(f"compiling {name} ({_size(len(data))})", self._cancelled, is_silent=self._is_silent)
        wait.check()
        try:
            code, output = self._request(data, wait)
        except OSError as error:
            self.close()
            raise _lacking(error) from None
        except BaseException:
            self.close()
            raise
        if code != 0:
            raise CompilationFailed(self._explain(code, output))
        return output

    def _request(self, data: bytes, wait: Wait) -> tuple[int, bytearray]:
        """Has the fork server compile a module: the exit code of the child, negative for a signal, and its output."""
        channel = self._channel = self._channel or self._start()
        with ExitStack() as pipes:
            module, to_module = (pipes.enter_context(end) for end in _pipe())
            output, to_output = (pipes.enter_context(end) for end in _pipe())
            job = fork_server.Job(self._settings.time, self._settings.memory, self._has_source_lines)
            socket.send_fds(channel, [job.encode()], [module.fileno(), to_output.fileno()])
            module.close()
            to_output.close()
            with suppress(BrokenPipeError):  # the child has ended
                _write(to_module.fileno(), data, wait)
            to_module.close()
            artefact = _read(output.fileno(), wait)
        while not select.select([channel], [], [], POLL_INTERVAL)[0]:
            wait.check()
        answer = channel.recv(64)
        if not answer:
            self.close()
            return -signal.SIGKILL, artefact
        return os.waitstatus_to_exitcode(int(answer)), artefact

    def _start(self) -> socket.socket:
        early = _early.pop() if _early else None
        if early and early.process.poll() is not None:  # it was killed meanwhile
            _end(*early)
            early = None
        channel, process = early or _start_fork_server()
        self._end = weakref.finalize(self, _end, channel, process)
        return channel

    def _explain(self, code: int, output: bytearray) -> str:
        """Why a child ended with another exit code than 0, and what to do."""
        message = one_line(output[:_MAX_MESSAGE].decode("utf-8", "backslashreplace"))
        if code == -signal.SIGALRM:
            return f"is not compiled within {self._setting('time')}; raise it, or build smaller functions"
        if code == fork_server.OUT_OF_MEMORY or any(text in message for text in _OUT_OF_MEMORY):
            return f"needs more than {self._setting('memory')} to compile; raise it, or build smaller functions"
        if code == -signal.SIGKILL:
            what = "the kernel does so when memory is short; give it more, or build smaller functions"
            return f"does not compile: the compiler was ended by SIGKILL; {what}"
        if code < 0:
            cause = f" ({message})" if message else ""
            return f"does not compile: it ends the compiler with {_signal_name(-code)}{cause}"
        return f"does not compile: {message}"

    def _setting(self, key: str) -> str:
        annotation = type(self._settings).model_fields[key].annotation
        return f"compiler.{key} = {as_written(getattr(self._settings, key), annotation)}"


class _ForkServer(NamedTuple):
    channel: socket.socket
    process: subprocess.Popen[bytes]


_early: list[_ForkServer] = []
"""A fork server for the next compilation, or none."""


def start_early() -> None:
    """Starts a fork server for the next compilation, which else waits for the import of wasmtime. Raises OSError.

    `dev` starts it beside the build of a module. Called on one thread.
    """
    if not _early:
        _early.append(_start_fork_server())


def end_early() -> None:
    """Ends the fork server that no compilation has used."""
    if _early:
        _end(*_early.pop())


def _start_fork_server() -> _ForkServer:
    channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with other:
        try:
            process = subprocess.Popen(  # noqa: S603 - this interpreter, with constant arguments
                # -I and -S: neither the environment nor the working directory nor .pth files name code to run.
                [sys.executable, "-I", "-S", "-c", _START, *_ROOTS],
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _INHERITED if name in os.environ} | {"RUST_BACKTRACE": "0"},
                cwd="/",
                process_group=0,  # SIGINT of a terminal is for the gateway, which ends the fork server
            )
        except BaseException:
            channel.close()
            raise
    return _ForkServer(channel, process)


def _end(channel: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Shuts the socket down, whereupon the fork server kills its child and ends."""
    with channel, suppress(OSError):
        channel.shutdown(socket.SHUT_WR)
        while select.select([channel], [], [], _EXIT_TIMEOUT)[0] and channel.recv(64):
            pass
    process.kill()
    process.wait()


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    """Both ends of a pipe, the first one for reading."""
    end, other = os.pipe()
    return open(end, "rb", buffering=0), open(other, "wb", buffering=0)


def _write(pipe: int, data: bytes, wait: Wait) -> None:
    os.set_blocking(pipe, False)
    rest = memoryview(data)
    while rest:
        wait.check()
        if select.select([], [pipe], [], POLL_INTERVAL)[1]:
            rest = rest[os.write(pipe, rest) :]


def _read(pipe: int, wait: Wait) -> bytearray:
    data = bytearray()
    while True:
        wait.check()
        if select.select([pipe], [], [], POLL_INTERVAL)[0]:
            piece = os.read(pipe, _PIECE)
            if not piece:
                return data
            data += piece


def _lacking(error: OSError) -> StartupError:
    return StartupError(Problem("", f"cannot be compiled, because the system refuses: {error.strerror or error}"))


def one_line(message: str) -> str:
    """The message of a wasmtime error and its causes on one line.

    An error of the text format has its line and column first, and the text that begins there last.
    """
    if match := _TEXT_ERROR.fullmatch(message):
        near = (match["source"] or "")[int(match["column"]) - 1 :][:_MAX_NEAR].strip()
        what = f"line {match['line']}, column {match['column']}: {' '.join(match['what'].split())}"
        return f"{what}, near `{near}`" if near else what
    text, _, causes = message.partition("Caused by:")
    lines = [*text.splitlines(), *(_CAUSE_NUMBER.sub("", cause) for cause in causes.splitlines())]
    return ": ".join(line.strip() for line in lines if line.strip())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"
