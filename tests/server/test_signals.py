"""SIGHUP and the ignored signals."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from wagi_gateway.server.signals import IGNORED_SIGNALS, HangupHandler


class _Calls:
    """Callbacks of a HangupHandler, which record their calls."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.was_called = threading.Event()

    def __call__(self, name: str) -> None:
        self.names.append(name)
        self.was_called.set()

    def handler(self) -> HangupHandler:
        return HangupHandler(lambda: self("stop"), lambda: self("reload"))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pseudo-terminal as standard input; yields its other end."""
    monkeypatch.setattr("wagi_gateway.server.signals._HANGUP_DELAY", 0.0)
    outer, inner = pty.openpty()
    with os.fdopen(inner) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield outer


def test_without_a_terminal_it_reloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    calls = _Calls()
    handler = calls.handler()
    handler()
    handler()
    assert calls.names == ["reload", "reload"]


def test_at_a_terminal_it_reloads(terminal: int) -> None:
    calls = _Calls()
    calls.handler()()
    assert calls.was_called.wait(10)
    assert calls.names == ["reload"]
    os.close(terminal)


def test_it_stops_when_the_terminal_has_closed(terminal: int) -> None:
    calls = _Calls()
    handler = calls.handler()
    os.close(terminal)
    handler()
    assert calls.was_called.wait(10)
    assert calls.names == ["stop"]


@pytest.mark.parametrize("number", [*IGNORED_SIGNALS, signal.SIGHUP], ids=lambda number: number.name)
def test_a_server_that_starts_ignores(number: signal.Signals) -> None:
    code = (
        "import os, sys; from wagi_gateway.server.signals import ignore_signals; ignore_signals();"
        " os.kill(os.getpid(), int(sys.argv[1])); print('alive')"
    )
    command = [sys.executable, "-c", code, str(int(number))]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "alive\n")
