"""What signals mean that servers give different meanings."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable

WORDS_OF_OTHERS = (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2)
"""More workers, fewer, open the logs again, take the new program: nothing here. The system would halt or end it."""
_MOMENT = 1.0
"""Seconds after a hangup in which its terminal goes, if it does: shells tell their jobs before."""


def ignore(*numbers: signal.Signals) -> None:
    """Has them do nothing in this process, nor in those that it starts."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def ignore_signals() -> None:
    """Has nothing end a server that is not up yet but what asks for its end."""
    ignore(*WORDS_OF_OTHERS)
    if not _is_at_terminal():
        ignore(signal.SIGHUP)


class HangupHandler:
    """What SIGHUP says: that the terminal is gone where the server was started, or that somebody wants a reload."""

    def __init__(self, stop: Callable[[], None], reload: Callable[[], object]) -> None:
        """Both may be called from another thread."""
        self._stop = stop
        self._reload = reload
        self._has_terminal = _is_at_terminal()
        self._later: threading.Timer | None = None

    def __call__(self) -> None:
        """It has come."""
        if not self._has_terminal:
            self._reload()
        elif self._later is None or not self._later.is_alive():
            self._later = threading.Timer(_MOMENT, self._decide)
            self._later.daemon = True
            self._later.start()

    def _decide(self) -> None:
        if _is_at_terminal():
            self._reload()
        else:
            self._stop()


def _is_at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
