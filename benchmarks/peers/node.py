"""Node's `node:wasi` behind its HTTP server."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import wasmtime

from ..harness.cores import SERVER
from ..harness.errors import Failed
from ..harness.process import started, wait_ready
from ..harness.server import HELLO_WAT, Server
from .peer import find_node

_SCRIPT = Path(__file__).parent / "node.mjs"
_VERSION = 20


@contextlib.contextmanager
def node(directory: Path) -> Iterator[Server]:
    """Serves the hello guest."""
    program = find_node()
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < _VERSION:
        raise Failed(f"{program} is Node {version.strip()}, {_VERSION} or later is needed (npm: node@{_VERSION})")
    module = directory / "hello.wasm"
    module.write_bytes(wasmtime.wat2wasm(HELLO_WAT.read_text()))
    # The output file of Node's guests is in memory if /dev/shm exists.
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else directory) as output:
        command = [program, "--no-warnings", str(_SCRIPT), str(module), f"{output}/stdout"]
        with started(command, SERVER, directory / "log") as process:
            url = wait_ready(process, "node", directory / "log")
            process.pause()
            yield Server(url, process)
