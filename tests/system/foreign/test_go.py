"""A Go program on the standard library's net/http/cgi."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, running
from tests.system.foreign.toolchains import SAMPLES, Toolchains


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory, toolchains: Toolchains, cache: Path) -> Iterator[Server]:
    toolchains()
    directory = tmp_path_factory.mktemp("go")
    with running(directory, SAMPLES / "go/modules.toml", cache=cache) as server:
        yield server


@pytest.mark.parametrize(
    ("target", "path", "query", "name"),
    [
        ("/go/", "/go/", "", ""),
        ("/go/a/b?x=1&name=gopher", "/go/a/b", "x=1&name=gopher", "gopher"),
        ("/go/a%20b?name=a%20b+c", "/go/a b", "name=a%20b+c", "a b c"),
        ("/go/100%25", "/go/100%", "", ""),
        ("/go/%E2%9C%93?name=%C3%A9", "/go/✓", "name=%C3%A9", "é"),
        ("/go/a+b;c=d", "/go/a+b;c=d", "", ""),
        ("/go/a%3Fb%23c", "/go/a?b#c", "", ""),
    ],
    ids="root path-and-query blank percent utf-8 reserved question-mark".split(),
)
def test_go_sees_path_and_query(go: Server, target: str, path: str, query: str, name: str) -> None:
    response = go.get(target)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert response.text == f"path:  {path}\nquery: {query}\nname:  {name}\n"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("application/x-www-form-urlencoded", b"a=1&b=%20", id="form"),
        pytest.param("application/octet-stream", b"", id="nothing"),
        pytest.param("application/octet-stream", random.Random(1).randbytes(2**20), id="1MiB"),
    ],
)
def test_go_echoes_a_body(go: Server, content_type: str, body: bytes) -> None:
    response = go.post("/go/echo", body, headers={"content-type": content_type})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/octet-stream")
    assert response.content == body


@pytest.mark.parametrize(
    ("method", "target", "status", "header"),
    [
        pytest.param("PUT", "/go/x", 405, ("allow", "GET, HEAD, POST"), id="no-such-method"),
        pytest.param("GET", "/go", 307, ("location", "/go/"), id="redirect"),
        pytest.param("GET", "/go/a//b?c", 307, ("location", "/go/a/b?c"), id="clean-path"),
    ],
)
def test_go_chooses_status_and_headers(
    go: Server, method: str, target: str, status: int, header: tuple[str, str]
) -> None:
    response = go.client.request(method, go.url + target)
    name, value = header
    assert (response.status_code, response.headers[name]) == (status, value)


def test_go_answers_head_without_a_body(go: Server) -> None:
    host = go.url.removeprefix("http://")
    answer = go.exchange(f"HEAD /go/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    head, end, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: text/plain; charset=utf-8" in head.lower()
    assert (end, body) == (b"\r\n\r\n", b"")
