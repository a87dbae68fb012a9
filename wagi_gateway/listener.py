"""The listening socket."""

from __future__ import annotations

import contextlib
import socket

from .config import Server, parse_listen
from .errors import Problem, StartupError

BACKLOG = 2048
"""Connections that may wait to be accepted."""


def bind(settings: Server) -> socket.socket:
    """The listening socket. Raises StartupError."""
    host, port = parse_listen(settings.listen)
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, number)
    except OSError as error:
        raise StartupError(Problem("", f"server.listen: {host} is no address of this host: {error.strerror}")) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(AttributeError, OSError):  # Linux; accepted connections inherit it
            timeout = int(settings.send_timeout * 1000)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        what = f"server.listen: cannot serve on {settings.listen}: {error.strerror}; choose another address (--listen)"
        raise StartupError(Problem("", what)) from None
    listener.set_inheritable(True)
    return listener


def url(listener: socket.socket) -> str:
    """The address of a listening socket as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
