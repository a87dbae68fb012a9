"""The commands of the page "The article, today", with other ports, have the results that the page shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, wait_until
from tests.support.nginx import free_addresses

PAGE = ROOT / "docs" / "the-article-today.md"
END = "## The end"
"""The heading of the section that ends all processes."""
PROGRAMS = {
    "docker-registry": "docker-registry",
    "curl": "curl",
    "/usr/sbin/nginx": "nginx",
}
"""The programs of the page, and their Debian packages."""
TIMEOUT = 60.0
"""The timeout of the whole page in seconds; usually 5 are enough."""

_BLOCK = re.compile(r"^```sh\n((?:.*\n)*?)```$", re.MULTILINE)
_PORTS = ("127.0.0.1:5000", "127.0.0.1:3001", "127.0.0.1:8080")
# One module's outbound call fails in the same way on every machine, and other look-ups are recorded.
_NO_NAMES = """
import socket
find = socket.getaddrinfo

def getaddrinfo(host, *arguments, **options):
    name = host.decode() if isinstance(host, bytes) else host
    if name in ("127.0.0.1", "0.0.0.0"):
        return find(host, *arguments, **options)
    with open({looked_up!r}, "a") as file:
        print(name, file=file)
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

socket.getaddrinfo = getaddrinfo
"""


@dataclass(slots=True)
class Shell:
    """A bash that reads commands like a user's."""

    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)
    """The printed lines."""

    def enter(self, commands: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(commands)
        self.process.stdin.flush()

    def read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output.append(line.rstrip("\n"))

    def told(self) -> str:
        return "\n".join(self.output)


def commands() -> tuple[str, str]:
    """The commands of the page: the commands of the walkthrough, and the commands that end it."""
    begin, _, end = PAGE.read_text().partition(END)
    return "".join(_BLOCK.findall(begin)), "".join(_BLOCK.findall(end))


def clone(directory: Path) -> Path:
    """A stand-in for a clone of the project, with links to the samples and to the program."""
    (directory / "clone").mkdir()
    (directory / "clone" / "samples").symlink_to(ROOT / "samples")
    (directory / "bin").mkdir()
    program = directory / "bin" / "wagi-gateway"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wagi_gateway "$@"\n')
    program.chmod(0o755)
    (directory / "python").mkdir()
    (directory / "python" / "sitecustomize.py").write_text(_NO_NAMES.format(looked_up=str(directory / "looked-up")))
    return directory / "clone"


@contextmanager
def shell(directory: Path) -> Iterator[Shell]:
    """A shell in the clone; all its processes end with the context."""
    here = clone(directory)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REGISTRY_", "OTEL_"))}
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail"],
        cwd=here,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment
        | {
            "HOME": str(directory),
            "PATH": f"{directory}/bin:{os.environ['PATH']}",
            "PYTHONPATH": f"{directory}/python:{ROOT}",
        },
    )
    bash = Shell(process)
    reader = threading.Thread(target=bash.read)
    reader.start()
    try:
        yield bash
    finally:
        for pid in processes(here) | {process.pid}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        reader.join()
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.stdout.close()


def processes(directory: Path) -> set[int]:
    """The processes that work in a directory; nginx leaves the shell's session, but not its directory."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended or has another owner
            if (entry / "cwd").readlink() == directory:
                found.add(int(entry.name))
    return found


def test_the_walkthrough(tmp_path: Path) -> None:
    search = f"{os.environ['PATH']}:/usr/sbin"
    for program, package in PROGRAMS.items():
        if not any(os.access(Path(folder, program), os.X_OK) for folder in search.split(":")):
            pytest.fail(f"{program} is not installed: install the Debian package {package}", pytrace=False)
    begin, end = commands()
    first, _, rest = begin.partition("\n")
    assert first.startswith("export ")
    addresses = [f"{host}:{port}" for host, port in free_addresses(len(_PORTS))]
    for written, free in zip(_PORTS, addresses, strict=True):
        assert first.count(written) == 1
        first = first.replace(written, free)
    *_, gateway, site = addresses
    with shell(tmp_path) as bash, httpx.Client(base_url=f"http://{site}", trust_env=False, timeout=30) as client:
        bash.enter(f"{first}\n{rest}")
        is_there = "hello world"
        wait_until(
            lambda: bash.process.poll() is not None or any(line.endswith(is_there) for line in bash.output),
            TIMEOUT,
            bash.told,
        )
        assert bash.process.poll() is None, bash.told()
        assert [line for line in bash.output if is_there in line] == [
            f"OK{is_there}"
        ]  # the log after the OK of /healthz

        answers = {path: client.get(path) for path in ("/", "/error", "/log", "/http-example", "/hello/you", "/none")}
        assert {path: answer.status_code for path, answer in answers.items()} == {
            "/": 200,
            "/error": 404,
            "/log": 200,
            "/http-example": 502,
            "/hello/you": 200,
            "/none": 404,
        }
        assert answers["/"].headers["content-type"] == "text/html; charset=utf-8"
        assert "<h1>wagi-gateway samples</h1>" in answers["/"].text
        assert answers["/error"].text == "This 404 was chosen by the guest.\n"
        assert answers["/log"].text == "Three lines were written to this module's log.\n"
        assert answers["/http-example"].text == (
            "outbound request failed: no usable answer came from https://api.brigade.sh (wasi_experimental_http error"
            " 11)\n"
        )
        assert answers["/hello/you"].text == "hello world\n"

        assert len(processes(tmp_path / "clone")) >= 5  # bash, the registry, the gateway, nginx and its worker
        bash.enter(end)
        assert bash.process.stdin
        bash.process.stdin.close()
        assert bash.process.wait(TIMEOUT) == 0, bash.told()
        wait_until(lambda: not processes(tmp_path / "clone"), message=bash.told)

    walkthrough = tmp_path / "clone" / "walkthrough"
    log = (walkthrough / "gateway.log").read_text()
    assert f"Ready: serving on http://{gateway}\n" in log
    assert "guest: log: the request has arrived route=/log" in log
    assert "Traceback" not in log
    assert (tmp_path / "looked-up").read_text().split() == ["api.brigade.sh"]
    assert {path.name for path in (tmp_path / "clone").iterdir()} == {"samples", "walkthrough"}
    assert not (walkthrough / "nginx.log").read_text()


def test_the_page_shows_what_curl_prints() -> None:
    assert "```text\nhello world\n```" in PAGE.read_text()
