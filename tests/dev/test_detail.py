"""Recordings as documents: complete, and without secrets."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.recordings import head, recording
from wagi_gateway.dev.detail import detail, end_of, summary
from wagi_gateway.dev.recording import Recording
from wagi_gateway.outbound.client import Call
from wagi_gateway.sandbox.invocation import Outcome

SECRET = "abcdefgh"


def document(one: Recording, previous: Recording | None = None, base: Path = Path(), **options: bool) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(detail(one, previous, base, **options)))
    return found


@pytest.fixture
def secretive() -> Recording:
    one = recording(
        head(target=b"/x?token=" + SECRET.encode(), fields=[(b"cookie", b"a=" + SECRET.encode())]),
        body=SECRET.encode(),
        stdout=b"content-type: a/b\nset-cookie: b=" + SECRET.encode() + b"\n\n" + SECRET.encode(),
        stderr=SECRET.encode(),
        environment={"API_TOKEN": SECRET},
    )
    one.environ = {b"HTTP_COOKIE": b"a=" + SECRET.encode(), b"API_TOKEN": SECRET.encode(), b"X": b"1"}
    one.argv = [b"/x", b"token=" + SECRET.encode()]
    one.headers = ((b"set-cookie", b"b=" + SECRET.encode()),)
    one.error = f"502: {SECRET}"
    one.add_call(Call("GET", "http://h:80", "denied", None, SECRET, 0.1, 0, 0, 0))
    return one


def test_no_secret_is_in_a_document(secretive: Recording) -> None:
    text = json.dumps(document(secretive)) + json.dumps(summary(secretive))
    streams = [document(secretive)[name]["base64"] for name in ("stdin", "stdout", "stderr")]
    assert SECRET not in text + "".join(base64.b64decode(stream).decode() for stream in streams)


@pytest.mark.parametrize("reveal", [False, True])
def test_places_are_those_of_the_masked_output(secretive: Recording, reveal: bool) -> None:
    secretive.stdout.feed(b"\n<body>")
    shown = document(secretive, reveal=reveal)
    output, parsed = base64.b64decode(shown["stdout"]["base64"]), shown["parsed"]
    assert output[: parsed["body"]].endswith(b"\n\n")
    assert [output[line["offset"] :].partition(b":")[0] for line in parsed["lines"]] == [b"content-type", b"set-cookie"]


def test_secrets_are_shown_on_demand(secretive: Recording) -> None:
    shown = document(secretive, reveal=True)
    assert SECRET in json.dumps(shown["request"])
    assert shown["is_revealed"]


def test_the_environment_is_compared(secretive: Recording) -> None:
    before = recording()
    before.environ = {b"X": b"0", b"API_TOKEN": SECRET.encode()}
    shown = {one["name"]: one for one in document(secretive, before)["environ"]}
    assert [name for name, one in shown.items() if one["is_changed"]] == ["HTTP_COOKIE", "X"]
    assert {name: one["kind"] for name, one in shown.items()} == {
        "API_TOKEN": "operator",
        "HTTP_COOKIE": "field",
        "X": "cgi",
    }


@pytest.mark.parametrize(
    ("outcome", "stop_reason", "error", "end"),
    [
        (Outcome("exit", 3), None, "", "exit 3"),
        (Outcome("trap", message="integer divide by zero"), None, "", "trap: integer divide by zero"),
        (Outcome("stopped"), "time", "", "limits.time"),
        (Outcome("stopped"), "descriptors", "", "descriptors"),
        (None, None, "404: no route matches", "404: no route matches"),
        (None, None, "", "files"),
    ],
)
def test_the_end(outcome: Outcome | None, stop_reason: str | None, error: str, end: str) -> None:
    one = recording(outcome=outcome)
    one.stop_reason, one.error = stop_reason, error
    assert end_of(one) == end


def test_a_request_that_runs() -> None:
    one = recording(outcome=None)
    one.is_over = False
    assert (end_of(one), summary(one)["seconds"]) == ("runs", None)


def test_a_row_is_short() -> None:
    row = summary(recording(head(target=b"/" + b"x" * 8000 + b"?" + b"y" * 8000)))
    assert len(json.dumps(row)) < 4000
    assert str(row["path"]).endswith("…")


def test_a_request_without_route() -> None:
    one = recording(outcome=None)
    one.config = None
    shown = document(one)
    assert (shown["parsed"], shown["memory"]["limit"], shown["argv"]["template"]) == (None, 0, None)
