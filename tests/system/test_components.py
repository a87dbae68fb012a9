"""A server with components: what a client, the log and the metrics see of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, running
from tests.support import guests
from tests.support.attacks import together
from tests.support.cli import gateway
from tests.support.component_guests import PROBE
from tests.support.components import component
from tests.support.config import module

SECOND = 10**9
LATE = component(guests.sleeps(SECOND, guests.CONTENT_TYPE + b"first\n", b"last\n"))
BIG = component(guests.says(guests.CONTENT_TYPE + b"x" * 300_000))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    (directory / "data").mkdir()
    (directory / "data" / "a.txt").write_text("a")
    (directory / "late.wat").write_text(LATE)
    (directory / "big.wat").write_text(BIG)
    config = module("/probe/...", PROBE, limits={"files": 8}, volumes={"/data": "data"})
    config += module("/late", "late.wat") + module("/big", "big.wat", limits={"concurrency": 100})
    (directory / "modules.toml").write_text(config)
    return directory


@pytest.fixture(scope="module")
def server(site: Path, cache: Path) -> Iterator[Server]:
    with running(site, site / "modules.toml", cache=cache) as started:
        yield started


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/probe", "hello\n"),
        ("/probe/a%C3%A4?arguments", '["/probe/a%C3%A4", "arguments"]\n'),
        ("/probe?list", '["a.txt"]\n'),
        ("/probe?open", "8\n"),
        ("/probe?reopen", "1000\n"),
        ("/probe?sockets", "Err(PermissionDenied)\n" * 4),
    ],
)
def test_a_component_answers(server: Server, path: str, body: str) -> None:
    assert server.get(path).text == body


def test_a_component_has_the_variables_and_the_body_of_its_request(server: Server) -> None:
    lines = server.get("/probe/x?variables", headers={"x-own": "1"}).text.splitlines()
    assert {"PATH_INFO=/x", "HTTP_X_OWN=1", "REQUEST_METHOD=GET"} <= set(lines)
    for body in (b"small", b"x" * 2_000_000):
        response = server.client.post(f"{server.url}/probe?read", content=body)
        assert response.content == body


def test_the_first_byte_comes_while_the_guest_runs(server: Server) -> None:
    with server.client.stream("GET", f"{server.url}/late") as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first\n"
        assert "route=/late" not in server.log
        assert b"".join(pieces) == b"last\n"
    server.wait_for_log(r"GET /late status=200")


def test_many_requests_at_once_are_whole(server: Server) -> None:
    bodies = together(100, lambda _: server.get("/big").text)
    assert {len(body) for body in bodies} == {300_000}


def test_standard_error_and_a_panic_are_logged(server: Server) -> None:
    server.get("/probe?stderr")
    server.wait_for_log(r"a line for the log route=/probe/\.\.\. ")
    with suppress(httpx.RemoteProtocolError):  # the header block may be sent before the panic
        server.get("/probe?panic")
    server.wait_for_log(
        r"WARNING .*trap: wasm `unreachable` instruction executed.*; the response was cut off|500: trap"
    )


def test_commands_take_components(site: Path) -> None:
    for arguments, what in (
        (("check", "modules.toml"), b"ok"),
        (("run", str(PROBE)), b"hello"),
        (("inspect", str(PROBE)), b"wasi:cli/run@0.2.0"),
        (("doctor",), b"is stripped"),
    ):
        assert what in gateway(*arguments, cwd=site).stdout
    assert b"not provided" not in gateway("inspect", str(PROBE), cwd=site).stdout
