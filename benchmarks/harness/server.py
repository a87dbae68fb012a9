"""Servers under measurement: the gateway, bare uvicorn and the floor, each in its own process."""

from __future__ import annotations

import contextlib
import math
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .cores import LOAD, SERVER
from .errors import Failed
from .load import wrk
from .process import Process, python, started, wait_ready
from .sample import Sample, Work

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
    others: tuple[Process, ...] = ()
    """Processes that work for it and are never paused."""
    is_accounted: bool = True
    """Whether the kernel accounts all of its work to it: not if it starts programs and does not wait for their end."""
    body: bytes = BODY
    """What it answers to a request of ROUTE."""

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Resumes the process for the time of the context."""
        self.process.resume()
        try:
            yield
        finally:
            self.process.pause()

    def meter(self, work: Callable[[], Work]) -> Sample:
        """Does some work with this server alone, and accounts the processor time of its processes to it."""
        with self.awake():
            before = self._processor_seconds()
            done = work()
            seconds = self._processor_seconds() - before if self.is_accounted else math.nan
            return Sample(done.rate, seconds / done.count * 1e6)

    def _processor_seconds(self) -> float:
        return sum(process.processor_seconds() for process in (self.process, *self.others))

    def load(
        self,
        seconds: float,
        connections: int = 16,
        *,
        path: str = ROUTE,
        cores: frozenset[int] = LOAD,
        script: Path | None = None,
        fields: Sequence[str] = (),
    ) -> Sample:
        """Loads the server with wrk."""
        url = self.url + path
        return self.meter(lambda: wrk(url, seconds, connections, cores=cores, script=script, fields=fields))


@contextlib.contextmanager
def serving(
    *module: str, cores: frozenset[int] = SERVER, log: Path | None = None, checkout: Path | None = None
) -> Iterator[Server]:
    """Runs a Python module, of this checkout or another one, that serves on a free port and prints a ready line with
    its URL."""
    with started(python(*module, checkout=checkout), cores, log, directory=checkout) as process:
        yield Server(wait_ready(process, module[0], log), process)


@contextlib.contextmanager
def bare(kind: str = "constant", *arguments: str, cores: frozenset[int] = SERVER) -> Iterator[Server]:
    """An application of `benchmarks.servers.bare`, paused."""
    with serving("benchmarks.servers.bare", kind, *arguments, cores=cores) as server:
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
    access: bool = False,
    cores: frozenset[int] = SERVER,
    checkout: Path | None = None,
) -> Iterator[Server]:
    """A gateway with one worker, paused. `modules` maps routes to files.

    `settings` are further tables of the `modules.toml`, and `access` is whether there is an access log; `directory`
    must exist and belong to this gateway alone; `checkout` is another checkout of this project with its `.venv`.
    """
    config = directory / "modules.toml"
    tables = [f'[[module]]\nroute = "{route}"\nmodule = "{module}"\n' for route, module in modules.items()]
    log_table = "[log]\naccess = true\n" if access else '[log]\naccess = false\nlevel = "warning"\n'
    config.write_text("".join(tables) + log_table + settings)
    command, log = serve_command(config), directory / "log"
    with serving(*command, *arguments, cores=cores, log=log, checkout=checkout) as server:
        server.process.pause()
        yield server


def serve_command(config: Path) -> list[str]:
    """The arguments of `python -m` that start the gateway."""
    cache = config.parent / "cache"
    return ["wagi_gateway", "serve", str(config), "--listen", "127.0.0.1:0", "--cache-dir", str(cache)]


def check_hello(url: str, expected: bytes = BODY) -> None:
    """Raises Failed unless the response's body is the expected one."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        url, timeout=_FIRST_RESPONSE_TIMEOUT
    ) as response:
        body = response.read()
    if body != expected:
        raise Failed(f"{url} answered {body[:100]!r}")
