"""Resource usage of a process, from proc(5)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """Resource usage of a process."""

    cpu_seconds: float
    resident: int
    """Bytes."""
    virtual: int
    """Bytes."""
    threads: int
    descriptors: int
    max_descriptors: int
    started: float
    """Seconds since 1970."""


def usage(pid: int) -> Usage | None:
    """Resource usage of a process of this user; None if it has ended, or its files in /proc cannot be read."""
    proc = Path(f"/proc/{pid}")
    try:
        # The list starts at field 3 (state): field 2, the program's name in parentheses, may contain blanks and ")".
        fields = (proc / "stat").read_text().rpartition(") ")[2].split()
        files = next(line for line in (proc / "limits").read_text().splitlines() if line.startswith("Max open files"))
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        soft = files.split()[3]
        return Usage(
            cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
            resident=int(fields[21]) * _PAGE,
            virtual=int(fields[20]),
            threads=int(fields[17]),
            descriptors=len(os.listdir(proc / "fd")),
            max_descriptors=int(soft) if soft.isdigit() else 0,
            started=int(boot.split()[1]) + int(fields[19]) / _TICKS,
        )
    except (OSError, StopIteration, ValueError, IndexError):
        return None
