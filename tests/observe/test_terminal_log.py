"""The log on a terminal: short lines, the order of a request's lines, colours, and no control character of a guest."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import logging
import os
import pty
import re
import sys
import time
from typing import TextIO

import pytest

from wagi_gateway.errors import RefusedOutput
from wagi_gateway.observe import terminal_log
from wagi_gateway.observe.diagnosis import NO_NAMES, Diagnosis
from wagi_gateway.observe.log_record import ACCESS, GUEST
from wagi_gateway.observe.terminal_log import TerminalHandler
from wagi_gateway.sandbox.backtrace import Frame

GATEWAY = "wagi_gateway"
NOON = 12 * 3600
SGR = re.compile(r"\x1b\[\d+m")


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local time is UTC."""
    monkeypatch.setattr(time, "localtime", time.gmtime)


def record(message: str, name: str = GATEWAY, level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord(name, level, "", 0, message, (), None)
    made.created = NOON
    made.fields = fields
    return made


def access(target: str = "/hello", status: int = 200, request_id: str = "r1", **fields: object) -> logging.LogRecord:
    given = {"status": status, "route": "/hello", "bytes": 18, "ms": 1.42, "client": "::1", "id": request_id, **fields}
    return record(f"GET {target}", ACCESS, logging.INFO, **given)


def stderr(text: str, request_id: str = "r1") -> logging.LogRecord:
    return record(text, GUEST, route="/hello", id=request_id)


def warning(text: str, request_id: str = "r1") -> logging.LogRecord:
    return record(text, GATEWAY, logging.WARNING, route="/hello", id=request_id)


def logged(*records: logging.LogRecord, has_access: bool = True, encoding: str = "utf-8") -> list[str]:
    """The lines on a stream that is no terminal, which is 80 columns wide and has no colours."""

    async def main() -> list[str]:  # the event loop of a server
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding)
        handler = TerminalHandler(stream, has_access=has_access)
        for one in records:
            handler.handle(one)
        handler.close()
        return raw.getvalue().decode(encoding).splitlines()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "12:00:00 GET /hello 200 1.4 ms 18 B  #r1"),
        ({"ms": 999.94, "bytes": 1023}, "12:00:00 GET /hello 200 999.9 ms 1023 B  #r1"),
        ({"ms": 1000, "bytes": 1024}, "12:00:00 GET /hello 200 1.0 s 1.0 KiB  #r1"),
        ({"bytes": 5 * 2**20}, "12:00:00 GET /hello 200 1.4 ms 5.0 MiB  #r1"),
        ({"bytes": 3 * 2**30, "guest_ms": 1, "trace_id": "t"}, "12:00:00 GET /hello 200 1.4 ms 3.0 GiB  #r1"),
        ({"status": 404, "reason": "no route"}, "12:00:00 GET /hello 404 1.4 ms 18 B  #r1  no route"),
        ({"target": "/a?b=c d\x1b[2J\u202e"}, r"12:00:00 GET /a?b=c d\x1b[2J\u202e 200 1.4 ms 18 B  #r1"),
        ({"target": "/" + "x" * 200}, f"12:00:00 GET /{'x' * 44}… 200 1.4 ms 18 B  #r1"),
        ({"target": "/" + "漢" * 200}, f"12:00:00 GET /{'漢' * 22}… 200 1.4 ms 18 B  #r1"),
    ],
    ids="usual|KiB soon|a second|MiB|GiB|reason|escaped|long|wide".split("|"),
)
def test_a_request_is_one_line(fields: dict[str, object], line: str) -> None:
    assert logged(access(**fields)) == [line]  # type: ignore[arg-type]


def test_a_reason_that_does_not_fit_is_below() -> None:
    reason = "the request body has 20000000 bytes, more than limits.body (16777216)"
    assert logged(access(status=413, reason=reason)) == ["12:00:00 GET /hello 413 1.4 ms 18 B  #r1", f"  {reason}"]


def test_what_belongs_to_a_request_is_below_its_line() -> None:
    records = [
        stderr("one"),
        stderr("of another", "r2"),
        record("a warning", GATEWAY, logging.WARNING),
        stderr("two"),
        warning("500: trap: unreachable"),
        record("call GET https://h", GATEWAY, outcome="answered", status=200, route="/hello", id="r1"),
        access(status=500),
        access(request_id="r2"),
        access(request_id="r3"),
    ]
    assert logged(*records) == [
        "12:00:00 warning: a warning",
        "12:00:00 GET /hello 500 1.4 ms 18 B  #r1",
        "│ one",
        "│ two",
        "  warning: 500: trap: unreachable",
        "  call GET https://h outcome=answered status=200",
        "12:00:00 GET /hello 200 1.4 ms 18 B  #r2",
        "│ of another",
        "12:00:00 GET /hello 200 1.4 ms 18 B  #r3",
    ]


def diagnosed(record: logging.LogRecord, *frames: Frame, output: RefusedOutput | None = None) -> logging.LogRecord:
    record.diagnosis = Diagnosis(frames, output)
    return record


def test_refused_output_is_shown_at_level_debug_alone() -> None:
    output = RefusedOutput(b"x-a: b\nh\xc3\xa9\x1b[2J\n" + b"y" * 90, 10)
    failure = diagnosed(warning("502: the line has no colon"), output=output)
    shown = diagnosed(record("the output", GATEWAY, logging.DEBUG, route="/hello", id="r1"), output=output)
    assert logged(failure, access(status=502))[1:] == ["  warning: 502: the line has no colon"]
    assert logged(failure, shown, access(status=502))[1:] == [
        "  warning: 502: the line has no colon",
        "  the output, which is no response from byte 10 on:",
        "  | x-a: b",
        r"  | hé\x1b[2J",
        "  |   ^",
        f"  | {'y' * 76}",
        f"  {'y' * 14}",
    ]


@pytest.mark.parametrize(("name", "more"), [("<wasm function 3>", [NO_NAMES]), ("walk", [])])
def test_a_module_without_names_is_named_as_such(name: str, more: list[str]) -> None:
    rows = logged(diagnosed(warning("500: trap: unreachable"), Frame(name)), access(status=500))
    assert rows[1] == "  warning: 500: trap: unreachable"
    assert " ".join(" ".join(rows[2:]).split()) == "".join(more)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("\tgo.go:12", ["│     go.go:12"]),
        ("a\tb", ["│ a   b"]),
        ("", ["│ "]),
        ("\x1b[31mred\x07\x9b0m", [r"│ \x1b[31mred\x07\x9b0m"]),
        ("a\rb\nc\u2028", [r"│ a\rb\nc\u2028"]),
        ("\u202edne", [r"│ \u202edne"]),
        ("x" * 78, [f"│ {'x' * 78}"]),
        ("x" * 79, [f"│ {'x' * 78}", "│ x"]),
        ("漢" * 40, [f"│ {'漢' * 39}", "│ 漢"]),
        ("  warning: 500: forged", ["│   warning: 500: forged"]),
    ],
    ids=ascii,
)
def test_standard_error_is_escaped_and_folded_behind_its_bar(text: str, lines: list[str]) -> None:
    assert logged(stderr(text), access())[1:] == lines


def test_a_message_is_wrapped_between_words() -> None:
    text = f"502: the line {'word ' * 15}https://example.com/{'x' * 90} has no colon\nat main"
    rows = logged(record(text, GATEWAY, logging.ERROR))
    assert rows[0] == f"12:00:00 error: 502: the line {'word ' * 9}word"
    assert all(row.startswith(" " * 9) for row in rows[1:])
    assert " ".join(" ".join(rows).split()[2:]) == " ".join(text.split())
    assert rows[-1] == f"{' ' * 9}at main"
    assert {len(row) for row in rows if "https" not in row} <= set(range(81))


def test_a_traceback_has_a_line_for_each_of_its_lines() -> None:
    one = record("failed", GATEWAY, logging.ERROR)
    try:
        raise ValueError("a\x1b[2J")
    except ValueError:
        one.exc_info = sys.exc_info()
    rows = logged(one)
    assert rows[:2] == ["12:00:00 error: failed", "         Traceback (most recent call last):"]
    assert rows[-1] == r"         ValueError: a\x1b[2J"


@pytest.mark.usefixtures("clock")
def test_without_an_access_log_the_lines_of_a_request_have_a_line_with_its_route() -> None:
    records = stderr("one"), stderr("two"), stderr("of another", "r2"), warning("late")
    assert logged(*records, has_access=False) == [
        "12:00:01 /hello  #r1",
        "│ one",
        "│ two",
        "12:00:01 /hello  #r2",
        "│ of another",
        "12:00:01 /hello  #r1",
        "  warning: late",
    ]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a line that no record has."""
    monkeypatch.setattr(time, "time", lambda: NOON + 1.0)


class _Stream(io.StringIO):
    """A stream whose reader can wait for the next write."""

    _has_more: asyncio.Event | None = None

    def write(self, text: str) -> int:
        if self._has_more:
            self._has_more.set()
        return super().write(text)

    async def next(self) -> None:
        self._has_more = asyncio.Event()
        async with asyncio.timeout(30):
            await self._has_more.wait()


@pytest.mark.usefixtures("clock")
def test_a_request_that_runs_long_shows_its_lines_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_log, "_HOLD", 0.01)
    written = _Stream()

    async def main() -> None:
        handler = TerminalHandler(written, has_access=True)
        handler.handle(stderr("one"))
        handler.handle(stderr("two"))
        assert written.getvalue() == ""
        await written.next()
        handler.handle(stderr("three"))
        await written.next()
        handler.handle(stderr("four"))
        handler.handle(access())

    asyncio.run(main())
    assert written.getvalue().splitlines() == [
        "12:00:01 /hello (running)  #r1",
        "│ one",
        "│ two",
        "│ three",
        "12:00:00 GET /hello 200 1.4 ms 18 B  #r1",
        "│ four",
    ]


@pytest.mark.usefixtures("clock")
def test_much_output_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_log, "_MAX_HELD", 100)
    lines = logged(*[stderr("x" * 40) for _ in range(10)], access())
    assert lines[0] == "12:00:01 /hello  #r1"
    assert lines.index("12:00:00 GET /hello 200 1.4 ms 18 B  #r1") == 10
    assert len(lines) == 12


@pytest.mark.usefixtures("clock")
def test_a_thread_without_an_event_loop_holds_nothing() -> None:
    written = io.StringIO()
    TerminalHandler(written, has_access=True).handle(warning("late"))
    assert written.getvalue() == "12:00:01 /hello  #r1\n  warning: late\n"


def test_an_encoding_without_the_characters_gets_others() -> None:
    lines = logged(stderr("a"), access("/" + "x" * 200), encoding="ascii")
    assert lines == [f"12:00:00 GET /{'x' * 44}~ 200 1.4 ms 18 B  #r1", "| a"]


class _Full(io.StringIO):
    """A stream to a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, text)


def test_a_stream_that_is_full_loses_lines_and_raises_nothing() -> None:
    TerminalHandler(_Full(), has_access=True).handle(access())


def test_a_record_that_cannot_be_formatted_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)  # as in a server
    TerminalHandler(io.StringIO(), has_access=True).handle(record("GET /", ACCESS, id="r1"))
    assert capsys.readouterr().err == ""


class _Terminal:
    """A pseudoterminal, and what was written to it."""

    def __init__(self) -> None:
        self._controller, terminal = pty.openpty()
        self.stream: TextIO = open(terminal, "w", encoding="utf-8")  # noqa: SIM115

    def read(self) -> str:
        self.stream.close()
        data = b""
        with contextlib.suppress(OSError):  # the end, on Linux
            while piece := os.read(self._controller, 65536):
                data += piece
        os.close(self._controller)
        return data.decode()


@pytest.mark.parametrize(
    ("environment", "status", "color"),
    [
        ({}, 200, "32"),
        ({}, 304, "36"),
        ({}, 404, "33"),
        ({}, 500, "31"),
        ({"NO_COLOR": ""}, 500, "31"),
        ({"NO_COLOR": "1"}, 500, None),
        ({"TERM": "dumb"}, 500, None),
    ],
    ids=str,
)
def test_colours(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], status: int, color: str | None) -> None:
    for name, value in {"TERM": "xterm", "NO_COLOR": "", **environment}.items():
        monkeypatch.setenv(name, value)
    terminal = _Terminal()
    handler = TerminalHandler(terminal.stream, has_access=True)
    handler.handle(access(status=status))
    handler.handle(record("a warning", GATEWAY, logging.WARNING))
    text = terminal.read()
    assert (f"\x1b[{color}m{status}\x1b[0m" in text) == (color is not None)
    assert ("\x1b[33m12:00:00 warning: a warning\x1b[0m" in text) == (color is not None)
    plain = [f"12:00:00 GET /hello {status} 1.4 ms 18 B  #r1", "12:00:00 warning: a warning"]
    assert SGR.sub("", text).splitlines() == plain
