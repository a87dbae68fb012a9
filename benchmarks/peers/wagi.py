"""WAGI, the original gateway in Rust."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import wasmtime

from ..harness.server import HELLO_WAT, ROUTE, Server
from .peer import find_host, free_port, peer


@contextlib.contextmanager
def wagi(directory: Path) -> Iterator[Server]:
    """Serves the hello guest."""
    program, port = find_host("wagi"), free_port()
    module, config = directory / "hello.wasm", directory / "modules.toml"
    module.write_bytes(wasmtime.wat2wasm(HELLO_WAT.read_text()))
    config.write_text(f'[[module]]\nroute = "{ROUTE}"\nmodule = "{module}"\n')
    with peer([program, "--config", str(config), "--listen", f"127.0.0.1:{port}"], port, "", directory) as server:
        yield server
