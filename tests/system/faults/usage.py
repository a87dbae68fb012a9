"""The resource usage of the gateway's processes: descriptors, memory, threads, files."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .city import City

MEMORY_NOISE = 64 * 2**20
"""Bytes by which a process that serves may be larger than before: the allocator keeps what it had in its heaps.

Measured with all faults again and again: 57 MiB before the first, at rest 100 after one round, then 113 and 115.
"""
THREADS_NOISE = 16
"""The noise in the number of threads: the load needs more of them on a slow machine."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The sum over all processes."""

    descriptors: int
    """Descriptors, without the pipes of guests and open connections."""
    pipes: int
    """Pipes, which are kept for reuse."""
    memory: int
    """Resident bytes, without pages shared with files."""
    threads: int
    files: int
    """Temporary files, named and unnamed."""

    def is_within(self, limit: Usage) -> bool:
        """Whether no value is over the limit."""
        return all(getattr(self, name) <= getattr(limit, name) for name in self.__slots__)


def usage(city: City) -> Usage:
    """The present usage."""
    descriptors = pipes = memory = threads = unnamed = 0
    spool = str(city.directory / "disks" / "spool")
    for pid in city.processes():
        with contextlib.suppress(OSError):
            for entry in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    to = os.readlink(f"/proc/{pid}/fd/{entry}")
                    pipes += to.startswith("pipe:")
                    descriptors += not to.startswith("pipe:")
                    unnamed += to.startswith(spool) and to.endswith("(deleted)")
            status = Path(f"/proc/{pid}/status").read_text()
            memory += 1024 * int(_number(r"RssAnon:\s+(\d+) kB", status))
            threads += int(_number(r"Threads:\s+(\d+)", status))
    named = sum(len(files) for _, _, files in os.walk(city.seen("spool")))
    return Usage(descriptors - _connections(city), pipes, memory, threads, named + unnamed)


def descriptors(city: City) -> str:
    """What the descriptors lead to, for a message; pipes are left out."""
    states = {}
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            row = line.split()
            # Addresses, state, and bytes of the queues to send and to receive: proc(5).
            states[f"socket:[{row[9]}]"] = f"{family} {row[1]} {row[2]} {row[3]} {row[4]}"
    found: list[str] = []
    for pid in city.processes():
        with contextlib.suppress(OSError):
            for entry in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    to = os.readlink(f"/proc/{pid}/fd/{entry}")
                    found += [] if to.startswith("pipe:") else [f"{pid} {entry} {states.get(to, to)}"]
    return "\n".join(found)


def _number(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else "0"


def _connections(city: City) -> int:
    """The number of established connections to the gateway and of its outbound calls; connections that only the gateway
    still has open do not count."""
    here = {f":{port:04X}" for port in (city.gateway.address[1], int(city.admin.rpartition(":")[2]))}
    there = f":{city.target.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == "01" and (row[1][-5:] in here or row[2][-5:] == there) for row in rows)
