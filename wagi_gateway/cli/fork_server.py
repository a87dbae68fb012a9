"""The fork server of a node: command lines of `wagi-gateway` in processes that share its loaded modules.

A new interpreter needs a second of processor time to import what a gateway needs, and memory of its own for it.
`node.pods.forks` starts the fork server. Its standard input is a SOCK_SEQPACKET socket, on which it sends `ready`.

- `run ARGUMENTS`, a list in JSON, has the descriptors of the command (SCM_RIGHTS): the first is for standard error, the
  others get the numbers from 3 on. The answer is `started PID`, or `failed ERRNO` where the system has no room for it.
- `ended PID CODE` is sent when such a process has ended. The process is a zombie until `reap PID`: no other process and
  no process group has its number meanwhile.

At the end of the channel the fork server ends, and the commands go on. It runs no thread, so that fork(2) is safe.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from typing import cast

from ..sandbox import backend
from ..server import admin, serve  # noqa: F401 - loaded for the commands
from ..site import load  # noqa: F401
from . import main as commands

MAX_MESSAGE = 2**16
_MAX_DESCRIPTORS = 8
_FIRST = 3
"""The lowest number of a descriptor that is no standard stream."""


def main() -> None:
    """Serves standard input until the other end is closed; in the process of a command, runs the command."""
    channel = socket.socket(fileno=os.dup(0))
    backend.choose()
    gc.collect()
    gc.freeze()  # the collector would write to the pages that processes share
    with channel:
        channel.send(b"ready")
        arguments = Commands(channel).run()
    if arguments is not None:
        sys.argv = ["wagi-gateway", *arguments]
        commands.main()


class Commands:
    """The processes of commands, and the channel."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._running: dict[int, int] = {}
        """Process ids by descriptors that are readable when the process has ended (pidfd_open(2))."""
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    def run(self) -> list[str] | None:
        """None at the end of the channel; in the process of a command, its arguments."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._running:
                    self._report(descriptor)
                    continue
                message, descriptors, flags, _ = socket.recv_fds(self._channel, MAX_MESSAGE, _MAX_DESCRIPTORS)
                if not message:
                    return None
                word, _, rest = message.decode().partition(" ")
                if word == "reap":
                    os.waitpid(int(rest), 0)
                elif self._fork(descriptors, is_whole=not flags & socket.MSG_CTRUNC):
                    return list(json.loads(rest))

    def _fork(self, descriptors: list[int], *, is_whole: bool) -> bool:
        """Starts a process; True in that process."""
        try:
            if not is_whole:
                raise OSError(errno.EMFILE, "descriptors of the message are lost")
            pid = os.fork()
        except OSError as error:
            _close(descriptors)
            self._channel.send(f"failed {error.errno}".encode())
            return False
        if pid == 0:
            self._channel.detach()
            _begin(descriptors)
            return True
        _close(descriptors)
        self._watch(pid)
        return False

    def _watch(self, pid: int) -> None:
        """Has the end of a process reported, which is ended at once where that is not possible."""
        try:
            descriptor = os.pidfd_open(pid)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._channel.send(f"failed {error.errno}".encode())
            return
        self._running[descriptor] = pid
        self._poll.register(descriptor, select.POLLIN)
        self._channel.send(f"started {pid}".encode())

    def _report(self, descriptor: int) -> None:
        pid = self._running.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        end = cast("os.waitid_result", os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT))
        code = end.si_status if end.si_code == os.CLD_EXITED else 128 + end.si_status
        self._channel.send(f"ended {pid} {code}".encode())


def _close(descriptors: Sequence[int]) -> None:
    for one in descriptors:
        os.close(one)


def _begin(descriptors: Sequence[int]) -> None:
    """Gives this process a session, standard streams and its descriptors, and none of the fork server's."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    # Two steps, as a number that is wanted may be in use.
    error, *others = [fcntl.fcntl(one, fcntl.F_DUPFD, _FIRST + _MAX_DESCRIPTORS) for one in descriptors]
    for number, one in (*enumerate((null, null, error)), *enumerate(others, _FIRST)):
        os.dup2(one, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= _FIRST + len(others):
            with contextlib.suppress(OSError):  # that of the directory
                os.close(int(name))


if __name__ == "__main__":
    main()
