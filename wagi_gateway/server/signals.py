"""Signals: SIGHUP reloads, or stops a server whose terminal has gone; other servers' control signals are ignored."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable

IGNORED_SIGNALS = (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2)
"""Control signals of other servers: more workers, fewer workers, reopen logs, upgrade the binary. Their default actions
would stop or end the process."""
_HANGUP_DELAY = 1.0
"""Seconds between SIGHUP and the check for a terminal: a shell sends SIGHUP to its jobs before the terminal closes."""


def ignore(*numbers: signal.Signals) -> None:
    """Ignores signals in this process and, as SIG_IGN survives execve(2), in the processes it starts."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def ignore_signals() -> None:
    """Ignores signals that would end a server during its start-up, but for SIGINT, SIGTERM, SIGQUIT and, at a terminal,
    SIGHUP."""
    ignore(*IGNORED_SIGNALS)
    if not _is_at_terminal():
        ignore(signal.SIGHUP)


class HangupHandler:
    """Handles SIGHUP: a reload, unless the terminal from which the server was started has closed."""

    def __init__(self, stop: Callable[[], None], reload: Callable[[], object]) -> None:
        """`stop` and `reload` may be called on another thread."""
        self._stop = stop
        self._reload = reload
        self._has_terminal = _is_at_terminal()
        self._timer: threading.Timer | None = None

    def __call__(self) -> None:
        """Handles SIGHUP."""
        if not self._has_terminal:
            self._reload()
        elif self._timer is None or not self._timer.is_alive():
            self._timer = threading.Timer(_HANGUP_DELAY, self._reload_or_stop)
            self._timer.daemon = True
            self._timer.start()

    def _reload_or_stop(self) -> None:
        if _is_at_terminal():
            self._reload()
        else:
            self._stop()


def _is_at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
