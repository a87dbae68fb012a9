"""The log line of each outbound call."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, wait_until
from tests.support.admin import ADMIN, scrape
from tests.support.config import config, module
from tests.support.farm import Target
from tests.system.foreign.conftest import toolchains
from tests.system.outbound.conftest import Lab, caller, lab
from wagi_gateway.observe.access_log import log_call
from wagi_gateway.outbound.client import Call

__all__ = ["caller", "lab", "toolchains"]

ANSWERED = Call("GET", "http://a.test", "answered", 200, "", 0.0123456, 3, 4, 0)


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway with a log in JSON, and the server of its outbound calls."""

    gateway: Server
    target: Target

    def call(self, *lines: str | bytes, path: str = "/caller") -> list[dict[str, Any]]:
        """The log's lines about the calls of one request."""
        body = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
        request_id = self.gateway.post(path, body).headers["x-request-id"]
        records: list[dict[str, Any]] = []

        def is_logged() -> bool:
            records[:] = [json.loads(line) for line in self.gateway.log.splitlines()]
            return any(is_of(record, "wagi_gateway.access") for record in records)

        def is_of(record: dict[str, Any], logger: str) -> bool:
            return (record["logger"], record.get("id")) == (logger, request_id)

        wait_until(is_logged)
        return [record for record in records if is_of(record, "wagi_gateway.calls")]


@pytest.fixture(scope="module")
def site(lab: Lab, caller: Path) -> Site:
    target = lab.target()
    calling = module(
        "/caller",
        caller,
        allowed_hosts=[target.url, "http://127.0.0.1:1"],
        http_max_concurrency=2,
        limits={"http_time": "300ms", "http_request": "1KiB"},
    )
    text = ADMIN + config(calling, module("/unlisted", caller), log={"format": "json"})
    return Site(lab.serve(text), target)


def test_an_answered_call(site: Site) -> None:
    (line,) = site.call("body hello", f"req POST {site.target.url}/echo?secret", "read 3", "close")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert 0 < line.pop("ms") < 5000
    assert re.fullmatch("[0-9a-f]+", line.pop("id"))
    assert line == {
        "level": "info",
        "logger": "wagi_gateway.calls",
        "message": f"call POST {site.target.url}",
        "outcome": "answered",
        "status": 200,
        "route": "/caller",
        "sent": 5,
        "received": 5,
    }


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(["req GET {}/status/503"], {"outcome": "answered", "status": 503}, id="status"),
        pytest.param(
            ["req GET {}/redirect?to=/redirect?to=/hello"],
            {"outcome": "answered", "status": 200, "redirects": 2},
            id="redirects",
        ),
        pytest.param(
            ["req GET {}/big?size=200000&chunked", "drain 9999"],
            {"outcome": "answered", "received": 200000},
            id="read-to-its-end",
        ),
        pytest.param(["req GET {}/hello"], {"outcome": "answered", "received": 22}, id="left-open"),
        pytest.param(
            ["req GET http://127.0.0.1:2/hello"],
            {"outcome": "denied", "reason": "http://127.0.0.1:2 is not in allowed_hosts"},
            id="denied",
        ),
        pytest.param(
            ["req GET {}/redirect?to=http://denied.test/hello"],
            {
                "outcome": "denied",
                "message": "call GET http://denied.test",
                "reason": "http://denied.test is not in allowed_hosts",
                "redirects": 1,
            },
            id="denied-at-a-redirect",
        ),
        pytest.param(
            ["req GET http://127.0.0.1:1/hello"],
            {"outcome": "failed", "reason": "127.0.0.1: Connection refused"},
            id="refused",
        ),
        pytest.param(
            ["req GET {}/slow?seconds=9"],
            {"outcome": "timeout", "reason": "not done within limits.http_time (0.3 s)"},
            id="timeout",
        ),
        pytest.param(
            ["req GET {}/drip", "drain 9999"],
            {"outcome": "timeout", "status": 200, "reason": "not done within limits.http_time (0.3 s)"},
            id="timeout-in-the-body",
        ),
        pytest.param(["req G(T {}/hello"], {"outcome": "refused"}, id="method"),
        pytest.param(["header x", "req GET {}/hello"], {"outcome": "refused"}, id="header"),
        pytest.param(["fill 1025", "req GET {}/hello"], {"outcome": "failed"}, id="too-large"),
        pytest.param(["req GET nonsense"], {"outcome": "refused", "message": "call GET -"}, id="url"),
    ],
)
def test_outcomes(site: Site, lines: list[str], expected: dict[str, Any]) -> None:
    (line,) = site.call(*(line.format(site.target.url) for line in lines))
    assert line | expected == line
    assert line["level"] == ("info" if expected["outcome"] == "answered" else "warning")
    assert ("reason" in line) == (expected["outcome"] != "answered")


def test_every_call_has_its_line(site: Site) -> None:
    req = f"req GET {site.target.url}/hello"
    lines = site.call(req, req, req, "use 0", "close", "close", "req GET http://denied.test/", req)
    assert sorted(line["outcome"] for line in lines) == ["answered", "answered", "answered", "denied", "refused"]
    assert {line["message"] for line in lines if line["outcome"] == "refused"} <= {"call GET -"}


def test_a_module_without_allowed_hosts(site: Site) -> None:
    (line,) = site.call(f"req GET {site.target.url}/hello", path="/unlisted")
    assert (line["outcome"], line["route"], line["level"]) == ("denied", "/unlisted", "warning")


SECRETS = [
    "req GET http://user:s3cret@127.0.0.1:2/s3cret?s3cret#s3cret",
    "req GET http://user:s3cret@127.0.0.1:99999/s3cret?s3cret",
    "req GET //user:s3cret@host/s3cret",
    "req GET s3cret",
    "req GET {}/s3cret?s3cret",
    "req GET {}/redirect?to=http://user:s3cret@denied.test/s3cret?s3cret",
    "req GET {}/redirect?to=http://user:s3cret@denied.test:99999/s3cret?s3cret",
    "req GET {}/redirect?to=/redirect?to=http://user:s3cret@127.0.0.1:1/s3cret?s3cret",
    "header authorization:s3cret\x01\nreq GET {}/hello",
    "header authorization s3cret\nreq GET {}/hello",
    "header cookie:s3cret\nbody s3cret\nreq POST {}/slow?seconds=9",
]


@pytest.mark.parametrize("text", SECRETS)
def test_no_secret_of_a_guest_is_logged(site: Site, text: str) -> None:
    (line,) = site.call(*text.format(site.target.url).split("\n"))
    assert "s3cret" not in json.dumps(line)


@pytest.mark.parametrize(
    "line",
    [
        "req G\x1b[2JT {}/hello",
        "req GET http://a\x1b[2J.test/",
        "req GET http://a\u202e.test/",
        "header x\x1b[2J:1\nreq GET {}/hello",
        "req GET {}/redirect?to=http://%1b[2J/",
    ],
)
def test_nothing_a_terminal_would_obey(site: Site, line: str) -> None:
    assert len(site.call(*line.format(site.target.url).split("\n"))) == 1
    assert all(character.isprintable() or character == "\n" for character in site.gateway.log)


@pytest.mark.parametrize(
    ("call", "level", "fields"),
    [
        pytest.param(
            ANSWERED,
            logging.INFO,
            {"outcome": "answered", "status": 200, "route": "/r", "sent": 3, "received": 4, "ms": 12.346, "id": "1"},
            id="answered",
        ),
        pytest.param(
            Call("GET", "http://a.test", "denied", None, "because", 1.0, 0, 0, 2),
            logging.WARNING,
            {"outcome": "denied", "route": "/r", "sent": 0, "received": 0, "ms": 1e3, "redirects": 2, "id": "1"}
            | {"reason": "because"},
            id="denied",
        ),
    ],
)
def test_fields(call: Call, level: int, fields: dict[str, object]) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.addFilter(lambda record: bool(records.append(record)))  # type: ignore[func-returns-value]
    logger = logging.getLogger("wagi_gateway.calls")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        log_call("/r", "1", call)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    (record,) = records
    assert (record.levelno, record.getMessage()) == (level, "call GET http://a.test")
    assert record.__dict__["fields"] == fields


def test_calls_are_counted(site: Site) -> None:
    def counts() -> Counter[str]:
        labelled = ((name, dict(labels), value) for (name, labels), value in scrape(site.gateway).items())
        return Counter(
            {
                labels.get("outcome") or labels["limit"]: int(value)
                for name, labels, value in labelled
                if name in ("wagi_outbound_calls_total", "wagi_limit_hits_total") and labels["route"] == "/caller"
            }
        )

    before = counts()
    url = site.target.url
    site.call(f"req GET {url}/hello", f"req GET {url}/hello", f"req GET {url}/hello")
    site.call("req GET http://denied.test/")
    site.call("req GET http://127.0.0.1:1/hello")
    site.call("fill 1025", f"req GET {url}/hello")
    site.call("header x", f"req GET {url}/hello")
    site.call(f"req GET {url}/slow?seconds=9")
    expected = Counter(answered=2, denied=1, failed=2, refused=2, timeout=1)
    expected += Counter(http_max_concurrency=1, http_request=1, http_time=1)
    wait_until(lambda: counts() - before == expected, message=lambda: str(counts() - before))
