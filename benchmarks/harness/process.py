"""A server in a process of its own: started, set aside while another is measured, ended whatever happens."""

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

from ..errors import Failed

_ROOT = Path(__file__).parents[2]
_STOP = 15.0
"""Seconds a server has to end."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None)


@dataclass(slots=True)
class Process:
    """A process and its children, which are a group of their own."""

    popen: subprocess.Popen[str]

    def pause(self) -> None:
        """No more time for it."""
        os.killpg(self.popen.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        os.killpg(self.popen.pid, signal.SIGCONT)

    def status(self, field: str) -> int:
        """Bytes that a field of /proc/PID/status names, such as VmRSS."""
        match = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{self.popen.pid}/status").read_text(), re.MULTILINE)
        assert match
        return int(match[1]) * 1024

    def forget_peak(self) -> None:
        """VmHWM begins anew (proc(5), clear_refs)."""
        Path(f"/proc/{self.popen.pid}/clear_refs").write_text("5")

    def resident_beside(self, directory: Path) -> int:
        """Proportional resident bytes of all that is not mapped from files in `directory`."""
        total, is_counted = 0, True
        for line in Path(f"/proc/{self.popen.pid}/smaps").read_text().splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                is_counted = str(directory) not in line
            elif is_counted and line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
        return total


@contextlib.contextmanager
def started(
    command: Sequence[str], cores: frozenset[int], log: Path | None = None, environment: dict[str, str] | None = None
) -> Iterator[Process]:
    """Runs a command on these cores; its standard error goes to `log`, its standard output can be read."""

    def prepare() -> None:
        os.sched_setaffinity(0, cores)
        # Ends with this program, also where that is killed: as a group of its own it would be left behind.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    # What a server leaves behind becomes a child of this program, which waits for it.
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with contextlib.ExitStack() as stack:
        popen = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stack.enter_context(log.open("a")) if log else None,
            text=True,
            cwd=_ROOT,
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
        ended.poll(_STOP * 1000)
        os.close(descriptor)
    # What it leaves behind is in its group, whose id is not given away as long as one of them is not waited for.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    process.popen.communicate()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-pid, 0)


def wait_ready(process: Process, name: str, log: Path | None = None) -> str:
    """The URL in the line that a server prints when it is ready. Raises Failed with its log."""
    assert process.popen.stdout
    for line in process.popen.stdout:
        if line.startswith("Ready: serving on "):
            return line.split()[-1]
    raise Failed(f"{name} does not start{': ' + log.read_text() if log else ''}")


def python(*module: str) -> list[str]:
    """The command line of a Python module."""
    return [sys.executable, "-m", *module]


def wait_until(process: Process, name: str, is_there: Callable[[], bool], log: Path) -> None:
    """Returns when `is_there()` holds; raises Failed if the server dies or takes too long."""
    deadline = time.monotonic() + _STOP
    while not is_there():
        if process.popen.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{name} does not start:\n{log.read_text()}")
        time.sleep(0.01)
