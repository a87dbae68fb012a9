"""A generation after a reload, and the objects that it shares with its predecessor."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.config import config, module
from wagi_gateway.config.file import read_config
from wagi_gateway.gateway.generation import Generation
from wagi_gateway.observe.worker_metrics import WorkerMetrics
from wagi_gateway.sandbox.sandbox import Sandbox
from wagi_gateway.site.load import load
from wagi_gateway.site.site import Site


def site(directory: Path, server: str = "", limits: str = "") -> Site:
    (directory / "m.wat").write_text(guests.HELLO)
    path = directory / "modules.toml"
    a = module("/a", "m.wat", f"limits = {{ {limits} }}")
    path.write_text(f"{config(cache={'directory': 'cache'})}[server]\n{server}\n{a}{module('/b', 'm.wat')}")
    return load(read_config(path))


@pytest.mark.parametrize(
    ("server", "limits", "expected"),
    [
        ("", "", {"budget", "worker_limit", "/a", "/b"}),
        ("keep_alive = '2s'", "time = '1s'", {"budget", "worker_limit", "/a", "/b"}),
        ("", "queue = 3", {"budget", "worker_limit", "/b"}),
        ("", "concurrency = 3", {"budget", "worker_limit", "/b"}),
        ("", "queue_time = '3s'", {"budget", "worker_limit", "/b"}),
        ("spool = '9MiB'", "", {"worker_limit", "/a", "/b"}),
        ("body_memory = '9KiB'", "", {"worker_limit", "/a", "/b"}),
        ("concurrency = 7", "", {"budget"}),
    ],
    ids="nothing|other settings|queue|concurrency|queue time|spool|body memory|worker concurrency".split("|"),
)
def test_what_a_reload_keeps(tmp_path: Path, server: str, limits: str, expected: set[str]) -> None:
    before = Generation(site(tmp_path))
    new = site(tmp_path, server, limits)
    after = Generation.after(before, new, Sandbox(new.engine))
    shared = {name for name in ("budget", "worker_limit") if getattr(after, name) is getattr(before, name)}
    pairs = zip(new.config.module, before.module_limits, after.module_limits, strict=True)
    assert shared | {module.route for module, one, other in pairs if one is other} == expected


def test_a_new_module_has_the_shared_worker_limit(tmp_path: Path) -> None:
    before = Generation(site(tmp_path, "concurrency = 1"))
    new = site(tmp_path, "concurrency = 1", "queue = 1")
    after = Generation.after(before, new, Sandbox(new.engine))
    assert before.module_limits[0].try_enter()
    assert not after.module_limits[0].try_enter()
    before.module_limits[0].leave()
    assert after.module_limits[0].try_enter()


def test_metrics_go_on(tmp_path: Path) -> None:
    metrics = WorkerMetrics()
    before = Generation(site(tmp_path), metrics)
    assert Generation.after(before, before.site, Sandbox(before.site.engine)).metrics is metrics


def test_a_generation_ends_with_its_last_request(tmp_path: Path) -> None:
    async def main() -> None:
        generation = Generation(site(tmp_path))
        await generation.over()
        generation.enter()
        generation.enter()
        over = asyncio.create_task(generation.over())
        generation.leave()
        await asyncio.sleep(0)
        assert not over.done()
        assert generation.users == 1
        generation.leave()
        await over

    asyncio.run(main())
