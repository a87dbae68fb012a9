"""Listening sockets: TCP, UNIX, or inherited from a service manager (`fd:N`)."""

from __future__ import annotations

import contextlib
import errno
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
"""Connections that may wait to be accepted (listen(2))."""
OPERATOR_TIMEOUT = 5.0
"""Seconds a client of the admin listener may send, or receive, nothing."""
_FIRST_FREE_PORT = 1024
"""The lowest port that needs no capability (capabilities(7), CAP_NET_BIND_SERVICE)."""
_LISTEN_VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""The variables with which systemd passes sockets (sd_listen_fds(3))."""


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
    """A socket that listens on an address in the form of `server.listen`; a UNIX socket's file is removed at the end.

    The kernel drops a TCP connection whose peer acknowledges nothing for `send_timeout` seconds. `key` and `option` are
    the names of the setting in messages. Raises StartupError.
    """
    path = parse_unix(listen)
    descriptor = parse_descriptor(listen)
    try:
        if path is not None:
            listener = _bind_unix(base.absolute() / path, int(mode, 8))
        elif descriptor is not None:
            listener = _inherit(descriptor)
        else:
            listener = _bind(*parse_listen(listen))
    except OSError as error:
        reason = error.strerror or str(error)
        what = f"{key}: cannot serve on {listen}: {reason}; {_advice(error, listen, option)}"
        raise StartupError(Problem("", what)) from None
    owned = _identity(base.absolute() / path) if path is not None else None
    with listener:
        listener.set_inheritable(True)
        if listener.family != socket.AF_UNIX:
            with contextlib.suppress(AttributeError, OSError):  # Linux only; accepted connections inherit the option
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(send_timeout * 1000))
        try:
            yield listener
        finally:
            # Another server may have replaced the socket with its own.
            if path is not None and _identity(base.absolute() / path) == owned:
                (base.absolute() / path).unlink(missing_ok=True)


def _advice(error: OSError, listen: str, option: str) -> str:
    """What to do about an address that cannot be bound."""
    is_tcp = parse_unix(listen) is None and parse_descriptor(listen) is None
    if not (is_tcp and error.errno in (errno.EACCES, errno.EPERM) and 0 < parse_listen(listen)[1] < _FIRST_FREE_PORT):
        return f"choose another address ({option})"
    return (
        f"a port below {_FIRST_FREE_PORT} needs a right: have systemd open it (fd:3 and a .socket unit), grant "
        f"CAP_NET_BIND_SERVICE (AmbientCapabilities=), lower the sysctl net.ipv4.ip_unprivileged_port_start, "
        f"or choose another port ({option})"
    )


def listening_to_admin(settings: AdminConfig, base: Path) -> contextlib.AbstractContextManager[socket.socket | None]:
    """The listening socket of `[admin]`, or None without `admin.listen`; only the gateway's user may connect to a UNIX
    socket. Raises StartupError."""
    if settings.listen is None:
        return contextlib.nullcontext()
    return listening_on(settings.listen, base, OPERATOR_TIMEOUT, mode="0600", key="admin.listen", option="--admin")


def url(listener: socket.socket, path: str = "", *, is_secure: bool = False) -> str:
    """The URL of a path on a listening socket; a UNIX socket's URL has the form that nginx's proxy_pass uses.

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
    """Binds a UNIX socket, in place of a stale socket but of no other file. Raises OSError."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)  # or two servers that start together would replace each other's socket
        if _is_stale(path):
            path.unlink()
        # The umask, rather than chmod(2), so that the mode holds from the beginning. It is a process-wide setting, and
        # safe here because no other thread creates files yet.
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
    """Whether the path is a socket on which no process listens. Raises OSError if it is any other file."""
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


def _inherit(descriptor: int) -> socket.socket:
    """The listening socket that this process has inherited as a descriptor. Raises OSError."""
    for variable in _LISTEN_VARIABLES:  # child processes inherit no such socket
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
    """Device, inode and modification time, which differ between a socket and its replacement at the same path."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns
