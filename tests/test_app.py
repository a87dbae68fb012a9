"""The application under servers and parsers other than those of `serve`."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from tests.conftest import wait_until
from tests.support import guests
from tests.support.config import config, module
from wagi_gateway.app import create_app
from wagi_gateway.config.file import ConfigFile, read_config
from wagi_gateway.errors import StartupError
from wagi_gateway.site.load import load
from wagi_gateway.site.site import Site

CONFIG = config(module("/hello", "hello.wat"), cache={"directory": "cache"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    path.write_text(CONFIG)
    return path


def get(app: Starlette, *paths: str, is_up: bool = True) -> list[httpx.Response]:
    """The responses of an application, within its lifespan or before."""

    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with AsyncExitStack() as stack:
            if is_up:
                await stack.enter_async_context(app.router.lifespan_context(app))
            client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://h"))
            return [await client.get(path) for path in paths]

    return asyncio.run(main())


@pytest.mark.parametrize("of", [str, Path, read_config, lambda path: load(read_config(path))])
def test_what_an_application_is_made_of(path: Path, of: Callable[[Path], str | Path | ConfigFile | Site]) -> None:
    ready, hello = get(create_app(of(path)), "/readyz", "/hello")
    assert (ready.status_code, hello.text) == (200, "hello world\n")


def test_before_the_lifespan_it_is_not_ready(path: Path) -> None:
    health, ready, hello = get(create_app(path), "/healthz", "/readyz", "/hello", is_up=False)
    assert (health.text, ready.status_code, hello.status_code) == ("OK", 503, 503)


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
