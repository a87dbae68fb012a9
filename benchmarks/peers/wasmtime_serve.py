"""`wasmtime serve`: a host of wasi:http, with a handler in Rust that answers in a fresh sandbox."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..harness.server import Server
from .peer import find_host, free_port, peer

_HANDLER = Path(__file__).parents[2] / "tests" / "support" / "handler.wasm"
_BODY = b"hello\n"


@contextlib.contextmanager
def wasmtime_serve(directory: Path) -> Iterator[Server]:
    """Serves the handler of the tests, with the pooling allocator and an instance for each request."""
    port = free_port()
    options = ["--addr", f"127.0.0.1:{port}", "-Scli", "-Opooling-allocator", "--max-instance-reuse-count", "1"]
    with peer([find_host("wasmtime"), "serve", *options, str(_HANDLER)], port, "", directory) as server:
        server.body = _BODY
        yield server
