"""A server on a terminal: the start with links, and a log for eyes; the same server elsewhere logs for machines."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve, wait_until
from tests.support import guests
from tests.support.config import config, guest
from tests.support.error_body import error_body

SAYS = guests.says(guests.CONTENT_TYPE + b"hello\n", stderr=b"\tat main \x1b[2J\n" + b"x" * 100 + b"\n")
GUESTS = {"says": SAYS, "trap": guests.TRAP}
ROUTES = guest("/a b/...", "says"), guest("/trap", "trap")
COLUMNS = 80


class Terminal:
    """What a process has written to a pseudoterminal of 80 columns."""

    def __init__(self, controller: int) -> None:
        self._controller = controller
        self._written = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while data := os.read(self._controller, 65536):
                self._written += data
        except OSError:  # the process has ended
            pass

    @property
    def lines(self) -> list[str]:
        return self._written.decode().splitlines()

    def wait_for(self, pattern: str) -> re.Match[str]:
        wait_until(lambda: bool(re.search(pattern, "\n".join(self.lines))), 60, lambda: "\n".join(self.lines))
        found = re.search(pattern, "\n".join(self.lines))
        assert found
        return found


@contextmanager
def on_a_terminal(
    directory: Path, *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], Terminal]]:
    """Serves `directory` with standard output and error on a terminal."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    command = [
        sys.executable,
        "-m",
        "wagi_gateway",
        "serve",
        str(directory / "modules.toml"),
        "--listen",
        "127.0.0.1:0",
    ]
    given = os.environ | {"TERM": "xterm", "NO_COLOR": "", "PYTHONIOENCODING": "utf-8"} | environment
    process = subprocess.Popen(
        [*command, *arguments], stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, env=given
    )
    os.close(terminal)
    try:
        yield process, Terminal(controller)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)
        os.close(controller)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, wat in GUESTS.items():
        (tmp_path / f"{name}.wat").write_text(wat)
    (tmp_path / "modules.toml").write_text(config(*ROUTES, cache={"enabled": False}))
    return tmp_path


def test_a_server_on_a_terminal(directory: Path) -> None:
    with on_a_terminal(directory) as (process, terminal):
        url = terminal.wait_for(r"Ready: serving on (http://\S+) \(Ctrl-C stops\)")[1]
        link = f"{url}/a%20b"
        assert f"{link} (and below) -> says.wat (_start)" in terminal.lines
        shown = httpx.get(f"{link}/{'long/' * 20}", trust_env=False)
        traps = httpx.get(f"{url}/trap", trust_env=False)
        terminal.wait_for(r"  .*unreachable")
        begin = terminal.lines.index(terminal.wait_for(r"\S+ GET /a%20b/.*")[0])
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        lines = terminal.lines[begin:]
    plain = [re.sub(r"\x1b\[\d*m", "", line) for line in lines]
    first = rf"\d\d:\d\d:\d\d GET /a%20b/[long/]+… 200 \d+\.\d ms 6 B  #{shown.headers['x-request-id']}"
    assert re.fullmatch(first, plain[0])
    assert plain[1:4] == [r"│     at main \x1b[2J", f"│ {'x' * 78}", f"│ {'x' * 22}"]
    assert re.fullmatch(rf"\S+ GET /trap 500 .* #{traps.headers['x-request-id']}", plain[4])
    assert plain[5].startswith("  warning: 500: trap: ")
    assert max(map(len, plain)) <= COLUMNS
    assert "\x1b[32m200\x1b[0m" in lines[0]
    assert "\x1b[31m500\x1b[0m" in lines[4]
    assert traps.text == error_body("Internal Server Error: the module failed", traps.headers["x-request-id"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--log-format", "text"], r"\S+Z INFO +GET /trap status=500 route=/trap .*"),
        (["--log-format", "json"], r'\{"time": .*"message": "GET /trap".*"status": 500.*\}'),
    ],
    ids=["text", "json"],
)
def test_a_format_that_is_named_is_that_of_any_other_stream(directory: Path, arguments: list[str], line: str) -> None:
    with on_a_terminal(directory, *arguments) as (_, terminal):
        url = terminal.wait_for(r"Ready: serving on (http://[^\s\"]+)")[1]
        httpx.get(f"{url}/trap", trust_env=False)
        assert "\x1b" not in terminal.wait_for(line)[0]


def test_a_file_gets_lines_for_machines_unless_others_are_wanted(serve: Serve) -> None:
    text = config(*ROUTES)
    plain = serve(text, **GUESTS)
    plain.get("/trap")
    plain.wait_for_log(r"(?m)^\S+Z WARNING 500: trap: .* route=/trap id=\w+\n\S+Z INFO +GET /trap status=500 ")
    assert plain.stdout[-1] == f"Ready: serving on {plain.url}"
    terminal = serve(text, "--log-format", "terminal", **GUESTS)
    terminal.get("/trap")
    terminal.wait_for_log(r"(?m)^\d\d:\d\d:\d\d GET /trap 500 .*  #\w+\n  warning: 500: trap: ")
    assert "\x1b" not in terminal.log


def test_a_server_that_logs_warnings_alone_keeps_what_guests_say(serve: Serve) -> None:
    server = serve(config(*ROUTES, log={"level": "warning"}), **GUESTS)
    request_id = server.get("/a%20b").headers["x-request-id"]
    server.wait_for_log(rf'INFO +guest: \\tat main \\x1b\[2J route="/a b/..." id={request_id}')
    server.get("/trap")
    server.wait_for_log("WARNING 500: trap: ")
    assert " GET " not in server.log
