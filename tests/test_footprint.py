"""The memory of all guests together, and what is said where there is not so much of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import running
from tests.support import guests
from tests.support.config import guest
from tests.support.mounts import with_mounts
from tests.support.reloading import reload
from wagi_gateway.config.settings import Config, Limits, ModuleConfig, ServerConfig
from wagi_gateway.memory import Bound, check_memory, worst_case

MIB = 2**20
BOUND = Path("/sys/fs/cgroup/a/memory.max")


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
        pytest.param(10, [(16, 256, 1)], 1, 2560, id="fewer sandboxes than places"),
        pytest.param(256, [(16, 256, 3)], 1, 3 * 4096, id="memories"),
        pytest.param(256, [(16, 256, 1), (2, 10, 1)], 1, 4096 + 20, id="a module each"),
        pytest.param(20, [(16, 10, 1), (16, 100, 1), (1, 1000, 1)], 2, 2 * (1000 + 1600 + 30), id="the largest first"),
    ],
)  # fmt: skip
def test_the_worst_case(server: int, limits: list[tuple[int, int, int]], workers: int, expected: int) -> None:
    assert worst_case(config(server, *limits), workers) == expected * MIB


@pytest.mark.parametrize("bound", [None, Bound(80 * MIB, BOUND)])
def test_there_is_enough(bound: Bound | None) -> None:
    assert not list(check_memory(config(4, (4, 10, 1)), 2, bound))


def test_there_is_not_enough() -> None:
    (warning,) = check_memory(config(9, (1, 30, 1), (4, 10, 2)), 2, Bound(220 * MIB - 4096, BOUND))
    assert str(warning) == (
        "limits.memory: all guests together may use 220MiB, and beyond 225276KiB (/sys/fs/cgroup/a/memory.max) the"
        " kernel kills the server; server.workers = 2, server.concurrency = 9, and /2 has the largest part:"
        " limits.concurrency = 4, limits.memory = 10MiB, limits.memories = 2; lower one of these, or raise the bound"
    )


def bounded(directory: Path, size: int) -> list[str]:
    """A command that shows the one after it a control group with this bound, in either version."""
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
