"""The process of one Pod: `wagi-gateway serve` in a session of its own, which survives the node."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import wagi_gateway

UNKNOWN_EXIT = 137
"""The exit code of a process that is no child of this one, as in a kubelet's `ContainerStatusUnknown`."""
STARTUP_FAILED = 3
"""The exit code of a gateway whose configuration or modules are refused."""
_MAX_TAIL = 1500
"""Bytes of a gateway's log in the message of a status."""
_NOT_INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""Variables of the service manager, which are for the node alone."""
_OOM_SCORE = 500
"""Where memory ends, the kernel ends a Pod before the node (proc_pid_oom_score_adj(5))."""


class PodProcess:
    """A running gateway, started by this process of the node or adopted from an earlier one."""

    def __init__(self, pid: int, descriptor: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.start_time = start_time(pid)
        self._descriptor = descriptor
        self._child = child
        self._exited = asyncio.Event()
        # Not asyncio's child watcher: an adopted process is no child.
        asyncio.get_running_loop().add_reader(descriptor, self._on_exit)

    @classmethod
    def start(cls, configuration: Path, listener: socket.socket, log: Path) -> PodProcess:
        """Starts a gateway on a listening socket; `log` gets what it writes to standard error. Raises OSError."""
        number = listener.fileno()
        command = [sys.executable, "-m", "wagi_gateway", "serve", str(configuration), "--listen", f"fd:{number}"]
        environ = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(log, flags, 0o600), "wb") as output:
            child = subprocess.Popen(  # noqa: S603 - the gateway of this package
                command,
                # Python's module search begins there: the gateway is of the node's own version.
                cwd=Path(wagi_gateway.__file__).parent.parent,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                pass_fds=[number],
                start_new_session=True,
            )
        with contextlib.suppress(OSError):
            Path(f"/proc/{child.pid}/oom_score_adj").write_text(str(_OOM_SCORE))
        return cls(child.pid, os.pidfd_open(child.pid), child)

    @classmethod
    def adopt(cls, pid: int, started: int) -> PodProcess | None:
        """The process of an earlier node; None if it has ended, or the pid is another process's."""
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return None
        if start_time(pid) != started:  # checked with the descriptor open: it stays the same process from here on
            os.close(descriptor)
            return None
        return cls(pid, descriptor)

    @property
    def is_child(self) -> bool:
        """Whether the process was started by this one, which so learns its exit code."""
        return self._child is not None

    @property
    def has_exited(self) -> bool:
        """Whether the process has ended."""
        return self._exited.is_set()

    async def wait(self) -> int:
        """The exit code, once the process ends: 128 and more for a signal, UNKNOWN_EXIT of an adopted process."""
        await self._exited.wait()
        if self._child is None:
            return UNKNOWN_EXIT
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """Requests the end: the gateway drains for `server.shutdown_grace`."""
        self._send(signal.SIGTERM)

    async def end(self, grace: float) -> None:
        """Ends the process, which has `grace` seconds to drain."""
        self.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.wait()
        self.kill()

    def kill(self) -> None:
        """Ends the process and its children at once."""
        if not self._exited.is_set():
            self._kill_group()
        self._send(signal.SIGKILL)

    def close(self) -> None:
        """Forgets the process, which goes on."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        if self._child and not self._exited.is_set():
            self._child.returncode = 0  # or Popen warns that the process goes on, which is meant

    def _send(self, number: signal.Signals) -> None:
        if self._descriptor >= 0 and not self._exited.is_set():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._descriptor, number)

    def _on_exit(self) -> None:
        if self._child:
            self._kill_group()  # not waited for yet, so no other process group has its number
            self._child.wait()  # also if nothing asks for the exit code any more
        self._exited.set()
        self.close()

    def _kill_group(self) -> None:
        """Ends what is left of the process group: a compilation would hold the listening socket."""
        with contextlib.suppress(OSError):
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGKILL)


def tail(log: Path) -> str:
    """The last lines of what a gateway wrote to standard error."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MAX_TAIL))
            return file.read(_MAX_TAIL).decode(errors="replace").strip()
    except OSError:
        return ""


def start_time(pid: int) -> int:
    """The start time of a process in clock ticks since boot (proc_pid_stat(5)); 0 for one that has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        state, *fields = stat[stat.rindex(b")") + 2 :].split()
        return 0 if state in (b"Z", b"X") else int(fields[18])
    except (OSError, ValueError, IndexError):
        return 0
