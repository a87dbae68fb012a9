"""A real server for every test that wants one: `wagi-gateway serve` in a process of its own, on a port of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import hypothesis
import pytest

from tests.support import guests
from tests.support.config import guest
from tests.support.registry import Registry, running_registry

ROOT = Path(__file__).parent.parent
hypothesis.settings.register_profile("bounded by count alone", deadline=None)
hypothesis.settings.load_profile("bounded by count alone")
START = 60.0
"""Seconds a server may take to be ready; a slow machine compiling included."""
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": ""}
"""The environment of a process that cannot write what coverage has measured in it."""
INSTALLATION = 900.0
"""Seconds a test may take that installs compilers, or runs for as long as they take to build something."""


def pytest_configure() -> None:
    """Handles SIGINT where a shell has started the tests in the background: it is ignored there, also by children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives the tests that may have to install compilers the time for it."""
    for item in items:
        if "toolchains" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(INSTALLATION))


@dataclass(slots=True)
class Server:
    """A running `wagi-gateway serve`."""

    process: subprocess.Popen[str]
    url: str
    stdout: list[str]
    """What it has printed so far."""
    log_path: Path
    """Its standard error."""
    client: httpx.Client

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        url = httpx.URL(self.url)
        return url.host, url.port or 80

    def get(self, path: str, **options: object) -> httpx.Response:
        """A GET over a kept connection."""
        return self.client.get(self.url + path, **options)  # type: ignore[arg-type]

    def post(self, path: str, content: bytes, **options: object) -> httpx.Response:
        """A POST over a kept connection."""
        return self.client.post(self.url + path, content=content, **options)  # type: ignore[arg-type]

    def connect(self, timeout: float = 10.0) -> socket.socket:
        """A raw connection, for what a well-behaved client cannot say."""
        return socket.create_connection(self.address, timeout=timeout)

    def exchange(self, request: bytes, timeout: float = 10.0) -> bytes:
        """Everything the server answers to raw bytes until it closes the connection (say `Connection: close`)."""
        with self.connect(timeout) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    @property
    def log(self) -> str:
        """The log so far."""
        return self.log_path.read_text()

    def wait_for_log(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """The first match of a regular expression in the log, once it is there."""
        found: list[re.Match[str]] = []

        def is_there() -> bool:
            found.extend(re.finditer(pattern, self.log))
            return bool(found)

        wait_until(is_there, timeout, lambda: f"{pattern!r} did not appear in the log:\n{self.log}")
        return found[0]

    def memory(self) -> int:
        """Resident memory in bytes, without pages shared with files."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"RssAnon:\s+(\d+) kB", status)
        assert match
        return int(match[1]) * 1024

    def descriptors(self) -> int:
        """How many descriptors are open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def warnings(log: str) -> list[str]:
    """The warnings in a log, but for that of a machine whose control group has less memory than the guests may use."""
    return [line for line in log.splitlines() if " WARNING " in line and "limits.memory: all guests" not in line]


def wait_until(condition: Callable[[], bool], timeout: float = 30.0, message: Callable[[], str] = str) -> None:
    """Returns when `condition` holds; fails with `message` if it does not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, message()
        time.sleep(0.01)


@contextmanager
def running(
    directory: Path,
    config: str | Path,
    *arguments: str,
    cache: Path | None = None,
    environment: dict[str, str] | None = None,
    preexec: Callable[[], None] | None = None,
    listen: str | None = "127.0.0.1:0",
    pass_fds: tuple[int, ...] = (),
    prefix: Sequence[str] = (),
) -> Iterator[Server]:
    """Serves a `modules.toml` with this text, the files it names in `directory`; or one that is there already.

    With a `listen` of None it serves where the file says. `prefix` is a command that becomes the one after it.
    """
    path = config if isinstance(config, Path) else directory / "modules.toml"
    if isinstance(config, str):
        path.write_text(textwrap.dedent(config))
    cache_arguments = ["--cache-dir", str(cache)] if cache else []
    command = [*prefix, sys.executable, "-m", "wagi_gateway", "serve", str(path), *cache_arguments]
    command += ["--listen", listen] if listen else []
    log_path = directory / "log"
    with ExitStack() as stack:
        log = stack.enter_context(log_path.open("w"))
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,  # at a terminal SIGHUP means something else
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | (environment or {}),
            preexec_fn=preexec,
            pass_fds=pass_fds,
        )
        stack.callback(_stop, process)
        lines: list[str] = []
        ready = threading.Event()
        reader = threading.Thread(target=_read, args=(process, lines, ready))
        reader.start()
        assert ready.wait(START), f"not ready in {START} s:\n{log_path.read_text()}"
        assert process.poll() is None, f"exited with {process.returncode}:\n{log_path.read_text()}"
        url = lines[-1].removeprefix("Ready: serving on ")
        client = stack.enter_context(httpx.Client(timeout=60, trust_env=False))
        yield Server(process, url, lines, log_path, client)


def _read(process: subprocess.Popen[str], lines: list[str], ready: threading.Event) -> None:
    assert process.stdout
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("Ready: serving on "):
            ready.set()
    ready.set()


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    finally:
        if process.stdout:
            process.stdout.close()


OTHER_RELEASE = "49.0.0"
"""A wasmtime that the hot path is not written for."""


@pytest.fixture(scope="session")
def other_release(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH with which a process takes its wasmtime for OTHER_RELEASE."""
    directory = tmp_path_factory.mktemp("other-release")
    metadata = directory / f"wasmtime-{OTHER_RELEASE}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: wasmtime\nVersion: {OTHER_RELEASE}\n")
    return os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)


Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of compiled modules for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def serve(tmp_path: Path, cache: Path) -> Iterator[Serve]:
    """`serve(config, *arguments, **guests)`: a server for a modules.toml whose modules are WAT texts by file name."""
    with ExitStack() as stack:

        def start(config: str, *arguments: str, **wat: str) -> Server:
            for name, text in wat.items():
                (tmp_path / f"{name}.wat").write_text(text)
            return stack.enter_context(running(tmp_path, config, *arguments, cache=cache))

        yield start


@pytest.fixture(scope="module")
def hello_server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """A server with nothing but the hello guest at /hello/...; shared by the tests of a file."""
    directory = tmp_path_factory.mktemp("hello")
    (directory / "hello.wat").write_text(guests.HELLO)
    with running(directory, guest("/hello/...", "hello"), cache=cache) as server:
        yield server


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A plain registry, shared by the tests of a file."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with TLS and a password, shared by the tests of a file."""
    with running_registry(tmp_path_factory.mktemp("private"), tls=True, password=True) as running:
        yield running
