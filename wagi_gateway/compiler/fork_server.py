"""The fork server: a process that forks a child process for each module to compile.

`compiler.compilation` starts the fork server. Its standard input is a SOCK_SEQPACKET socket. A request is a `Job` with
two pipes (SCM_RIGHTS): one to read the module from, and one for the artefact. The answer is the wait status of the
child process. The fork server runs no thread and reads no module, so that fork(2) is safe and each child starts afresh.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import traceback
from typing import NamedTuple, NoReturn

import wasmtime
from wasmtime.component import Component

from .binary import COMPONENT, Malformed
from .bulk_operations import make_interruptible
from .component_binary import rewrite_modules
from .engine import create_plain_engine
from .name_section import bound_names

REFUSED, OUT_OF_MEMORY, FAILED = 1, 2, 3
"""Exit codes of a child process: wasmtime refuses the module; RLIMIT_DATA is reached; any other error. After each of
them the pipe for the artefact has the message."""

_NICENESS = 10
"""Added to the nice value: under full load compilation gets about a tenth of a processor's time."""
_PR_SET_PDEATHSIG = 1  # prctl.h


class Job(NamedTuple):
    """The bounds of one compilation, and the engine it is for."""

    time: float
    """Seconds of wall time."""
    memory: int
    """Bytes of data."""
    has_source_lines: bool = False
    """Whether the artefact is for engines with `has_source_lines` (`compiler.engine`)."""

    def encode(self) -> bytes:
        """The request on the socket."""
        return f"{self.time} {self.memory} {self.has_source_lines:d}".encode()

    @classmethod
    def decode(cls, request: bytes) -> Job:
        """The job of a request."""
        time, memory, has_source_lines = request.split()
        return cls(float(time), int(memory), has_source_lines == b"1")


def compile_module(data: bytes, *, has_source_lines: bool = False) -> bytearray:
    """The artefact of a module or component in the binary format. Raises WasmtimeError, Malformed.

    Called in a child process with bounds on time and memory: the only place where wasmtime reads a module's code.
    """
    engine = create_plain_engine(has_source_lines=has_source_lines, compiles_in_parallel=True)
    if data.startswith(COMPONENT):
        return Component(engine, rewrite_modules(data, _rewrite)).serialize()
    return wasmtime.Module(engine, _rewrite(data)).serialize()


def _rewrite(data: bytes) -> bytes:
    """A core module whose operations and names are bounded."""
    return bound_names(make_interruptible(data).data)


def main() -> None:
    """Serves standard input until the other end is closed."""
    with contextlib.suppress(PermissionError):  # the system call filter of the systemd unit
        os.nice(_NICENESS)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    with socket.socket(fileno=0) as channel:
        serve(channel)


def serve(channel: socket.socket) -> None:
    """Forks a child process for each request of `channel`, one after the other, until the other end is closed."""
    while True:
        request, descriptors, *_ = socket.recv_fds(channel, 256, 2)
        if not request:
            return
        module, output = descriptors
        status = _fork(channel, Job.decode(request), module, output)
        if status is None:
            return
        channel.send(str(status).encode())


def _fork(channel: socket.socket, job: Job, module: int, output: int) -> int | None:
    """Compiles in a child process. Returns its wait status; None if it was killed because `channel` was closed."""
    server = os.getpid()
    end, end_of_child = os.pipe()  # read as closed when the child has ended
    pid = os.fork()
    if pid == 0:
        _compile(job, server, module, output)
    for descriptor in (module, output, end_of_child):
        os.close(descriptor)
    # The client sends nothing before the answer: readable means closed.
    readable, _, _ = select.select([end, channel.fileno()], [], [])
    has_ended = end in readable
    if not has_ended:
        os.kill(pid, signal.SIGKILL)
    os.close(end)
    status = os.waitpid(pid, 0)[1]
    return status if has_ended else None


def _compile(job: Job, server: int, module: int, output: int) -> NoReturn:
    """The child process."""
    code = FAILED
    try:
        os.dup2(1, 0)  # /dev/null in the place of the channel
        os.dup2(output, 2)  # Rust writes to standard error why it aborts
        _bound(job, server)
        with open(module, "rb") as file:
            data = file.read()
        artefact = compile_module(data, has_source_lines=job.has_source_lines)
        with open(output, "wb", closefd=False) as file:
            file.write(artefact)
        code = 0
    except (wasmtime.WasmtimeError, Malformed) as error:
        os.write(output, str(error).encode())
        code = REFUSED
    except MemoryError:
        code = OUT_OF_MEMORY
    except BaseException:  # noqa: BLE001 - the parent reports the message
        os.write(output, traceback.format_exc(limit=0).encode())
    finally:
        os._exit(code)


def _bound(job: Job, server: int) -> None:
    """Bounds time and memory of this process, and its life by that of its parent.

    RLIMIT_DATA counts the memory that a process may write; RLIMIT_AS would count the address space that threads and
    their arenas reserve, which grows with the processors.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # the parent has ended before the call
        os._exit(FAILED)
    resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, job.time)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # proc(5): killed first when memory is short
            file.write("1000")
    except OSError:
        pass
