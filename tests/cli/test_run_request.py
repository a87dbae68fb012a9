"""The request of a command line, as an ASGI scope."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from wagi_gateway.cli.run_request import RunRequest, read_data, read_json
from wagi_gateway.errors import StartupError

HOST = (b"host", b"localhost")
FORM = (b"content-type", b"application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [HOST]}),
        ({"path": "a"}, {"path": "/a", "raw_path": b"/a"}),
        ({"path": "/\udcff", "query": "\udcff"}, {"raw_path": b"/%FF", "query_string": b"%FF"}),
        ({"path": "/é b"}, {"path": "/é b", "raw_path": b"/%C3%A9%20b"}),
        ({"path": "/a%20b%3F"}, {"raw_path": b"/a%20b%3F", "query_string": b""}),
        ({"path": "/a?b=c?d"}, {"path": "/a", "raw_path": b"/a", "query_string": b"b=c?d"}),
        ({"path": "?b"}, {"path": "/", "query_string": b"b"}),
        ({"path": "/a?", "query": "b"}, {"path": "/a", "query_string": b"b"}),
        ({"path": "/a?b=1", "query": "c=2"}, {"query_string": b"b=1&c=2"}),
        ({"query": "a=b c&d#"}, {"query_string": b"a=b%20c&d%23"}),
        ({"headers": ("X-A:  b ",)}, {"headers": [HOST, (b"x-a", b"b")]}),
        ({"headers": ("Host: h",)}, {"headers": [(b"host", b"h")]}),
        ({"data": b"abc"}, {"method": "POST", "headers": [HOST, FORM, (b"content-length", b"3")]}),
        ({"data": b""}, {"method": "POST", "headers": [HOST, FORM]}),
        ({"data": b"abc", "headers": ("Content-Type:",)}, {"headers": [HOST, (b"content-length", b"3")]}),
        ({"data": b"abc", "method": "PUT"}, {"method": "PUT"}),
        (
            {"data": b"{}", "is_json": True, "headers": ("Accept: a/b",)},
            {
                "method": "POST",
                "headers": [
                    HOST,
                    (b"accept", b"a/b"),
                    (b"content-type", b"application/json"),
                    (b"content-length", b"2"),
                ],
            },
        ),
        (
            {"data": b"a", "headers": ("content-type: text/plain", "Content-Length: 1")},
            {"headers": [HOST, (b"content-type", b"text/plain"), (b"content-length", b"1")]},
        ),
    ],
)
def test_the_scope_of_a_request(fields: dict[str, Any], expected: dict[str, object]) -> None:
    scope = RunRequest(**fields).scope()
    assert {name: scope[name] for name in expected} == expected


def test_the_scope_behind_tls() -> None:
    scope = RunRequest().scope(scheme="https")
    assert (scope["scheme"], scope["server"]) == ("https", ("localhost", 443))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"method": "G T"}, '--method: "G T": write a method such as GET'),
        ({"method": ""}, '--method: "": write a method such as GET'),
        ({"headers": ("a: b", "Authorization x")}, '--header (number 2): write "Name: value"'),
        ({"headers": ("a b: c",)}, '--header (number 1): write "Name: value"'),
    ],
)
def test_an_invalid_request(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(StartupError) as error:
        RunRequest(**fields).scope()
    assert str(error.value) == problem


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (None, None),
        ([], None),
        (["a=1"], b"a=1"),
        (["a=1", "b=2"], b"a=1&b=2"),
        (["@file"], b"x\r\n\0y"),
        (["-"], b"stdin"),
        (["@-", "a"], b"stdin&a"),
        (["\udcff"], b"\xff"),
    ],
)
def test_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: list[str] | None, body: bytes | None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"stdin")))
    Path("file").write_bytes(b"x\r\n\0y")
    assert read_data(data) == body


def test_data_without_a_meaning_of_its_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"stdin")))
    assert read_data(None, ["@file", "-"]) == b"@file&-"
    assert read_data(["-"], ["@x"]) == b"stdin&@x"


def test_json_is_put_together() -> None:
    assert (read_json(None), read_json(["{", "}"])) == (None, b"{}")


def test_data_that_cannot_be_read() -> None:
    with pytest.raises(StartupError, match="--data: /nothere cannot be read: No such file"):
        read_data(["@/nothere"])
