"""Server processes: start, pause while another server is measured, end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import Failed

_ROOT = Path(__file__).parents[2]
_TIMEOUT = 15.0
"""Seconds for a start, and for an end after SIGTERM."""
_SESSION, _UTIME = 3, 11
"""Indices among the fields of /proc/PID/stat after the command's name; stime, cutime and cstime follow utime."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None)


@dataclass(slots=True)
class Process:
    """A process and its children, as one process group."""

    popen: subprocess.Popen[str]

    def pause(self) -> None:
        """Stops the group (SIGSTOP)."""
        os.killpg(self.popen.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continues the group (SIGCONT)."""
        os.killpg(self.popen.pid, signal.SIGCONT)

    def status(self, field: str) -> int:
        """The bytes of a field of /proc/PID/status, such as VmRSS."""
        match = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{self.popen.pid}/status").read_text(), re.MULTILINE)
        assert match
        return int(match[1]) * 1024

    def processor_seconds(self) -> float:
        """Processor time in user and in system mode of all processes of the session that this one leads, and of their
        children that ended and were waited for (proc(5), stat)."""
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[_SESSION]) == self.popen.pid:
                    ticks += sum(map(int, fields[_UTIME : _UTIME + 4]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def reset_peak(self) -> None:
        """Resets VmHWM to VmRSS (proc(5), clear_refs)."""
        Path(f"/proc/{self.popen.pid}/clear_refs").write_text("5")

    def resident_outside(self, directory: Path) -> int:
        """Proportional resident bytes (Pss) of all mappings except those of files in `directory`."""
        total, is_counted = 0, True
        for line in Path(f"/proc/{self.popen.pid}/smaps").read_text().splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                is_counted = str(directory) not in line
            elif is_counted and line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
        return total


@contextlib.contextmanager
def started(
    command: Sequence[str],
    cores: frozenset[int],
    log: Path | None = None,
    environment: dict[str, str] | None = None,
    directory: Path | None = None,
) -> Iterator[Process]:
    """Runs a command on `cores`, in another working directory than this checkout if one is given; ends it on exit.

    Its standard error is appended to `log`, its standard output is a pipe.
    """

    def prepare() -> None:
        os.sched_setaffinity(0, cores)
        # SIGKILL at the death of this program, whose signals do not reach another process group.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    # Orphans of a server become children of this program, which can then wait for them.
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with contextlib.ExitStack() as stack:
        popen = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stack.enter_context(log.open("a")) if log else None,
            text=True,
            cwd=directory or _ROOT,
            env=os.environ | (environment or {}),
            start_new_session=True,
            preexec_fn=prepare,
        )
        process = Process(popen)
        stack.callback(_end, process)
        yield process


def _end(process: Process) -> None:
    pid = process.popen.pid
    if process.popen.poll() is None:
        descriptor = os.pidfd_open(pid)
        process.resume()
        os.kill(pid, signal.SIGTERM)
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        ended.poll(_TIMEOUT * 1000)
        os.close(descriptor)
    # Orphans of the server are in its group, whose id stays reserved until all of them are waited for.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    process.popen.communicate()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-pid, 0)


def wait_ready(process: Process, name: str, log: Path | None = None) -> str:
    """The URL of the server's ready line. Raises Failed with the server's log."""
    assert process.popen.stdout
    for line in process.popen.stdout:
        if line.startswith("Ready: serving on "):
            return line.split()[-1]
    raise Failed(f"{name} does not start{': ' + log.read_text() if log else ''}")


def python(*module: str, checkout: Path | None = None) -> list[str]:
    """The command line that runs a Python module; with the environment of another checkout, if one is given."""
    return [str(checkout / ".venv/bin/python") if checkout else sys.executable, "-m", *module]


def wait_until(process: Process, name: str, is_ready: Callable[[], bool], log: Path) -> None:
    """Waits until `is_ready()` holds. Raises Failed with the server's log if the server ends or times out."""
    deadline = time.monotonic() + _TIMEOUT
    while not is_ready():
        if process.popen.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{name} does not start:\n{log.read_text()}")
        time.sleep(0.01)
