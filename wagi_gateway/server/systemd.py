"""State notifications to the service manager, as sd_notify(3) defines them: READY=1 and STOPPING=1."""

from __future__ import annotations

import errno
import functools
import os
import socket
from collections.abc import Callable

from ..observe import log

READY, STOPPING = b"READY=1", b"STOPPING=1"
_SEND_TIMEOUT = 1.0
"""Seconds to send a notification; systemd receives at once."""


def service_manager() -> Callable[[bytes], None]:
    """A function that notifies the service manager of a state such as `READY`; without NOTIFY_SOCKET it does nothing.

    NOTIFY_SOCKET is removed from the environment, so that child processes send no notifications.
    """
    name = os.environ.pop("NOTIFY_SOCKET", "")
    return functools.partial(_notify, name) if name else lambda _: None


def _notify(name: str, state: bytes) -> None:
    """Sends a notification; a failure is a warning, and does not keep the server from serving."""
    try:
        if name[0] not in "/@":
            raise OSError(errno.EAFNOSUPPORT, "neither a path nor an abstract name")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SEND_TIMEOUT)
            sender.connect("\0" + name[1:] if name[0] == "@" else name)
            sender.send(state)
    except OSError as error:
        what = "NOTIFY_SOCKET = %a: the service manager cannot be told %s: %s"
        log.logger.warning(what, name, state.decode(), error.strerror or error)
