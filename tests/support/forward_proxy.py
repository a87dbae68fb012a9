"""A forward proxy for outbound calls."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

PASSWORD = "pass word:+"


AUTHORIZATION = "Basic " + b64encode(f"operator:{PASSWORD}".encode()).decode()


REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


@dataclass(slots=True)
class Forward:
    """A forward proxy: absolute-form and CONNECT, one request a connection; all host names resolve to 127.0.0.1."""

    authorization: str | None = AUTHORIZATION
    ports: Mapping[int, int] = field(default_factory=dict)
    """The address for ports without a server on this machine."""
    heads: list[list[str]] = field(default_factory=list)
    """The lines of each request head."""
    _listener: socket.socket = field(init=False)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    @property
    def port(self) -> int:
        """The listener's port."""
        port: int = self._listener.getsockname()[1]
        return port

    def _start(self, target: object, *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))  # type: ignore[arg-type]
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                if not (piece := client.recv(65536)):
                    return
                data += piece
            head, _, rest = data.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            self.heads.append(lines)
            method, target, _ = lines[0].split(" ")
            wanted = self.authorization and f"proxy-authorization: {self.authorization}".lower()
            if wanted and wanted not in map(str.lower, lines):
                client.sendall(REFUSAL)
                return
            authority = target if method == "CONNECT" else target.split("/")[2]
            port = int(authority.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", self.ports.get(port, port))) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                    relay(client, server)
                    return
                path = "/" + target.split("/", 3)[3]
                kept = [line for line in lines[1:] if not line.lower().startswith("proxy-")]
                begin = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "connection: close", "", ""])
                size = next((int(line[15:]) for line in kept if line.lower().startswith("content-length:")), 0)
                while len(rest) < size:
                    rest += client.recv(65536)
                server.sendall(begin.encode("latin-1") + rest)
                answer = b"".join(iter(lambda: server.recv(65536), b""))
                client.sendall(answer.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))


def relay(one: socket.socket, other: socket.socket) -> None:
    """Copies bytes in both directions until one side closes."""
    while True:
        for ready in select.select([one, other], [], [])[0]:
            if not (data := ready.recv(65536)):
                return
            (other if ready is one else one).sendall(data)
