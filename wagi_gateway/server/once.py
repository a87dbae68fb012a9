"""Something that happens once in all processes of a server."""

from __future__ import annotations

import socket


class Once:
    """`once()` is True for the first caller in this process and in the processes that were started with `once`.

    One datagram waits in a socket, and a call receives it.
    """

    def __init__(self) -> None:
        self._sender, self._receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.send(b"1")

    def __call__(self) -> bool:
        try:
            return bool(self._receiver.recv(1, socket.MSG_DONTWAIT))
        except OSError:
            return False

    def close(self) -> None:
        """Releases the sockets of this process."""
        self._sender.close()
        self._receiver.close()
