"""The process of one Pod: `wagi-gateway serve` in a session of its own, which survives the node."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

UNKNOWN_EXIT = 137
"""The exit code of a process that is no child of this one, as in a kubelet's `ContainerStatusUnknown`."""
STARTUP_FAILED = 3
"""The exit code of a gateway whose configuration or modules are refused."""
_OOM_SCORE = 500
"""Where memory ends, the kernel ends a Pod before the node (proc_pid_oom_score_adj(5))."""


class PodProcess:
    """A running gateway, started by `Forks` or adopted from an earlier process of the node."""

    def __init__(self, pid: int, descriptor: int, *, is_child: bool = False) -> None:
        """`is_child` is for a process whose end `ended` reports; until then its number is not used again."""
        self.pid = pid
        self.start_time = start_time(pid)
        self.is_child = is_child
        """Whether the exit code becomes known."""
        self._descriptor = descriptor
        self._code = UNKNOWN_EXIT
        self._exited = asyncio.Event()
        if is_child:
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/oom_score_adj").write_text(str(_OOM_SCORE))
        else:
            self._watch()

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
    def has_exited(self) -> bool:
        """Whether the process has ended."""
        return self._exited.is_set()

    async def wait(self) -> int:
        """The exit code, once the process ends: 128 and more for a signal, UNKNOWN_EXIT of an adopted process."""
        await self._exited.wait()
        return self._code

    def ended(self, code: int) -> None:
        """Takes the exit code of a process that is still a zombie: no other process group has its number."""
        self._kill_group()
        self._code = code
        self._exited.set()
        self.close()

    def orphaned(self) -> None:
        """Takes notice that the exit code will not be reported."""
        self.is_child = False
        if self._descriptor >= 0:
            self._watch()

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

    def _send(self, number: signal.Signals) -> None:
        if self._descriptor >= 0 and not self._exited.is_set():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._descriptor, number)

    def _watch(self) -> None:
        """Waits for the end of a process that is no child of this one, or of its fork server."""
        asyncio.get_running_loop().add_reader(self._descriptor, self._on_exit)

    def _on_exit(self) -> None:
        if start_time(self.pid) == 0:  # else the number is another process's, and nothing is left of the group
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # as the first process of a container, this one inherits orphans
            os.waitpid(self.pid, os.WNOHANG)
        self._exited.set()
        self.close()

    def _kill_group(self) -> None:
        """Ends what is left of the process group: a compilation would hold the listening socket."""
        with contextlib.suppress(OSError):
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGKILL)


def start_time(pid: int) -> int:
    """The start time of a process in clock ticks since boot (proc_pid_stat(5)); 0 for one that has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        state, *fields = stat[stat.rindex(b")") + 2 :].split()
        return 0 if state in (b"Z", b"X") else int(fields[18])
    except (OSError, ValueError, IndexError):
        return 0
