"""The gateways of Pods as processes of a fork server, which has loaded their modules once for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

import wagi_gateway

from ...observe.log import logger
from .gateway_log import open_log
from .process import PodProcess

_START = 60.0
"""Seconds until a fork server has loaded the modules."""
_ANSWER = 10.0
"""Seconds until it has forked."""
_MAX_ANSWER = 256
_MODULE = "wagi_gateway.cli.fork_server"
_NOT_INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""Variables of the service manager, which are for the node alone."""


class ForkFailed(OSError):
    """The fork server does not answer, or has ended, and the next start has another one; or the system has no room."""


class _NoRoom(OSError):
    """The fork server has said that there is no room for a process; it goes on."""


class Forks:
    """Starts gateways, and learns how they ended. `cli.fork_server` describes the messages.

    When the fork server ends, its gateways go on; how they end is not known then.
    """

    def __init__(self, label: Path) -> None:
        """`label` is shown by ps(1): the state directory of the node."""
        self._arguments = ("-m", _MODULE, str(label))
        self._server: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._is_ready = False
        self._lock = asyncio.Lock()
        self._processes: dict[int, PodProcess] = {}

    def end_strays(self, known: Collection[int]) -> None:
        """Ends the gateways of an earlier process of the node, which was killed before it had written down their
        process ids. Not after `begin`; `known` are the process ids of the others.
        """
        for pid in _processes(self._arguments) - set(known):
            with contextlib.suppress(OSError):
                if (group := os.getpgid(pid)) not in known:  # a child of a gateway has its command line and its group
                    os.killpg(group, signal.SIGKILL)
                    logger.warning("the gateway %d, which was started for no Pod that is known, is ended", pid)

    def begin(self) -> socket.socket:
        """The channel of the fork server, which is started unless it runs; ready a second later. Raises OSError."""
        if self._channel:
            return self._channel
        channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environ = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        with other, ExitStack() as stack:
            stack.push(channel)
            self._server = subprocess.Popen(  # noqa: S603 - a module of this package
                [sys.executable, *self._arguments],
                # Python's module search begins there: the gateways are of the node's own version.
                cwd=Path(wagi_gateway.__file__).parent.parent,
                env=environ,
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.pop_all()
        self._channel = channel
        return channel

    async def start(self, arguments: Sequence[str], log: Path, listeners: Sequence[socket.socket]) -> PodProcess:
        """Starts `wagi-gateway ARGUMENTS`, in which the listeners have the descriptors from 3 on.

        `log` gets what it writes to standard error. Raises OSError.
        """
        async with self._lock:
            channel = await self._ready_channel()
            # No other task runs until the answer is there: none can be cancelled, and leave a process behind.
            return self._start(channel, json.dumps(list(arguments)), log, listeners)

    def end(self) -> None:
        """Ends the fork server, and no gateway, whose exit codes are not known from here on."""
        if self._channel is None or self._server is None:
            return
        asyncio.get_running_loop().remove_reader(self._channel)
        if self._server.poll() is None:  # else another process may have its id
            for pid in _children(self._server.pid) - self._processes.keys():  # started, but for no Pod
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        self._server.kill()
        self._server.wait()
        self._channel.close()
        self._channel, self._is_ready = None, False
        lost, self._processes = self._processes, {}
        for process in lost.values():
            process.orphaned()

    async def _ready_channel(self) -> socket.socket:
        channel, loop = self.begin(), asyncio.get_running_loop()
        if self._is_ready:
            return channel
        channel.setblocking(False)
        try:
            async with asyncio.timeout(_START):
                answer = await loop.sock_recv(channel, _MAX_ANSWER)
        except (OSError, TimeoutError):
            answer = b""
        if answer != b"ready":
            self.end()
            raise ForkFailed("the gateways' fork server does not start; the node's log may say why")
        self._is_ready = True
        channel.settimeout(_ANSWER)
        loop.add_reader(channel, self._receive, channel)
        return channel

    def _start(
        self, channel: socket.socket, arguments: str, log: Path, listeners: Sequence[socket.socket]
    ) -> PodProcess:
        with open_log(log) as output:
            return self._run(channel, arguments, [output.fileno(), *(one.fileno() for one in listeners)])

    def _run(self, channel: socket.socket, arguments: str, descriptors: Sequence[int]) -> PodProcess:
        try:
            socket.send_fds(channel, [f"run {arguments}".encode()], descriptors)
            while not (pid := self._handle(channel)):
                pass
            if pid < 0:
                raise _NoRoom(-pid, os.strerror(-pid))
            process = self._processes[pid] = PodProcess(pid, os.pidfd_open(pid), is_child=True)
        except _NoRoom as error:
            raise ForkFailed(f"no process can be started: {error.strerror}") from None
        except OSError as error:
            self.end()
            raise ForkFailed(f"the gateways' fork server does not answer: {error.strerror or error}") from None
        return process

    def _receive(self, channel: socket.socket) -> None:
        try:
            self._handle(channel)
        except OSError as error:
            logger.warning("the gateways' fork server has ended: %s", error.strerror or error)
            self.end()

    def _handle(self, channel: socket.socket) -> int | None:
        """Receives a message; the process id of `started`, or the negative number of the error of `failed`.

        Raises OSError, also at the end of the channel.
        """
        message = channel.recv(_MAX_ANSWER)
        if not message:
            raise ForkFailed("the channel is closed")
        word, *numbers = message.decode().split()
        pid = int(numbers[0])
        if word == "started":
            return pid
        if word == "failed":
            return -pid
        if process := self._processes.pop(pid, None):
            process.ended(int(numbers[1]))
        channel.send(f"reap {pid}".encode())
        return None


def _processes(arguments: Sequence[str]) -> set[int]:
    """The processes of an interpreter with these arguments; a forked one has those of its parent."""
    wanted, found = [os.fsencode(one) for one in arguments], set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().split(b"\0")[1:-1] == wanted:
                found.add(int(path.parent.name))
    return found


def _children(pid: int) -> set[int]:
    """The children of a process (proc_pid_task(5)); none if that is not known."""
    with contextlib.suppress(OSError):
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return set()
