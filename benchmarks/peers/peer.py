"""What all peers need: a program, a free port, a directory, and a start that waits for the first answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import Failed
from ..harness.cores import SERVER
from ..harness.process import started, wait_until
from ..harness.server import Server

_SOURCE = Path(__file__).parent / "hello.c"
_TOOLCHAINS = Path(__file__).parents[2] / "samples" / ".venv-samples" / "bin"
_SEARCH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"


def find(program: str, package: str) -> str:
    """The path of a program; raises Failed with what to install where it is missing."""
    path = shutil.which(program, path=_SEARCH)
    if path is None:
        raise Failed(f"{program} is not installed (Debian: apt-get install {package})")
    return path


def find_node() -> str:
    """The path of Node: the system's, or the one that scripts/build-samples installs."""
    path = shutil.which("node", path=f"{_SEARCH}:{_TOOLCHAINS}")
    if path is None:
        raise Failed("node is not installed (npm install --global node@20)")
    return path


def native_hello(directory: Path, *, is_static: bool = True) -> Path:
    """The CGI program in C, compiled as `hello.cgi` in `directory`; linked statically it starts fastest."""
    program = directory / "hello.cgi"
    flags = ["-static"] if is_static else []
    subprocess.run([find("gcc", "gcc"), "-O2", *flags, "-o", str(program), str(_SOURCE)], check=True)
    return program


def free_port() -> int:
    """A port nobody has at this moment, for servers that cannot be given port 0."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def peer(command: Sequence[str], port: int, path: str, directory: Path) -> Iterator[Server]:
    """A peer that stays in the foreground, set aside until it is measured."""
    log = directory / "log"
    with started(command, SERVER, log) as process:
        wait_until(process, command[0], lambda: _listens(port), log)
        process.pause()
        yield Server(f"http://127.0.0.1:{port}{path}", process)


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
