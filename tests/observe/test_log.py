"""Log lines: one a record, parseable, and harmless to a terminal."""

from __future__ import annotations

import json
import logging

import pytest

from wagi_gateway.observe.guest_log import GuestLog
from wagi_gateway.observe.log import GUEST, JsonFormatter, TextFormatter, escape


def record(message: str, name: str = "wagi_gateway", **fields: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.INFO, "", 0, message, (), None)
    made.fields = fields
    return made


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain é 漢", "plain é 漢"),
        ("a\nb\rc", r"a\nb\rc"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\u202eabc", r"\u202eabc"),
        ("\u2028", r"\u2028"),
        ("\x00", r"\x00"),
    ],
)
def test_escape(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_text() -> None:
    line = TextFormatter().format(record("hello\n", route="/x", id="r\x1b"))
    assert line.endswith(r"Z INFO    hello\n route=/x id=r\x1b")


def test_text_of_a_guest() -> None:
    assert "INFO    guest: hello route=/x" in TextFormatter().format(record("hello", GUEST, route="/x"))


def test_json() -> None:
    line = json.loads(JsonFormatter().format(record("hello\n", route="/x", bytes=3)))
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "logger": "wagi_gateway", "message": r"hello\n", "route": "/x", "bytes": 3}


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a", b"b\n"], ["ab"]),
        ([b"a\r\n"], ["a"]),
        ([b"no end"], ["no end"]),
        ([b"\xff\n"], [r"\xff"]),
        ([b"\n"], [""]),
        ([b"x" * 9000 + b"\n"], ["x" * 8192, "x" * 808]),
        ([b"x" * 5000, b"x" * 5000], ["x" * 8192, "x" * 1808]),
    ],
)
def test_guest_lines(caplog: pytest.LogCaptureFixture, pieces: list[bytes], lines: list[str]) -> None:
    logging.getLogger("wagi_gateway").propagate = True
    caplog.set_level(logging.INFO, GUEST)
    log = GuestLog("/x", "r1")
    for piece in pieces:
        log.feed(piece)
    log.close()
    assert [made.getMessage() for made in caplog.records] == lines


def test_dropped_bytes_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("wagi_gateway").propagate = True
    GuestLog("/x", "r1").close(dropped=17)
    assert "17 more bytes" in caplog.text
