"""The builds of a configuration: order, results, bounds."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.support.processes import is_alive
from wagi_gateway.config.file import ConfigFile, config_from_tables
from wagi_gateway.dev import builds as builds_module
from wagi_gateway.dev.builds import BuildResult, Builds
from wagi_gateway.errors import Problem


def file(directory: Path, **commands: str) -> ConfigFile:
    modules: list[dict[str, object]] = [
        {"route": f"/{name}", "module": "m.wat", "build": {"command": ["sh", "-c", script]}}
        for name, script in commands.items()
    ]
    tables = {"module": [{"route": "/plain", "module": "m.wat"}, *modules]}
    return config_from_tables(directory / "modules.toml", tables)


def run(builds: Builds, config: ConfigFile, only: set[str] | None = None) -> bool:
    return asyncio.run(builds.run(config, only))


def test_builds_run_in_order_up_to_the_first_failure(tmp_path: Path) -> None:
    output: list[tuple[str, bytes]] = []
    seen: list[tuple[str, int | None]] = []
    builds = Builds(lambda *one: output.append(one), lambda one: seen.append((one.route, one.code)))
    assert not run(builds, file(tmp_path, a="echo a", b="echo b; exit 4", c="echo c"))
    assert output == [("/a", b"a\n"), ("/b", b"b\n")]
    assert seen == [("/a", None), ("/a", 0), ("/b", None), ("/b", 4)]
    assert [one.route for one in builds.failed] == ["/b"]
    assert builds.is_broken


def test_a_failure_lasts_until_that_module_is_built(tmp_path: Path) -> None:
    builds = Builds(lambda *_: None)
    assert not run(builds, file(tmp_path, a="exit 1", b="exit 0"))
    assert not run(builds, file(tmp_path, a="true", b="exit 0"), {"/b"})
    assert run(builds, file(tmp_path, a="true", b="exit 0"), {"/a"})
    assert not builds.is_broken


def test_the_result_of_a_removed_build_is_forgotten(tmp_path: Path) -> None:
    builds = Builds(lambda *_: None)
    assert not run(builds, file(tmp_path, a="exit 1"))
    assert run(builds, file(tmp_path))


def test_a_command_that_cannot_start(tmp_path: Path) -> None:
    builds = Builds(lambda *_: None)
    config = config_from_tables(
        tmp_path / "modules.toml",
        {"module": [{"route": "/a", "module": "m", "build": {"command": ["no-such-program"]}}]},
    )
    assert not run(builds, config)
    assert b"no program no-such-program" in builds.results["/a"].output


def test_what_a_failed_build_lacks_is_named(tmp_path: Path) -> None:
    builds = Builds(lambda *_: None)
    assert not run(builds, file(tmp_path, a="tinygo build || exit 3"))
    assert (builds.results["/a"].code, b"install TinyGo" in builds.results["/a"].output) == (3, True)


def test_modules_of_one_build_are_built_once(tmp_path: Path) -> None:
    began: list[str] = []
    builds = Builds(lambda *_: None, lambda one: began.append(one.route) if one.code is None else None)
    shared = file(tmp_path, a="exit 1", b="exit 1")
    assert not run(builds, shared)
    assert began == ["/a, /b"]
    assert [one.route for one in builds.failed] == ["/a, /b"]
    assert builds.results["/a"] is builds.results["/b"]
    assert not run(builds, shared, {"/b"})
    assert began == ["/a, /b"] * 2


def test_output_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds_module, "MAX_OUTPUT", 5)
    result = BuildResult("/a", "make")
    for _ in range(3):
        result.add(b"abc")
    assert result.output == b"bcabc"


def test_problems_of_a_load_count_as_broken() -> None:
    builds = Builds(lambda *_: None)
    builds.problems = (Problem("", "x"),)
    assert builds.is_broken


def test_a_signal_ends_the_first_build_with_its_processes(tmp_path: Path) -> None:
    def on_output(_route: str, data: bytes) -> None:
        started.append(int(data))
        os.kill(os.getpid(), signal.SIGTERM)

    started: list[int] = []
    builds = Builds(on_output)
    config = file(tmp_path, a="sleep 600 & echo $!; wait", b="true")
    assert asyncio.run(asyncio.wait_for(builds.run_first(config), 30)) == signal.SIGTERM
    assert "/b" not in builds.results
    wait_until(lambda: not is_alive(started[0]))


def test_the_first_build_ends_by_itself(tmp_path: Path) -> None:
    builds = Builds(lambda *_: None)
    assert asyncio.run(builds.run_first(file(tmp_path, a="exit 3"))) == 0
    assert [one.code for one in builds.failed] == [3]
