"""Log lines: one for each record, parseable, and without control characters."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("name", [GUEST, "wagi_gateway", "uvicorn.error"], ids=["guest", "gateway", "uvicorn"])
@pytest.mark.parametrize(
    "message",
    [
        "x route=/admin id=forged",
        "route=/admin id=forged",
        'x" route=/admin id=forged y="',
        "x\\ route=/admin\tid=forged",
        "x\nroute=/admin id=forged",
        "x\u00a0route=/admin\u3000id=forged",
        "502: the line b'route=/admin id=forged' has no colon",
        "(route=/admin,id=forged)",
        "x route=/admin id=forged " * 100,
    ],
)
def test_no_field_of_a_text_line_is_forged(message: str, name: str) -> None:
    line = TextFormatter().format(record(message, name, route="/x", id="r1"))
    assert re.findall(r"\b(route|id)=(\S+)", line) == [("route", "/x"), ("id", "r1")]
    assert line.endswith(" route=/x id=r1")


@pytest.mark.parametrize("value", ["a route=/admin", 'a" route=/admin id="', "route=/admin"])
def test_no_field_of_a_text_line_is_forged_in_a_value(value: str) -> None:
    line = TextFormatter().format(record("x", reason=value, route="/x"))
    assert re.findall(r"\broute=(\S+)", line) == ["/x"]


@pytest.mark.parametrize("text", ["GET /a?b=1&c=2", "a == b", "a = b", "=", "http://h/?q=1"])
def test_what_is_no_field_stays_as_it_is(text: str) -> None:
    assert f" {text} route=/x" in TextFormatter().format(record(text, route="/x"))


def test_json_of_a_guest_has_its_text_unchanged() -> None:
    line = json.loads(JsonFormatter().format(record("x route=/admin id=forged", GUEST, route="/x", id="r1")))
    assert (line["message"], line["route"], line["id"]) == ("x route=/admin id=forged", "/x", "r1")


def test_json() -> None:
    line = json.loads(JsonFormatter().format(record("hello\n", route="/x", bytes=3)))
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "logger": "wagi_gateway", "message": r"hello\n", "route": "/x", "bytes": 3}


def test_the_fields_that_no_line_has_are_disabled_in_a_configured_process_alone() -> None:
    code = (
        "import logging; from wagi_gateway.config.settings import LogConfig; from wagi_gateway.observe import log\n"
        "before = logging._srcfile; log.configure(LogConfig()); print(before is not None, logging._srcfile)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "True None\n"
