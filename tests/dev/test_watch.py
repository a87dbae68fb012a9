"""What a change of a file asks for."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from wagi_gateway.config.file import config_from_tables
from wagi_gateway.dev.watch import Changes, WatchedFiles, changed_paths

TABLES = {
    "module": [
        {
            "route": "/c",
            "module": "app/c.wasm",
            "build": {"command": ["make"], "directory": "app", "watch": ["src/**"]},
        },
        {"route": "/py", "module": "py.wasm", "volumes": {"/code": "code"}},
        {"route": "/image", "module": "oci:localhost/x:1", "volumes": {"/tmp": {"temporary": "pod"}}},
    ],
    "static": [{"route": "/files/...", "directory": "files"}],
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("app/src/a.c", "app/c.wasm", "py.wasm", "code/a.py", "files/a.css", "modules.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    return tmp_path


@pytest.fixture
def watched(base: Path) -> WatchedFiles:
    return WatchedFiles.of(config_from_tables(base / "modules.toml", copy.deepcopy(TABLES)), [base / "modules.toml"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app/src/a.c", Changes(build=frozenset({"/c"}))),
        ("app/other", Changes()),
        ("code/a.py", Changes(volumes=frozenset({"/py"}))),
        ("files/a.css", Changes(volumes=frozenset({"/files/..."}))),
        ("modules.toml", Changes(config=True)),
        ("py.wasm", Changes(modules=True)),
        ("nothing", Changes()),
    ],
)
def test_a_change(base: Path, watched: WatchedFiles, name: str, expected: Changes) -> None:
    (base / name).write_text("another")
    found = watched.changes([base / name])
    assert found == expected
    assert bool(found) == (expected != Changes())


def test_a_late_event_of_the_version_that_is_served(base: Path, watched: WatchedFiles) -> None:
    assert not watched.changes([base / "py.wasm", base / "modules.toml"])
    (base / "py.wasm").unlink()
    assert watched.changes([base / "py.wasm"]).modules


def test_directories(base: Path, watched: WatchedFiles) -> None:
    assert watched.trees == {base / "app", base / "code", base / "files"}
    assert watched.directories == {base, base / "app"}


def test_an_unreadable_configuration_is_waited_for(base: Path) -> None:
    watched = WatchedFiles.of(None, [base / "modules.toml"])
    assert (watched.trees, watched.directories) == (set(), {base})


@pytest.mark.parametrize("has_watches", [True, False])
def test_changes_are_seen_in_trees_and_directories(
    base: Path, monkeypatch: pytest.MonkeyPatch, has_watches: bool
) -> None:
    follow = watchfiles.awatch

    def awatch(*paths: Path, force_polling: bool | None = None, **options: Any) -> AsyncGenerator[Any, None]:
        if not force_polling and not has_watches:
            raise OSError("OS file watch limit reached")
        return follow(*paths, force_polling=force_polling, **options)

    monkeypatch.setattr(watchfiles, "awatch", awatch)

    async def main() -> set[Path]:
        seen: set[Path] = set()
        async with asyncio.timeout(30), contextlib.aclosing(changed_paths([base], [base / "app"])) as groups:
            writer = asyncio.create_task(write())
            async for paths in groups:
                seen |= paths
                if {base / "py.wasm", base / "app/src/a.c"} <= seen:
                    break
            writer.cancel()
        return seen

    async def write() -> None:
        for number in range(1000):  # the watch may begin after the first ones
            (base / "py.wasm").write_text(str(number))
            (base / "app/src/a.c").write_text(str(number))
            (base / "code/a.py").write_text(str(number))
            await asyncio.sleep(0.2)

    assert base / "code/a.py" not in asyncio.run(main())
