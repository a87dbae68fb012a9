"""The application under other servers and parsers than the ones `serve` chooses."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from tests import guests
from tests.conftest import wait_until
from wagi_gateway.app import create_app
from wagi_gateway.config import read_config
from wagi_gateway.errors import StartupError

CONFIG = '[cache]\ndirectory = "cache"\n[[module]]\nroute = "/hello"\nmodule = "hello.wat"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("kind", ["path", "text", "file"])
def test_lifespan(path: Path, kind: str) -> None:
    app = create_app({"path": path, "text": str(path), "file": read_config(path)}[kind])
    with TestClient(app) as client:
        assert client.get("/readyz").status_code == 200
        assert client.get("/hello").text == "hello world\n"


def test_before_the_lifespan_it_is_not_ready(path: Path) -> None:
    client = TestClient(create_app(path))
    assert client.get("/healthz").text == "OK"
    assert client.get("/readyz").status_code == 503
    assert client.get("/hello").status_code == 503


def test_problems_are_raised(path: Path) -> None:
    path.write_text(CONFIG + "modul = 1\n")
    with pytest.raises(StartupError, match="did you mean module"):
        create_app(path)


@pytest.fixture(params=["h11", "httptools"])
def plain_uvicorn(request: pytest.FixtureRequest, path: Path) -> Iterator[str]:
    """uvicorn as its users start it, on asyncio's own loop; the URL it serves."""
    (path.parent / "site_app.py").write_text(
        f"from wagi_gateway.app import create_app\napp = create_app({str(path)!r})\n"
    )
    command = [sys.executable, "-m", "uvicorn", "site_app:app", "--port", "0", "--loop", "asyncio"]
    log_path = path.with_name("log")
    with log_path.open("w") as log:
        process = subprocess.Popen([*command, "--http", request.param], cwd=path.parent, stderr=log)
    try:
        wait_until(lambda: "running on" in log_path.read_text(), 20, log_path.read_text)
        match = re.search(r"http://[\d.]+:\d+", log_path.read_text())
        assert match
        yield match[0]
    finally:
        process.terminate()
        process.wait(20)


def test_any_parser_and_loop(plain_uvicorn: str) -> None:
    for _ in range(20):
        assert httpx.get(plain_uvicorn + "/hello", trust_env=False).text == "hello world\n"
    assert httpx.post(plain_uvicorn + "/hello", content=b"x" * 100_000, trust_env=False).status_code == 200
