"""A network namespace in which ranges of addresses are local, and which shares ports of loopback with this one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from tests.support.registry import installed

_SETUP = 'for range in $0; do ip route add local "$range" dev lo || exit; done; exec "$@"'
# A socket stays in the namespace in which it was made: this process makes those that listen, and one that connects for
# each byte; the tests accept and connect.
_HOLDER = """
import socket, sys
tests = socket.socket(fileno=int(sys.argv[1]))
listeners = [socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[2:]]
socket.send_fds(tests, [b"x"], [one.fileno() for one in listeners])
while tests.recv(1):
    with socket.socket() as client:
        socket.send_fds(tests, [b"x"], [client.fileno()])
"""


@dataclass(frozen=True, slots=True)
class NetworkNamespace:
    """A network namespace, which is that of a process."""

    pid: int

    @property
    def prefix(self) -> tuple[str, ...]:
        """A prefix for a command that runs in it."""
        options = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
        return (installed("nsenter", "util-linux"), "--target", str(self.pid), "--net", *options)


@contextmanager
def network_namespace(
    ranges: Sequence[str], ports: Sequence[int], published: Sequence[int] = ()
) -> Iterator[NetworkNamespace]:
    """A namespace in which CIDR ranges are local, and ports of 127.0.0.1 are those of this namespace.

    The published ports of 127.0.0.1 here are those there.
    It needs CAP_SYS_ADMIN, or user namespaces where one is not root.
    """
    own, other = socket.socketpair()
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = [installed("unshare", "util-linux"), "--net", *rights, "sh", "-c"]
    command += [f"ip link set lo up && {_SETUP}", " ".join(ranges)]
    command += [sys.executable, "-c", _HOLDER, str(other.fileno()), *map(str, ports)]
    installed("ip", "iproute2")
    with own, subprocess.Popen(command, pass_fds=[other.fileno()], stderr=subprocess.PIPE) as holder:
        other.close()
        try:
            data, descriptors, _, _ = socket.recv_fds(own, 1, len(ports))
            if not data:
                assert holder.stderr
                pytest.fail(f"no network namespace: {holder.stderr.read().decode()}", pytrace=False)
            listeners = [socket.socket(fileno=one) for one in descriptors]
            inward = [(_Port(port, socket.socket), one) for port, one in zip(ports, listeners, strict=True)]
            there = partial(_socket_there, own)
            outward = [(_Port(port, there), socket.create_server(("127.0.0.1", port))) for port in published]
            with _forwarding([*inward, *outward]):
                yield NetworkNamespace(holder.pid)
        finally:
            own.shutdown(socket.SHUT_RDWR)


def _socket_there(holder: socket.socket) -> socket.socket:
    """A new socket of the namespace."""
    holder.send(b"x")
    _, (descriptor,), _, _ = socket.recv_fds(holder, 1, 1)
    return socket.socket(fileno=descriptor)


@contextmanager
def _forwarding(ports: Sequence[tuple[_Port, socket.socket]]) -> Iterator[None]:
    """Hands each connection of a listener on to its port."""
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_forward(ports, ended),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


async def _forward(ports: Sequence[tuple[_Port, socket.socket]], ended: asyncio.Event) -> None:
    servers = [await asyncio.start_server(port.serve, sock=listener) for port, listener in ports]
    await ended.wait()
    for server in servers:
        server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Port:
    number: int
    new_socket: Callable[[], socket.socket]
    """A socket of the namespace in which the port is."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until one of its sides ends it."""
        with contextlib.suppress(OSError), self.new_socket() as upstream:
            upstream.setblocking(False)
            await asyncio.get_running_loop().sock_connect(upstream, ("127.0.0.1", self.number))
            upstream_reader, upstream_writer = await asyncio.open_connection(sock=upstream)
            await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
