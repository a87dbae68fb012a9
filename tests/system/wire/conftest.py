"""The sites of these tests: one server for each parser, with the routes of every collected test file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import START, Server, running, wait_until
from tests.support.config import module

from ...support.env_guest import ENV

ENVIRONMENT = {"SECRET": "1", "HTTP_PROXY": "http://p.example:1", "WAGI_TEST": "2"}
"""The server's own environment, which no guest may see."""


@dataclass(frozen=True, slots=True)
class Route:
    """One `[[module]]` of a site: its route, its guest in WAT, further lines of its table."""

    path: str
    wat: str = ENV
    options: str = ""


COMMON = (Route("/e/..."), Route("/x"), Route("/next"))

_APP = """
import logging
from pathlib import Path

from wagi_gateway.app import create_app
from wagi_gateway.config.file import read_config
from wagi_gateway.observe import log

file = read_config(Path("modules.toml"))
log.configure(file.config.log)
logging.getLogger("uvicorn").setLevel("INFO")  # it says where it serves
app = create_app(file)
"""


def write_site(directory: Path, routes: tuple[Route, ...], settings: str, cache: Path) -> str:
    """Writes the guests of a site into a directory and returns its `modules.toml`."""
    tables = [textwrap.dedent(settings), f'[cache]\ndirectory = "{cache}"']
    names: dict[str, str] = {}
    for route in routes:
        name = names.setdefault(route.wat, f"guest{len(names)}.wat")
        tables.append(module(route.path, name, route.options))
    for wat, name in names.items():
        (directory / name).write_text(wat)
    return "\n".join(tables)


@contextmanager
def serving(parser: str, directory: Path, config: str) -> Iterator[Server]:
    """Serves with `wagi-gateway serve` (httptools) or as an application of a bare uvicorn (h11)."""
    if parser == "httptools":
        with running(directory, config, environment=ENVIRONMENT) as server:
            yield server
        return
    (directory / "modules.toml").write_text(config)
    (directory / "wire_app.py").write_text(_APP)
    command = [sys.executable, "-m", "uvicorn", "wire_app:app", "--http", parser, "--port", "0"]
    log_path = directory / "log"
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": os.getcwd()}
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [*command, "--no-proxy-headers", "--no-access-log"], cwd=directory, stderr=log, env=environment, text=True
        )
    try:
        wait_until(
            lambda: process.poll() is not None or "running on" in log_path.read_text(), START, log_path.read_text
        )
        match = re.search(r"http://[\d.]+:\d+", log_path.read_text())
        assert match, log_path.read_text()
        with httpx.Client(timeout=30, trust_env=False) as client:
            yield Server(process, match[0], [], log_path, client)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


@pytest.fixture(scope="session", params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> str:
    """The HTTP parser under the gateway."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def site(
    parser: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> Iterator[Server]:
    """A site without trusted proxies: ENV at /e/... and /x, and the `ROUTES` of every test file."""
    collected = (item.module for item in request.session.items if isinstance(item, pytest.Function))
    modules = {module: None for module in collected if module.__name__.startswith(__package__)}
    routes = {route.path: route for route in COMMON}
    for route in (route for name in modules for route in getattr(name, "ROUTES", ())):
        assert routes.setdefault(route.path, route) == route, f"{route.path} is there twice"
    directory = tmp_path_factory.mktemp(f"site-{parser}")
    config = write_site(directory, tuple(routes.values()), '[server]\nhostname = "default.example:8080"', cache)
    with serving(parser, directory, config) as server:
        yield server


@pytest.fixture(scope="session")
def trusting(parser: str, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """A site with the peer and 10/8 as trusted proxies, and ENV at /... alone (the spec's "config 2")."""
    directory = tmp_path_factory.mktemp(f"trusting-{parser}")
    settings = '[server]\ntrusted_proxies = ["127.0.0.1", "10.0.0.0/8"]'
    with serving(parser, directory, write_site(directory, (Route("/..."),), settings, cache)) as server:
        yield server
