"""Fixtures: `wagi-gateway serve` in a process and on a port of its own, and registries."""

from __future__ import annotations

import compileall
import importlib
import logging
import os
import pkgutil
import re
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import httpx
import hypothesis
import pytest

import wagi_gateway
from tests.support import guests
from tests.support.config import guest
from tests.support.measurement import PROCESSES, is_measured, without_coverage, without_coverage_of_processes
from tests.support.registry import Registry, running_registry

ROOT = Path(__file__).parent.parent
hypothesis.settings.register_profile("bounded by count alone", deadline=None)
hypothesis.settings.load_profile("bounded by count alone")
START = 60.0
"""Seconds until a server is ready, at most, with compilation on a slow machine."""
READY = re.compile(r'Ready: serving on ([^\s"]+)')
"""The server's line, or record, with its URL."""
_CERTIFICATES = ssl.create_default_context()
"""The system's certificates, read once: that takes longer than a request."""
INSTALLATION = 900.0
"""The timeout in seconds of a test that installs compilers or builds with them."""


def pytest_configure(config: pytest.Config) -> None:
    """Resets SIGINT, which a shell ignores for background processes and their children, and compiles the package.

    With PYTHONDONTWRITEBYTECODE each of a thousand servers would compile it again, which is a third of a start.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):  # the processes of xdist start later
        compileall.compile_dir(ROOT / "wagi_gateway", quiet=2)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Imports the package with coverage, and collects the tests without: half of the time goes to pytest's own code."""
    for module in pkgutil.walk_packages(wagi_gateway.__path__, "wagi_gateway."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    with without_coverage():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sets a longer timeout for tests that may install compilers."""
    for item in items:
        if "toolchains" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(INSTALLATION))


@pytest.fixture(autouse=True, scope="module")
def unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs tests, and the servers they start, without coverage where other tests cover the same."""
    module = request.module.__name__
    if module in PROCESSES:
        yield
    else:
        with without_coverage_of_processes() if is_measured(module) else without_coverage():
            yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Runs random examples without coverage, which would differ from run to run, and would double their time."""
    is_random = getattr(getattr(item, "function", None), "is_hypothesis_test", False)
    with without_coverage() if is_random else nullcontext():
        return (yield)


@dataclass(slots=True)
class Server:
    """A running `wagi-gateway serve`."""

    process: subprocess.Popen[str]
    url: str
    stdout: list[str]
    """The lines of standard output so far."""
    log_path: Path
    """The file of standard error."""
    client: httpx.Client

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        url = httpx.URL(self.url)
        return url.host, url.port or 80

    def get(self, path: str, **options: object) -> httpx.Response:
        """A GET over a persistent connection of the main thread, or a new connection of any other one."""
        return self._request("GET", path, **options)

    def post(self, path: str, content: bytes, **options: object) -> httpx.Response:
        """A POST, over a connection as for `get`."""
        return self._request("POST", path, content=content, **options)

    def _request(self, method: str, path: str, **options: object) -> httpx.Response:
        if threading.current_thread() is threading.main_thread():
            return self.client.request(method, self.url + path, **options)  # type: ignore[arg-type]
        with _client() as client:  # httpcore closes idle connections that another thread is about to use
            return client.request(method, self.url + path, **options)  # type: ignore[arg-type]

    def connect(self, timeout: float = 10.0) -> socket.socket:
        """A raw connection, for requests that no well-behaved client sends."""
        return socket.create_connection(self.address, timeout=timeout)

    def exchange(self, request: bytes, timeout: float = 10.0) -> bytes:
        """Sends raw bytes; returns all bytes until the server closes the connection (as after `Connection: close`)."""
        with self.connect(timeout) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    @property
    def log(self) -> str:
        """The log so far, up to its last complete line: the server may be writing the next."""
        return "".join(line for line in self.log_path.read_text().splitlines(keepends=True) if line.endswith("\n"))

    def wait_for_log(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """Waits until a regular expression matches in the log; returns the first match."""
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
        """The number of open descriptors."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def warnings(log: str) -> list[str]:
    """The warnings in a log, without the warning about a control group with less memory than the guests may use."""
    return [line for line in log.splitlines() if " WARNING " in line and "limits.memory: all guests" not in line]


def wait_until(
    condition: Callable[[], bool], timeout: float = 30.0, message: Callable[[], str] = str, interval: float = 0.01
) -> None:
    """Returns when `condition` holds, which is checked each `interval`; fails with `message` after the timeout."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, message()
        time.sleep(interval)


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
    """Serves a `modules.toml` with this text in `directory`, which has the files of the modules; or an existing one.

    With a `listen` of None the file's own `server.listen` counts. `prefix` is a command that executes its arguments.
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
            stdin=subprocess.DEVNULL,  # with a terminal SIGHUP stops the server
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | (environment or {}),
            preexec_fn=preexec,
            pass_fds=pass_fds,
        )
        stack.callback(_stop, process)
        lines: list[str] = []
        reader = threading.Thread(target=_read, args=(process, lines))
        reader.start()

        def find_ready() -> list[str]:  # in the log, if that is JSON
            return READY.findall("\n".join(lines)) or READY.findall(log_path.read_text())

        def has_begun() -> bool:
            return bool(find_ready()) or process.poll() is not None

        wait_until(has_begun, START, lambda: f"not ready in {START} s:\n{log_path.read_text()}")
        assert process.poll() is None, f"exited with {process.returncode}:\n{log_path.read_text()}"
        url = find_ready()[-1]
        client = stack.enter_context(_client())
        yield Server(process, url, lines, log_path, client)


def _client() -> httpx.Client:
    return httpx.Client(timeout=60, trust_env=False, verify=_CERTIFICATES)


def _read(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stdout
    for line in process.stdout:
        lines.append(line.rstrip("\n"))  # noqa: PERF401 - other threads read the lines so far


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
"""A release of wasmtime with another ABI than the C API backend's."""


@pytest.fixture
def propagating_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has records reach `caplog` once: another test of this process may have configured the log."""
    for name in ("wagi_gateway", "uvicorn"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)


@pytest.fixture(scope="session")
def other_release(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH that makes the version of wasmtime OTHER_RELEASE."""
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
    """A server with the hello guest alone, at /hello/...; shared by the tests of a file."""
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


@pytest.fixture
def nervous() -> Iterator[None]:
    """Makes Python switch threads each microsecond."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
