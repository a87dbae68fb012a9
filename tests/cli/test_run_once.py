"""One request to a site without a server: what is written, and the routes where none answers."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.config import config, guest, module
from wagi_gateway.cli.run_once import Show, run_once, unmatched
from wagi_gateway.cli.run_request import RunRequest
from wagi_gateway.config.file import read_config
from wagi_gateway.site.load import load
from wagi_gateway.site.site import Site

LONG = b"content-type: text/plain\n\n" + b"x" * 300_000
MODULES = {
    "m": guests.HELLO,
    "bad": guests.says(b"not a header\n" + LONG),
    "long": guests.says(LONG),
    "moved": guests.says(b"location: /m\n\n"),
    "trap": guests.TRAP,
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    for name, wat in MODULES.items():
        (tmp_path / f"{name}.wat").write_text(wat)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.txt").write_text("file")
    path = tmp_path / "modules.toml"
    tables = [guest(f"/{name}", name) for name in MODULES]
    path.write_text(
        config(
            *tables, cache={"enabled": False}, static=[{"route": "/s/...", "directory": "s"}], server={"concurrency": 1}
        )
    )
    return load(read_config(path))


def shown(site: Site, path: str, show: Show = "response") -> tuple[int, bytes]:
    output = io.BytesIO()
    status = run_once(site, RunRequest(path=path), output, show)
    return status, output.getvalue()


@pytest.mark.parametrize(
    ("path", "show", "expected"),
    [
        ("/m", "body", (200, b"hello world\n")),
        ("/m", "raw", (200, b"content-type: text/plain\n\nhello world\n")),
        ("/long", "raw", (200, LONG)),
        ("/bad", "raw", (502, b"not a header\n" + LONG)),
        ("/moved", "raw", (200, b"location: /m\n\ncontent-type: text/plain\n\nhello world\n")),
        ("/moved", "body", (200, b"hello world\n")),
        ("/trap", "raw", (500, b"")),
        ("/s/a.txt", "body", (200, b"file")),
        ("/s/a.txt", "raw", (200, b"")),
        ("/healthz", "body", (200, b"OK")),
    ],
)
def test_what_is_written(site: Site, path: str, show: Show, expected: tuple[int, bytes]) -> None:
    assert shown(site, path, show) == expected


def test_the_response_has_its_head(site: Site) -> None:
    status, output = shown(site, "/m")
    assert status == 200
    assert output.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n")
    assert output.endswith(b"\r\n\r\nhello world\n")


def test_the_routes_are_listed_where_none_answers(site: Site) -> None:
    (problem,) = unmatched(site, RunRequest(path="/mooved/x?a"))
    assert str(problem).startswith("--path: no route answers /mooved/x; did you mean /moved? The routes: /moved, ")
    assert all(f"/{name}" in problem.what for name in (*MODULES, "s/..."))
    assert unmatched(site, RunRequest(path="/moved")) == []


def test_the_list_of_routes_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    tables = [module(f"/route{number}", "m.wat") for number in range(30)]
    path.write_text(config(*tables, cache={"enabled": False}))
    site = load(read_config(path))
    (problem,) = unmatched(site, RunRequest(path="/route"))
    site.close()
    assert problem.what.endswith(" and 10 more")


@pytest.mark.parametrize("show", ["response", "body", "raw"])
def test_a_reader_that_leaves_ends_the_guest(site: Site, show: Show, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb", buffering=0) as output:
        assert run_once(site, RunRequest(path="/long"), output, show) == 200
    assert "defect" not in caplog.text
