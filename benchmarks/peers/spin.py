"""Spin with its WAGI executor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import wasmtime

from ..harness.server import HELLO_WAT, ROUTE, Server
from .peer import find_host, free_port, peer

_MANIFEST = f"""spin_manifest_version = 2
[application]
name = "hello"
version = "1.0.0"
[[trigger.http]]
route = "{ROUTE}"
component = "hello"
executor = {{ type = "wagi" }}
[component.hello]
source = "hello.wasm"
"""


@contextlib.contextmanager
def spin(directory: Path) -> Iterator[Server]:
    """Serves the hello guest."""
    program, port = find_host("spin"), free_port()
    manifest = directory / "spin.toml"
    manifest.write_text(_MANIFEST)
    (directory / "hello.wasm").write_bytes(wasmtime.wat2wasm(HELLO_WAT.read_text()))
    with peer([program, "up", "--from", str(manifest), "--listen", f"127.0.0.1:{port}"], port, "", directory) as server:
        yield server
