"""Log lines: one for each record, parseable, and without control characters."""

from __future__ import annotations

import json
import logging
import re

import pytest

from tests.support.access import TRACE_ID, access
from wagi_gateway.observe.access import Access
from wagi_gateway.observe.log_format import JsonFormatter, TextFormatter
from wagi_gateway.observe.log_record import ACCESS, GUEST

NOW = 1764547200.25
HOSTILE = access(
    target=b'/\x85\x9b31m"\\?id=forged&status=200',
    headers=(
        (b"host", b"user:s3cr3t@h\x9b"),
        (b"user-agent", b'" status=200 \x1b[31m\xe2\x80\xae\\' + b"a" * 2000),
    ),
    reason='no "route" in \x1b[0m=1 id=forged',
    client="fe80::1%\x1b\u202e",
)


def record(message: str, name: str = "wagi_gateway", **fields: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.INFO, "", 0, message, (), None)
    made.fields = fields
    return made


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


@pytest.mark.parametrize("before", [*";|:/.-+*&?#!%>]})~`@^$\\", "a=", "ü ", "\u200b", "\r", "\x00", "\x1b[0m"])
def test_no_field_is_forged_by_a_guest_after_any_character(before: str) -> None:
    line = TextFormatter().format(record(f"x{before}route=/admin{before}id=forged", GUEST, route="/x", id="r1"))
    assert re.findall(r"\b(route|id)=(\S+)", line) == [("route", "/x"), ("id", "r1")]


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


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_a_record_of_another_library_may_have_attributes_of_the_same_names(
    formatter: TextFormatter | JsonFormatter,
) -> None:
    foreign = logging.LogRecord("asyncio", logging.INFO, "", 0, "hello", (), None)
    foreign.access = foreign.fields = "denied"
    assert "hello" in formatter.format(foreign)


def test_the_text_of_a_request() -> None:
    assert TextFormatter().access_line(access(), NOW) == (
        "2025-12-01T00:00:00.250Z INFO    GET /a/b?c=1 status=200 route=/a/... bytes=5 ms=5.526 guest_ms=1.506"
        " client=192.0.2.7 id=r1"
    )
    long = access(guest_seconds=None, trace_id=TRACE_ID, reason="no route matches", has_query=False)
    assert TextFormatter().access_line(long, NOW) == (
        "2025-12-01T00:00:00.250Z INFO    GET /a/b status=200 route=/a/... bytes=5 ms=5.526"
        f' client=192.0.2.7 id=r1 trace_id={TRACE_ID} reason="no route matches"'
    )


def test_the_json_of_a_request() -> None:
    assert JsonFormatter().access_line(access(), NOW) == (
        '{"time": "2025-12-01T00:00:00.250Z", "level": "info", "logger": "wagi_gateway.access",'
        ' "message": "GET /a/b?c=1", "method": "GET", "path": "/a/b", "host": "h:1", "user_agent": "curl",'
        ' "status": 200, "route": "/a/...", "bytes": 5, "ms": 5.526, "guest_ms": 1.506, "client": "192.0.2.7",'
        ' "id": "r1"}'
    )
    bare = access(
        headers=(), has_query=True, client=None, guest_seconds=None, trace_id=TRACE_ID, reason="no route matches"
    )
    assert JsonFormatter().access_line(bare, NOW) == (
        '{"time": "2025-12-01T00:00:00.250Z", "level": "info", "logger": "wagi_gateway.access",'
        ' "message": "GET /a/b?c=1", "method": "GET", "path": "/a/b",'
        ' "status": 200, "route": "/a/...", "bytes": 5, "ms": 5.526, "client": "-",'
        f' "id": "r1", "trace_id": "{TRACE_ID}", "reason": "no route matches"}}'
    )


@pytest.mark.parametrize(
    "one", [access(), access(guest_seconds=None, trace_id=TRACE_ID, reason="x y"), HOSTILE], ids=str
)
def test_a_request_has_the_line_that_its_record_has(one: Access) -> None:
    """With the fields of the record a formatter makes the line of any other record."""
    plain = record(f"GET {one.target}", ACCESS, **one.fields())
    plain.created = NOW
    assert TextFormatter().access_line(one, NOW) == TextFormatter().format(plain)
    line = JsonFormatter().access_line(one, NOW)
    assert json.dumps(json.loads(line), ensure_ascii=False) == line
    assert json.loads(line).items() >= json.loads(JsonFormatter().format(plain)).items()
    plain.access = one
    assert JsonFormatter().format(plain) == line


def test_no_field_of_a_request_is_forged_and_no_control_character_is_left() -> None:
    text = TextFormatter().access_line(HOSTILE, NOW)
    assert text.isprintable()
    assert re.findall(r"(?:^| )(\w+)=", text) == [
        "status",
        "route",
        "bytes",
        "ms",
        "guest_ms",
        "client",
        "id",
        "reason",
    ]
    line = JsonFormatter().access_line(HOSTILE, NOW)
    assert line.isprintable()
    fields = json.loads(line)
    assert (fields["host"], fields["path"]) == (r"@h\x9b", '/\\x85\\x9b31m"\\')
    assert len(fields["user_agent"]) < 1100


def test_a_target_is_cut_off() -> None:
    long = access(target=b"/" + b"a" * 4000)
    assert len(TextFormatter().access_line(long, NOW)) < 1300
    assert len(json.loads(JsonFormatter().access_line(long, NOW))["path"]) == 1024
