"""Children that nobody waits for: the first process of a container becomes the parent of every orphan in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

LOOK = 60.0
"""Seconds between two looks, more than this process takes to wait for a child of its own that has ended."""


class Orphans:
    """Waits for each child that is a zombie in two looks, one after the other."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    async def keep(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Looks again and again until it is cancelled."""
        while True:
            await sleep(LOOK)
            self.look()

    def look(self) -> None:
        """Waits for the zombies of the look before, which takes no time."""
        found = zombies()
        for pid, _ in found & self._seen:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._seen = found


def zombies() -> set[tuple[int, int]]:
    """Process id and start time of each child of this process that has ended (proc_pid_stat(5))."""
    found = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # of a thread that has ended meanwhile
            for pid in map(int, path.read_text().split()):
                with contextlib.suppress(OSError):
                    state, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
                    if state == "Z":
                        found.add((pid, int(fields[18])))
    return found
