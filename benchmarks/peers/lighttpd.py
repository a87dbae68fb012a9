"""lighttpd with mod_cgi: fork and exec for each request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..harness.server import Server
from .peer import find, free_port, native_hello, peer

_CONFIG = """
server.document-root = "{directory}"
server.bind = "127.0.0.1"
server.port = {port}
server.modules = ("mod_cgi")
cgi.assign = (".cgi" => "")
server.max-keep-alive-requests = 65535
"""


@contextlib.contextmanager
def lighttpd(directory: Path, *, is_static: bool = True) -> Iterator[Server]:
    """Serves the native program."""
    program, port = native_hello(directory, is_static=is_static), free_port()
    config = directory / "lighttpd.conf"
    config.write_text(_CONFIG.format(directory=directory, port=port))
    command = [find("lighttpd", "lighttpd"), "-D", "-f", str(config)]
    with peer(command, port, f"/{program.name}", directory) as server:
        yield server
