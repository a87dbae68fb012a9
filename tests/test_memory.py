"""How many of glibc's arenas there are, and what goes back to the system."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support import guests
from tests.support.attacks import together
from tests.support.config import guest
from wagi_gateway.memory import bound_arenas

ARENA = 64 * 2**20
"""Bytes of address space of one, and what its address is a multiple of (HEAP_MAX_SIZE of glibc's arena.c)."""
UNBOUNDED = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
_THREADS = """
import sys, threading
from wagi_gateway.memory import bound_arenas
{before}
everybody = threading.Barrier(17)

def allocate():
    kept = [bytearray(5000) for _ in range(50)]
    everybody.wait()
    everybody.wait()

threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads:
    thread.start()
everybody.wait()
print("ready", flush=True)
sys.stdin.readline()
everybody.wait()
"""
_FREES = """
from pathlib import Path
from wagi_gateway.memory import give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

kept = [bytearray(1000) for _ in range(100_000)]
last = bytearray(1000)  # above all others, so that the heap does not end lower
before = resident()
del kept
freed = resident()
give_back()
print(before, freed, resident())
"""


def arenas(pid: int) -> int:
    """How many a process has beside the first one."""
    rows = re.findall(r"(?m)^(\w+)-(\w+) (\S+) .* 0 *$", Path(f"/proc/{pid}/maps").read_text())
    mappings = [(int(start, 16), int(end, 16), mode) for start, end, mode in rows]
    return sum(
        start % ARENA == 0 and mode == "rw-p" and (rest, until, more) == (end, start + ARENA, "---p")
        for (start, end, mode), (rest, until, more) in itertools.pairwise(mappings)
    )


def bound() -> int:
    return max(2, len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("before", "environment", "least", "most"),
    [
        ("", {}, min(bound(), 16), 16),
        ("bound_arenas()", {}, 1, bound() - 1),
        ("bound_arenas()", {"MALLOC_ARENA_MAX": "1"}, 0, 0),
        ("bound_arenas()", {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}, 0, 0),
    ],
    ids=["glibc", "bound", "variable", "tunable"],
)
def test_threads_share_arenas(before: str, environment: dict[str, str], least: int, most: int) -> None:
    command = [sys.executable, "-c", _THREADS.format(before=before)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=UNBOUNDED | environment,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        assert least <= arenas(process.pid) <= most
        process.stdin.write("\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_bounds_them(serve: Serve, workers: int) -> None:
    config = guest("/nap", "nap", time="5s", concurrency=16)
    server = serve(config, "--workers", str(workers), nap=guests.sleeps(300_000_000, b"", guests.CONTENT_TYPE))
    together(16 * workers, lambda _: server.get("/nap"))
    tasks = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    for pid in [server.process.pid, *(int(child) for task in tasks for child in task.read_text().split())]:
        assert arenas(pid) < bound()


def test_what_is_free_goes_back_to_the_system() -> None:
    output = subprocess.run([sys.executable, "-c", _FREES], capture_output=True, text=True, check=True).stdout
    before, freed, after = map(int, output.split())
    assert freed > before * 0.8
    assert after < before * 0.5


def test_another_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wagi_gateway.memory._libc", object())
    bound_arenas()
