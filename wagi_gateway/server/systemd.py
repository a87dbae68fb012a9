"""State notifications to the service manager, as sd_notify(3) defines them."""

from __future__ import annotations

import errno
import functools
import os
import socket
import time
from collections.abc import Callable

from ..config.file import ConfigFile
from ..errors import StartupError, counted
from ..gateway.reload import Read
from ..observe import log
from ..observe.log_record import escape
from ..observe.process_registry import ServedSite

READY, STOPPING = b"READY=1", b"STOPPING=1"
_MAX_STATUS = 500
"""Characters of STATUS=, one line."""
_SEND_TIMEOUT = 1.0
"""Seconds to send a notification; systemd receives at once."""


def service_manager() -> Callable[[bytes], None]:
    """A function that notifies the service manager of a state such as `READY`; without NOTIFY_SOCKET it does nothing.

    NOTIFY_SOCKET is removed from the environment, so that child processes send no notifications.
    """
    name = os.environ.pop("NOTIFY_SOCKET", "")
    return functools.partial(_notify, name) if name else lambda _: None


class ServiceManager:
    """The states of the server, as the service manager is notified of them."""

    def __init__(self) -> None:
        self._send = service_manager()

    def ready(self) -> None:
        """The server serves: the end of the start."""
        self._send(READY)

    def stopping(self) -> None:
        """The shutdown begins."""
        self._send(STOPPING)

    def announcing_reload(self, read: Read) -> Read:
        """`read`, with a notification at each call: a reload begins by reading the configuration."""

        def announce_and_read() -> ConfigFile:
            # Type=notify-reload compares the time with that of its signal (systemd.service(5)).
            self._send(b"RELOADING=1\nMONOTONIC_USEC=%d" % (time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))
            return read()

        return announce_and_read

    def on_reload(self, site: ServedSite | None, error: StartupError | None) -> None:
        """A reload has ended: READY=1, and its outcome as the status that `systemctl status` shows."""
        if error is None:
            status = f"Serving {counted(len(site.modules) if site else 0, 'module')}"
        else:
            status = f"Reload refused, the previous configuration is served: {error}"
        text = escape(" ".join(status.split()))[:_MAX_STATUS]
        self._send(READY + b"\nSTATUS=" + text.encode("utf-8", "replace"))


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
        log.logger.warning(what, name, state.split(b"\n")[0].decode(), error.strerror or error)
