"""A guest's standard error as log records."""

from __future__ import annotations

import logging

import pytest

from wagi_gateway.observe.guest_log import GuestLog
from wagi_gateway.observe.log_record import GUEST

pytestmark = pytest.mark.usefixtures("propagating_loggers")


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
        (["é".encode() * 5000 + b"\n"], ["é" * 4096, "é" * 904]),
        ([b"x" + "é".encode() * 5000 + b"\n"], ["x" + "é" * 4095, "é" * 905]),
        ([b"x" * 8190 + "😀\n".encode()], ["x" * 8190, "😀"]),
        ([b"\xbf" * 8200 + b"\n"], ["\\xbf" * 8189, "\\xbf" * 11]),
    ],
)
def test_guest_lines(caplog: pytest.LogCaptureFixture, pieces: list[bytes], lines: list[str]) -> None:
    caplog.set_level(logging.INFO, GUEST)
    log = GuestLog("/x", "r1")
    for piece in pieces:
        log.feed(piece)
    log.close()
    assert [made.getMessage() for made in caplog.records] == lines


@pytest.mark.parametrize(
    ("dropped", "text"),
    [(1, "1 more byte of standard error was dropped"), (17, "17 more bytes of standard error were")],
)
def test_dropped_bytes_are_counted(caplog: pytest.LogCaptureFixture, dropped: int, text: str) -> None:
    GuestLog("/x", "r1").close(dropped=dropped)
    assert text in caplog.text
