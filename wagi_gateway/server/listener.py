"""The listening socket: TCP, UNIX, or handed over by a supervisor."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from ..config.settings import AdminConfig, ServerConfig
from ..config.values import parse_descriptor, parse_listen, parse_unix
from ..errors import Problem, StartupError

BACKLOG = 2048
"""Connections that may wait to be accepted."""
OPERATOR_TIMEOUT = 5.0
"""Seconds an operator's client may be silent, or take nothing."""
_HANDED_OVER = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""What systemd says of the sockets it hands over (sd_listen_fds(3))."""


def listening(settings: ServerConfig, base: Path) -> contextlib.AbstractContextManager[socket.socket]:
    """The listening socket of `[server]`; relative paths start from `base`. Raises StartupError."""
    return listening_on(settings.listen, base, settings.send_timeout, mode=settings.socket_mode)


@contextlib.contextmanager
def listening_on(
    listen: str,
    base: Path,
    send_timeout: float,
    *,
    mode: str = "0660",
    key: str = "server.listen",
    option: str = "--listen",
) -> Iterator[socket.socket]:
    """A socket that listens on an address as `server.listen` has it; a UNIX socket is removed at the end.

    A connection whose peer takes nothing for `send_timeout` seconds is dropped by the system, where it is TCP. `key`
    and `option` are what messages call the setting. Raises StartupError.
    """
    path = parse_unix(listen)
    descriptor = parse_descriptor(listen)
    try:
        if path is not None:
            listener = _bind_unix(base.absolute() / path, int(mode, 8))
        elif descriptor is not None:
            listener = _take_over(descriptor)
        else:
            listener = _bind(*parse_listen(listen))
    except OSError as error:
        reason = error.strerror or str(error)
        what = f"{key}: cannot serve on {listen}: {reason}; choose another address ({option})"
        raise StartupError(Problem("", what)) from None
    owned = _identity(base.absolute() / path) if path is not None else None
    with listener:
        listener.set_inheritable(True)
        if listener.family != socket.AF_UNIX:
            with contextlib.suppress(AttributeError, OSError):  # Linux; accepted connections inherit it
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(send_timeout * 1000))
        try:
            yield listener
        finally:
            # Another server may have put its own in the place meanwhile.
            if path is not None and _identity(base.absolute() / path) == owned:
                (base.absolute() / path).unlink(missing_ok=True)


def listening_to_operator(settings: AdminConfig, base: Path) -> contextlib.AbstractContextManager[socket.socket | None]:
    """The listening socket of `[admin]`, if there is to be one; to a UNIX socket the gateway's user alone may connect.

    Raises StartupError.
    """
    if settings.listen is None:
        return contextlib.nullcontext()
    return listening_on(settings.listen, base, OPERATOR_TIMEOUT, mode="0600", key="admin.listen", option="--admin")


def url(listener: socket.socket, path: str = "", *, is_secure: bool = False) -> str:
    """The address of a listening socket as a URL, with a path of it; that of a UNIX socket as nginx writes it.

    `http://127.0.0.1:3000/hello`, `http://unix:/run/wagi.sock:/hello`
    """
    scheme = "https" if is_secure else "http"
    if listener.family == socket.AF_UNIX:
        name = listener.getsockname()
        name = "@" + name[1:].decode("latin-1") if isinstance(name, bytes) else name
        return f"{scheme}://unix:{name}:{path}" if path else f"{scheme}://unix:{name}"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}{path}" if ":" in host else f"{scheme}://{host}:{port}{path}"


def _bind(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise OSError(f"{host} is no address of this host: {error.strerror}") from None
    listener = socket.socket(family, kind, number)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _bind_unix(path: Path, mode: int) -> socket.socket:
    """Takes the place of a socket that nobody listens on any more, and of nothing else. Raises OSError."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)  # or two that start together take the place of one another
        if _is_stale(path):
            path.unlink()
        # The mode it is made with, so that at no time anybody else can connect; there are no other threads yet that
        # make files.
        mask = os.umask(0o777 & ~mode)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(directory)
    return listener


def _is_stale(path: Path) -> bool:
    """Whether a socket that nobody listens on is in the way. Raises OSError for anything else that is."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(kind):
        raise FileExistsError("there is something else than a socket in its place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return True
    raise FileExistsError("another server listens there")


def _take_over(descriptor: int) -> socket.socket:
    """The socket that whoever started this process has opened. Raises OSError."""
    for variable in _HANDED_OVER:  # not for the processes started from here
        os.environ.pop(variable, None)
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError:
        raise OSError(f"descriptor {descriptor} is no socket; it is opened by the .socket unit") from None
    is_stream = listener.type == socket.SOCK_STREAM
    if not is_stream or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.detach()
        raise OSError(f"descriptor {descriptor} is no listening socket; it is opened by the .socket unit")
    return listener


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What tells one socket from another that is made in its place later."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns
