"""Steady load: clients that send requests all the time and check each response."""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

from tests.support.farm import pattern

from .city import LARGE, STREAMED, TIMEOUT, City

UPLOAD = pattern(300_000)
_WRK_CONNECTIONS = 4
UNDER_WAY = {"httpx": 2, "curl": 1, "wrk": _WRK_CONNECTIONS, "h2load": 4}
"""The most requests in progress of each client, and so the most that a killed worker can lose."""
_WRK = """
wrong = 0
function setup(thread) threads = threads or {}; table.insert(threads, thread) end
function delay() return 20 end
function response(status, headers, body) if status == 200 and body ~= "hello world\\n" then wrong = wrong + 1 end end
function done(summary)
  local bodies = 0
  for _, thread in ipairs(threads) do bodies = bodies + thread:get("wrong") end
  local errors = summary.errors
  print(string.format("counted %d %d %d %d %d %d %d", summary.requests, errors.connect, errors.read, errors.write,
    errors.timeout, errors.status, bodies))
end
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a request."""

    client: str
    began: float
    """On the monotonic clock."""
    ended: float
    wrong: str | None = None
    """The error of the request, or None."""
    is_lost: bool = False
    """Whether the connection failed without a response."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request and its expected response."""

    path: str
    expected: bytes
    body: bytes | None = None


def asks(city: City) -> tuple[Ask, ...]:
    """Requests for all features of the gateway."""
    called = f"{city.target.url}/hello answered 200 (text/plain)\n\nhello from the target\n\n".encode()
    return (
        Ask("/hello", b"hello world\n"),
        Ask("/pieces", b"".join(STREAMED)),
        Ask("/echo", UPLOAD[:20_000], UPLOAD[:20_000]),
        Ask("/fetch", called),
        Ask("/files/large", LARGE),
        Ask("/pulled", b"hello world\n"),
        Ask("/healthz", b"OK"),
    )


@dataclass(slots=True)
class Load:
    """Runs all clients during a `with` block."""

    city: City
    answers: list[Answer] = field(default_factory=list)
    """The results with times, of all clients but wrk."""
    counted: int = 0
    """Requests of wrk."""
    _is_over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _errors: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        clients: list[Callable[[], None]] = [self._httpx, self._httpx, self._curl, self._wrk, self._h2load]
        for client in clients:
            thread = threading.Thread(target=self._work, args=(client,))
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        deadline = time.monotonic() + 2 * TIMEOUT
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"
        if self._errors:
            raise self._errors[0]

    def _work(self, client: Callable[[], None]) -> None:
        try:
            client()
        except BaseException as error:  # noqa: BLE001 - raised at the end
            self._errors.append(error)

    def _pauses(self, seconds: float) -> Iterator[None]:
        """Yields until the load is over, at a bounded rate."""
        while not self._is_over.is_set():
            yield
            self._is_over.wait(seconds)

    def _httpx(self) -> None:
        """Requests of httpx over a persistent connection."""
        with httpx.Client(timeout=TIMEOUT, trust_env=False, verify=_UNVERIFIED) as client:
            for ask, _ in zip(itertools.cycle(asks(self.city)), self._pauses(0.01)):
                began = time.monotonic()
                wrong, is_lost = None, False
                try:
                    answer = client.request(
                        "GET" if ask.body is None else "POST", self.city.gateway.url + ask.path, content=ask.body
                    )
                    wrong = _difference(ask, answer.status_code, answer.content)
                except httpx.HTTPError as error:
                    wrong, is_lost = f"{ask.path}: {error!r}", True
                self.answers.append(Answer("httpx", began, time.monotonic(), wrong, is_lost))

    def _curl(self) -> None:
        """Uploads by curl, each over a new connection."""
        folder = self.city.directory
        (folder / "upload").write_bytes(UPLOAD)
        ask = Ask("/echo", UPLOAD, UPLOAD)
        command = [
            *("curl", "-sS", "--noproxy", "*", "--max-time", str(TIMEOUT), "-w", "%{stderr}%{http_code}"),
            *("--data-binary", f"@{folder / 'upload'}", f"{self.city.gateway.url}{ask.path}"),
        ]
        for _ in self._pauses(0.05):
            began = time.monotonic()
            result = subprocess.run(command, capture_output=True, check=False)
            said = result.stderr.decode()
            status = int(said[-3:]) if said[-3:].isdigit() else 0
            wrong = f"{ask.path}: {said}" if result.returncode else _difference(ask, status, result.stdout)
            self.answers.append(Answer("curl", began, time.monotonic(), wrong, is_lost=bool(result.returncode)))

    def _wrk(self) -> None:
        """Requests of wrk, which reports counts without times."""
        script = self.city.directory / "wrk.lua"
        script.write_text(_WRK)
        command = [
            *("wrk", "-t1", f"-c{_WRK_CONNECTIONS}", "-d9999s", f"--timeout={TIMEOUT:.0f}s", "-s", str(script)),
            f"{self.city.gateway.url}/hello",
        ]
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                while not self._is_over.wait(0.1) and process.poll() is None:
                    pass
            finally:
                output = _interrupt(process)
        found = re.search(r"counted (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", output)
        assert found, f"wrk says nothing:\n{output}"
        requests, connect, read, write, late, status, bodies = map(int, found.groups())
        assert requests, output
        self.counted += requests
        for count, what, is_lost in (
            (connect, "not connected", True),
            (read, "no answer", True),
            (write, "not sent", True),
            (late, "no answer in time", False),
            (status, "another status than 200", False),
            (bodies, "another body", False),
        ):
            self.answers += [Answer("wrk", began, time.monotonic(), what, is_lost)] * count

    def _h2load(self) -> None:
        """Requests of h2load in HTTP/2 to nginx."""
        log = self.city.directory / "h2load.log"
        count = 20
        urls = [f"{self.city.secure}{ask.path}" for ask in asks(self.city) if ask.body is None]
        command = [
            *("h2load", f"-n{count}", "-c2", "-m2", "--rps=25", f"-N{TIMEOUT:.0f}s", f"--log-file={log}"),
            *urls,
        ]
        for _ in self._pauses(0.0):
            log.unlink(missing_ok=True)
            began = time.monotonic()
            result = subprocess.run(command, capture_output=True, text=True, timeout=3 * TIMEOUT, check=False)
            self.answers += read_log(log, count, began, result.stdout)


def read_log(path: Path, count: int, began: float, said: str = "") -> list[Answer]:
    """The results of `count` requests in h2load's log; requests without a line are lost."""
    offset = time.time() - time.monotonic()
    answers = []
    for line in _lines(path):
        start, status, micros = map(int, line.split("\t"))
        since = start / 1e6 - offset
        wrong = None if status == 200 else f"status {status}"
        answers.append(Answer("h2load", since, since + micros / 1e6, wrong, is_lost=status == -1))
    lost = Answer("h2load", began, time.monotonic(), f"no answer:\n{said[-600:]}", is_lost=True)
    return answers + [lost] * (count - len(answers))


def _interrupt(process: subprocess.Popen[str]) -> str:
    """Ends wrk with SIGINT; returns its output. wrk sleeps on if the first SIGINT arrives just before its sleep."""
    for _ in range(int(TIMEOUT)):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=1)[0]
    process.kill()
    raise AssertionError("wrk does not end")


def _lines(path: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().splitlines()
    return []


def _difference(ask: Ask, status: int, body: bytes) -> str | None:
    if status != 200:
        return f"{ask.path}: status {status}"
    if body != ask.expected:
        return f"{ask.path}: {len(body)} bytes in place of {len(ask.expected)}, {body[:60]!r}"
    return None


_UNVERIFIED = ssl.create_default_context()
"""Created once, because creation takes 30 ms."""
