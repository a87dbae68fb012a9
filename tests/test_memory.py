"""Memory of the process: glibc's arenas, the bound of the control group, and the worst case of all guests."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Serve, running
from tests.support import guests
from tests.support.attacks import together
from tests.support.config import guest
from tests.support.mounts import with_mounts
from tests.support.reloading import reload
from wagi_gateway.config.settings import Config, Limits, ModuleConfig, ServerConfig
from wagi_gateway.memory import Bound, bound_arenas, check_memory, memory_bound, worst_case

ARENA = 64 * 2**20
"""Size and alignment of an arena in bytes (HEAP_MAX_SIZE of glibc's arena.c)."""
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
    """The number of arenas of a process, without the first."""
    rows = re.findall(r"(?m)^(\w+)-(\w+) (\S+) .* 0 *$", Path(f"/proc/{pid}/maps").read_text())
    mappings = [(int(start, 16), int(end, 16), mode) for start, end, mode in rows]
    return sum(
        start % ARENA == 0 and mode == "rw-p" and (rest, until, more) == (end, start + ARENA, "---p")
        for (start, end, mode), (rest, until, more) in itertools.pairwise(mappings)
    )


def arena_limit() -> int:
    return max(2, len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("before", "environment", "least", "most"),
    [
        ("", {}, min(arena_limit(), 16), 16),
        ("bound_arenas()", {}, 1, arena_limit() - 1),
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
        assert arenas(pid) < arena_limit()


def test_what_is_free_goes_back_to_the_system() -> None:
    output = subprocess.run([sys.executable, "-c", _FREES], capture_output=True, text=True, check=True).stdout
    before, freed, after = map(int, output.split())
    assert freed > before * 0.8
    assert after < before * 0.5


def test_another_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wagi_gateway.memory._libc", object())
    bound_arenas()


V2 = "0::/system.slice/wagi.service\n"
V1 = "9:name=systemd:/elsewhere\n4:cpu,memory:/docker/a\n0::/\n"
NONE = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        pytest.param(V2, {"system.slice/wagi.service/memory.max": "2147483648\n"}, (2**31, 0), id="its own"),
        pytest.param(
            V2,
            {"system.slice/wagi.service/memory.max": "max\n", "system.slice/memory.max": "4096\n"},
            (4096, 1),
            id="one around it",
        ),
        pytest.param(
            V2,
            {
                "system.slice/wagi.service/memory.max": "8192\n",
                "system.slice/memory.max": "4096\n",
                "memory.max": "max\n",
            },
            (4096, 1),
            id="the tightest",
        ),
        pytest.param(V2, {"system.slice/wagi.service/memory.max": "max\n"}, None, id="no bound"),
        pytest.param(V2, {"elsewhere/memory.max": "4096\n", "wagi.service/memory.max": "4096\n"}, None, id="others"),
        pytest.param(V2, {"memory.max": "4096\n"}, (4096, 0), id="a container that knows its path outside"),
        pytest.param("0::/\n", {"memory.max": "4096\n"}, (4096, 0), id="a container"),
        pytest.param("0::/../a\n", {"memory.max": "4096\n", "a/memory.max": "1\n"}, (4096, 0), id="above what is seen"),
        pytest.param(V1, {"memory/docker/a/memory.limit_in_bytes": "4096\n"}, (4096, 0), id="version 1"),
        pytest.param(
            V1,
            {"memory/docker/a/memory.limit_in_bytes": NONE, "memory/memory.limit_in_bytes": NONE},
            (int(NONE), 0),
            id="version 1, no bound",
        ),
        pytest.param(V1, {"elsewhere/memory.max": "1\n", "docker/a/memory.max": "1\n"}, None, id="no mixture"),
        pytest.param("", {"memory.max": "4096\n"}, None, id="nothing known"),
        pytest.param("nonsense\n0:\n:\n::\n", {"memory.max": "nonsense\n"}, None, id="nonsense"),
    ],
)
def test_the_bound(tmp_path: Path, membership: str, files: dict[str, str], expected: tuple[int, int] | None) -> None:
    """`expected` is the bound, and the file that sets it."""
    (tmp_path / "membership").write_text(membership)
    mount = tmp_path / "mount"
    for name, text in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(text)
    found = memory_bound(tmp_path / "membership", mount)
    assert found == (expected and Bound(expected[0], mount / list(files)[expected[1]]))


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert memory_bound(tmp_path / "membership", tmp_path / "mount") is None


def test_this_system_is_understood() -> None:
    found = memory_bound()
    assert found is None or int(found.file.read_text()) == found.size > 2**20


MIB = 2**20
CGROUP_FILE = Path("/sys/fs/cgroup/a/memory.max")


def config(server: int, *limits: tuple[int, int, int]) -> Config:
    """`server.concurrency`, and concurrency, memory in MiB and memories of each module."""
    modules = [
        ModuleConfig(
            route=f"/{number}", module="a.wasm", limits=Limits(concurrency=count, memory=size * MIB, memories=memories)
        )
        for number, (count, size, memories) in enumerate(limits, 1)
    ]
    return Config(module=tuple(modules), server=ServerConfig(concurrency=server))


@pytest.mark.parametrize(
    ("server", "limits", "workers", "expected"),
    [
        pytest.param(256, [(16, 256, 1)], 1, 4096, id="the defaults"),
        pytest.param(256, [(16, 256, 1)], 3, 3 * 4096, id="workers"),
        pytest.param(10, [(16, 256, 1)], 1, 2560, id="fewer sandboxes than the limit"),
        pytest.param(256, [(16, 256, 3)], 1, 3 * 4096, id="memories"),
        pytest.param(256, [(16, 256, 1), (2, 10, 1)], 1, 4096 + 20, id="a module each"),
        pytest.param(20, [(16, 10, 1), (16, 100, 1), (1, 1000, 1)], 2, 2 * (1000 + 1600 + 30), id="the largest first"),
    ],
)  # fmt: skip
def test_the_worst_case(server: int, limits: list[tuple[int, int, int]], workers: int, expected: int) -> None:
    assert worst_case(config(server, *limits), workers) == expected * MIB


@pytest.mark.parametrize("bound", [None, Bound(80 * MIB, CGROUP_FILE)])
def test_there_is_enough(bound: Bound | None) -> None:
    assert not list(check_memory(config(4, (4, 10, 1)), 2, bound))


def test_there_is_not_enough() -> None:
    (warning,) = check_memory(config(9, (1, 30, 1), (4, 10, 2)), 2, Bound(220 * MIB - 4096, CGROUP_FILE))
    assert str(warning) == (
        "limits.memory: all guests together may use 220MiB, and beyond 225276KiB (/sys/fs/cgroup/a/memory.max) the"
        " kernel kills the server; server.workers = 2, server.concurrency = 9, and /2 has the largest part:"
        " limits.concurrency = 4, limits.memory = 10MiB, limits.memories = 2; lower one of these, or raise the bound"
    )


def bounded(directory: Path, size: int) -> list[str]:
    """A prefix for a command, which then sees a control group with this bound, of version 1 or 2."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"{size}\n")
    return with_mounts('mount --bind "$0" /sys/fs/cgroup', directory)


def test_a_start_and_a_reload_warn(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    prefix = bounded(tmp_path / "cgroup", 2**30)
    large, small = guest("/hello", "hello"), guest("/hello", "hello", concurrency=4)
    with running(tmp_path, large, cache=cache, prefix=prefix) as server:
        warning = r"limits\.memory: all guests together may use 4GiB, and beyond 1GiB"
        assert len(re.findall(f"WARNING {warning}", server.log)) == 1
        reload(server, small)
        assert "WARNING reload" not in server.log
        reload(server, large)
        assert len(re.findall(f"WARNING reload: {warning}", server.log)) == 1
