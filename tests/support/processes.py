"""Processes of the tests, and the child processes of a server."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Server


def workers(server: Server) -> set[int]:
    """The worker processes of a server."""
    return {child for child in children(server) if b"spawn_main" in _command(child)}


def children(server: Server) -> set[int]:
    """The child processes of a server: its workers, and the resource tracker of multiprocessing."""
    pid = server.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # the process has just ended
        return b""
