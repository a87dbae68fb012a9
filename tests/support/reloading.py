"""Reloads of a server's configuration."""

from __future__ import annotations

import re
import signal

from tests.conftest import Server, wait_until


def write(server: Server, name: str, text: str) -> None:
    """Replaces a file atomically, as a deployment does."""
    path = server.log_path.with_name(name)
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def hang_up(server: Server) -> None:
    """Sends SIGHUP."""
    server.process.send_signal(signal.SIGHUP)


def reload(server: Server, config: str | None = None) -> None:
    """Writes `config`, if given, as `modules.toml`, sends SIGHUP, and returns after the reload."""
    if config is not None:
        write(server, "modules.toml", config)
    before = reloads(server)
    hang_up(server)
    wait_until(lambda: reloads(server) > before, 30, lambda: server.log)


def reloads(server: Server) -> int:
    """The number of reloads in the log, failed ones included."""
    return len(re.findall(r"(?m) (?:reloaded: |ERROR +not reloaded)", server.log))
