"""What the service manager that has started this process is told: that it serves, that it ends (sd_notify(3))."""

from __future__ import annotations

import errno
import functools
import os
import socket
from collections.abc import Callable

from ..observe import log

READY, STOPPING = b"READY=1", b"STOPPING=1"
_PATIENCE = 1.0
"""Seconds it may take to receive a message; systemd does so at once."""


def service_manager() -> Callable[[bytes], None]:
    """What tells it a state such as `READY`; nothing, where there is none.

    The variable with its address is removed from the environment: what is started from here has nothing to tell it.
    """
    name = os.environ.pop("NOTIFY_SOCKET", "")
    return functools.partial(_tell, name) if name else lambda _: None


def _tell(name: str, state: bytes) -> None:
    """A service manager that cannot be told is no reason not to serve."""
    try:
        if name[0] not in "/@":
            raise OSError(errno.EAFNOSUPPORT, "neither a path nor an abstract name")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_PATIENCE)
            sender.connect("\0" + name[1:] if name[0] == "@" else name)
            sender.send(state)
    except OSError as error:
        what = "NOTIFY_SOCKET = %a: the service manager cannot be told %s: %s"
        log.logger.warning(what, name, state.decode(), error.strerror or error)
