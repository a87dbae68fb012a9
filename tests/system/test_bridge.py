"""A server with a handler of wasi:http: what clients and the log see of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, running
from tests.support.config import module
from tests.support.handlers import bridged


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    site = tmp_path_factory.mktemp("site")
    (site / "app-cgi.wasm").write_bytes(bridged())
    (site / "modules.toml").write_text(
        module("/app/...", "app-cgi.wasm", limits={"time": "30s"})
        + module("/brief/...", "app-cgi.wasm", limits={"time": "1s"})
    )
    with running(site, site / "modules.toml", cache=cache) as started:
        yield started


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_response_has_its_status_fields_and_body(server: Server, method: str) -> None:
    response = server.client.request(method, f"{server.url}/app/early")
    assert (response.status_code, response.headers["content-type"]) == (201, "text/x-own")
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.text == ("before the head" if method == "GET" else "")


def test_a_request_is_the_clients(server: Server) -> None:
    response = server.client.request("PURGE", f"{server.url}/app/x%2Fy/request?a=%20", headers={"x-own": "1"})
    first, *fields = response.text.splitlines()
    authority = server.url.partition("//")[2]
    assert first == f'Method::Other("PURGE") Some(Scheme::Http) Some("{authority}") Some("/app/x%2Fy/request?a=%20")'
    assert {"x-own: 1", f"host: {authority}"} <= set(fields)


@pytest.mark.parametrize("size", [0, 5_000_000])
def test_a_body_of_any_size_is_echoed(server: Server, size: int) -> None:
    assert server.client.post(f"{server.url}/app/echo", content=b"x" * size).content == b"x" * size


def test_a_large_body_is_whole(server: Server) -> None:
    assert server.get("/app/large").content == b"".join(bytes([number]) * 2**18 for number in range(64))


def test_a_response_is_streamed(server: Server) -> None:
    with server.client.stream("GET", f"{server.url}/app/nap") as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first\n"
        assert b"".join(pieces) == b"second\n"


@pytest.mark.parametrize(
    ("path", "status", "log"),
    [
        ("app/unset", 500, "it did not call response-outparam.set"),
        ("app/error", 500, "the handler answered with an error: "),
        ("app/trap", 500, "the handler panics"),
        ("brief/sleep", 504, "limits.time"),
        ("app/outgoing", 200, "an outgoing request to 127.0.0.1:9 was denied"),
        ("app/log", 200, "to standard output"),
    ],
)
def test_the_log_has_what_went_wrong(server: Server, path: str, status: int, log: str) -> None:
    assert server.get(f"/{path}").status_code == status
    server.wait_for_log(log)
