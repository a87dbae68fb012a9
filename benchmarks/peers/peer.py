"""The common part of all peers: find a program, compile the native CGI program, find a port, start a server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..harness.cores import SERVER
from ..harness.errors import Absent, Failed
from ..harness.process import Process, started, wait_until
from ..harness.server import Server

_SOURCE = Path(__file__).parent / "hello.c"
_TOOLCHAINS = Path(__file__).parents[2] / "samples" / ".venv-samples" / "bin"
_SEARCH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"


def find(program: str, package: str) -> str:
    """The path of a program. Raises Failed with the package to install."""
    path = shutil.which(program, path=_SEARCH)
    if path is None:
        raise Failed(f"{program} is not installed (Debian: apt-get install {package})")
    return path


def find_host(program: str) -> str:
    """The path of another WebAssembly host: on the PATH, or what the variable BENCH_PROGRAM names. Raises Absent."""
    variable = f"BENCH_{program.upper()}"
    path = shutil.which(os.environ.get(variable) or program)
    if path is None:
        raise Absent(f"not installed: there is no `{program}` on the PATH, and {variable} names none")
    return path


def find_node() -> str:
    """The path of Node: the system's, or that of scripts/build-samples. Raises Failed."""
    path = shutil.which("node", path=f"{_SEARCH}:{_TOOLCHAINS}")
    if path is None:
        raise Failed("node is not installed (npm install --global node@20)")
    return path


def native_hello(directory: Path, *, is_static: bool = True) -> Path:
    """The CGI program in C, compiled to `hello.cgi` in `directory`; a static program starts fastest."""
    program = directory / "hello.cgi"
    flags = ["-static"] if is_static else []
    subprocess.run([find("gcc", "gcc"), "-O2", *flags, "-o", str(program), str(_SOURCE)], check=True)
    return program


def free_port() -> int:
    """A port that is free at this moment, for servers that do not take port 0."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def peer(command: Sequence[str], port: int, path: str, directory: Path, *others: Process) -> Iterator[Server]:
    """Runs a server in the foreground, waits until it listens, and pauses it; `others` work for it."""
    log = directory / "log"
    with started(command, SERVER, log) as process:
        wait_until(process, command[0], lambda: _listens(port), log)
        process.pause()
        yield Server(f"http://127.0.0.1:{port}{path}", process, others)


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
