"""Servers under measurement: the gateway, bare uvicorn and the floor, each in its own process."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .cores import LOAD, SERVER
from .errors import Failed
from .load import wrk
from .process import Process, python, started, wait_ready

HELLO_WAT = Path(__file__).parents[2] / "samples" / "wat" / "hello.wat"
ROUTE = "/hello"
BODY = b"hello world\n"
_FIRST_RESPONSE_TIMEOUT = 10.0
"""Seconds."""


@dataclass(slots=True)
class Server:
    """A server process, paused except while it is measured."""

    url: str
    process: Process

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Resumes the process for the time of the context."""
        self.process.resume()
        try:
            yield
        finally:
            self.process.pause()

    def rate(
        self,
        seconds: float,
        connections: int = 16,
        *,
        path: str = ROUTE,
        cores: frozenset[int] = LOAD,
        script: Path | None = None,
    ) -> float:
        """Requests per second of wrk."""
        with self.awake():
            return wrk(self.url + path, seconds, connections, cores=cores, script=script).rate


@contextlib.contextmanager
def serving(
    *module: str, cores: frozenset[int] = SERVER, log: Path | None = None, checkout: Path | None = None
) -> Iterator[Server]:
    """Runs a Python module, of this checkout or another one, that serves on a free port and prints a ready line with
    its URL."""
    with started(python(*module, checkout=checkout), cores, log, directory=checkout) as process:
        yield Server(wait_ready(process, module[0], log), process)


@contextlib.contextmanager
def bare(kind: str = "constant", cores: frozenset[int] = SERVER) -> Iterator[Server]:
    """An application of `benchmarks.servers.bare`, paused."""
    with serving("benchmarks.servers.bare", kind, cores=cores) as server:
        server.process.pause()
        yield server


@contextlib.contextmanager
def floor() -> Iterator[Server]:
    """The application of `benchmarks.servers.floor`, paused."""
    with serving("benchmarks.servers.floor") as server:
        server.process.pause()
        yield server


@contextlib.contextmanager
def gateway(
    directory: Path,
    modules: Mapping[str, Path],
    *arguments: str,
    settings: str = "",
    cores: frozenset[int] = SERVER,
    checkout: Path | None = None,
) -> Iterator[Server]:
    """A gateway with one worker, paused. `modules` maps routes to files.

    `settings` are further tables of the `modules.toml`; `directory` must exist and belong to this gateway alone;
    `checkout` is another checkout of this project with its `.venv`.
    """
    config = directory / "modules.toml"
    tables = [f'[[module]]\nroute = "{route}"\nmodule = "{module}"\n' for route, module in modules.items()]
    config.write_text("".join(tables) + '[log]\naccess = false\nlevel = "warning"\n' + settings)
    command, log = serve_command(config), directory / "log"
    with serving(*command, *arguments, cores=cores, log=log, checkout=checkout) as server:
        server.process.pause()
        yield server


def serve_command(config: Path) -> list[str]:
    """The arguments of `python -m` that start the gateway."""
    cache = config.parent / "cache"
    return ["wagi_gateway", "serve", str(config), "--listen", "127.0.0.1:0", "--cache-dir", str(cache)]


def check_hello(url: str) -> None:
    """Raises Failed unless the response's body is BODY."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        url, timeout=_FIRST_RESPONSE_TIMEOUT
    ) as response:
        body = response.read()
    if body != BODY:
        raise Failed(f"{url} answered {body[:100]!r}")
