"""What signals mean that servers give different meanings."""

from __future__ import annotations

import signal
import sys

WORDS_OF_OTHERS = (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2)
"""More workers, fewer, open the logs again, take the new program: nothing here. The system would halt or end it."""


def ignore(*numbers: signal.Signals) -> None:
    """Has them do nothing in this process, nor in those that it starts."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


class Terminal:
    """Where the server was started, if that is a terminal: SIGHUP then also says that it was closed."""

    def __init__(self) -> None:
        self.was_there = _is_there()

    @property
    def is_gone(self) -> bool:
        """Whether it was closed since; if not, SIGHUP asks for a reload."""
        return self.was_there and not _is_there()


def _is_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
