"""The loop of `dev`: builds before reloads, the latest change wins, a failure changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support.config import module
from wagi_gateway.config.file import ConfigFile, read_config
from wagi_gateway.dev.builds import Builds
from wagi_gateway.dev.rebuild import Rebuilder
from wagi_gateway.dev.watch import Changes
from wagi_gateway.errors import Problem, StartupError

A = Changes(build=frozenset({"/a"}))


class Loop:
    """A rebuilder with what it has done."""

    def __init__(self, directory: Path, script: str) -> None:
        self.path = directory / "modules.toml"
        self.path.write_text(module("/a", "a.wasm", build={"command": ["sh", "-c", script], "watch": ["*.c"]}))
        self.builds = Builds(lambda *_: None)
        self.reloads = 0
        self.fault: StartupError | None = None
        self.said: list[str] = []
        self.changes: list[bool] = []
        """For each change that a page in the browser shows, whether the latest sources are not served."""
        self.rebuilder = Rebuilder(
            self.read,
            self.builds,
            self.reload,
            files=[self.path],
            notify=lambda text, _: self.said.append(text),
            on_change=lambda: self.changes.append(self.builds.is_broken),
        )

    def read(self) -> ConfigFile:
        return read_config(self.path)

    async def reload(self) -> None:
        if self.fault:
            raise self.fault
        self.reloads += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - the loop has no event
                await asyncio.sleep(0.01)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def test_a_build_leads_to_a_reload(tmp_path: Path) -> None:
    loop = Loop(tmp_path, "true")

    async def main() -> None:
        await loop.rebuilder.rebuild(A)
        await loop.until(lambda: loop.reloads == 1)
        await loop.until(lambda: loop.said == ["reloaded"])
        assert loop.builds.count == 1

    run(main())


def test_a_failed_build_changes_nothing(tmp_path: Path) -> None:
    loop = Loop(tmp_path, "exit 1")

    async def main() -> None:
        await loop.rebuilder.build_all()
        assert (loop.reloads, loop.builds.is_broken) == (0, True)
        assert "failed" in loop.said[0]
        assert loop.changes == [True]

    run(main())


def test_a_failed_reload_is_a_problem_until_the_next(tmp_path: Path) -> None:
    loop = Loop(tmp_path, "true")
    loop.fault = StartupError(Problem("", "x"))

    async def main() -> None:
        await loop.rebuilder.build_all()
        assert loop.builds.problems == (Problem("", "x"),)
        loop.fault = None
        await loop.rebuilder.build_all()
        assert not loop.builds.is_broken
        assert loop.changes == [True, False]

    run(main())


def test_the_latest_change_wins(tmp_path: Path) -> None:
    started = tmp_path / "started"
    loop = Loop(tmp_path, "test -e quick; slow=$?; echo x >>started; test $slow = 0 || sleep 600")

    async def main() -> None:
        await loop.rebuilder.rebuild(A)
        await loop.until(lambda: started.exists() and started.read_text() == "x\n")
        (tmp_path / "quick").touch()
        await loop.rebuilder.rebuild(Changes(config=True))  # builds what was cancelled
        await loop.until(lambda: loop.reloads == 1)

    run(main())
    assert started.read_text() == "x\nx\n"


@pytest.mark.timeout(90)
def test_files_are_watched(tmp_path: Path) -> None:
    loop = Loop(tmp_path, "cp a.c a.wasm")

    async def main() -> None:
        watching = asyncio.create_task(loop.rebuilder.watch())
        for number in range(1, 200):  # the watch may begin after the first one
            (tmp_path / "a.c").write_text(str(number))
            await asyncio.sleep(0.3)
            if loop.reloads:
                break
        await loop.until(lambda: (tmp_path / "a.wasm").exists())
        await asyncio.sleep(0.5)
        before = loop.reloads
        (tmp_path / "a.wasm").write_text("by hand")
        await loop.until(lambda: loop.reloads > before)
        loop.path.write_text("broken = [")
        await loop.until(lambda: bool(loop.builds.problems))
        watching.cancel()
        await asyncio.wait([watching])

    run(main())


def test_a_change_in_a_volume_is_only_told(tmp_path: Path) -> None:
    loop = Loop(tmp_path, "true")

    async def main() -> None:
        await loop.rebuilder._see(Changes(volumes=frozenset({"/a"})))
        assert (loop.said, loop.reloads, loop.changes) == (["changed: /a"], 0, [False])
        await loop.rebuilder._see(Changes())

    run(main())
