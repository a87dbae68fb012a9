"""The commands of snapshots, and the search for the tool."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from wagi_gateway.build.runner import Build
from wagi_gateway.build.snapshot import find_tool, missing_snapshot_tool, snapshot_command
from wagi_gateway.config.settings import BuildConfig, SnapshotConfig
from wagi_gateway.errors import StartupError

SNAPSHOT = SnapshotConfig(module="reactor.wasm", volumes={"/app": "src"})


def program(path: Path, script: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with a shell alone, and a Python without tools beside it."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/bin/python"))
    return tmp_path / "bin"


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ((), None),
        (("bin/wasmtime",), "bin/wasmtime"),
        (("venv/bin/wasmtime",), "venv/bin/wasmtime"),
        (("bin/wasmtime", "venv/bin/wizer"), "venv/bin/wizer"),
        (("bin/wizer-linux-x64", "node_modules/.bin/wizer"), "node_modules/.bin/wizer"),
    ],
)
def test_the_tool(tmp_path: Path, places: tuple[str, ...], found: str | None) -> None:
    for place in places:
        program(tmp_path / place)
    assert find_tool(tmp_path) == (tmp_path / found if found else None)
    missing = missing_snapshot_tool(tmp_path)
    assert (missing is None) == bool(found)
    if missing:
        assert "npm install @bytecodealliance/wizer" in missing.install


@pytest.mark.parametrize(
    ("tool", "options"),
    [
        ("wizer", ["--allow-wasi", "--mapdir", "/app::/base/src"]),
        ("wasmtime", ["wizer", "-S", "cli=y", "-W", "unknown-imports-trap=y", "--dir", "/base/src::/app"]),
    ],
)
def test_the_command(tool: str, options: list[str]) -> None:
    command = snapshot_command(SNAPSHOT, Path("/base"), Path(tool), "main", Path("/out.wasm"))
    functions = ["--init-func", "wizer.initialize", "--rename-func", "main=wizer.resume"]
    assert list(command) == [tool, *options, *functions, "-o", "/out.wasm", "/base/reactor.wasm"]


COPY = 'while [ "$1" != -o ]; do shift; done; cp "$3" "$2"'


@pytest.mark.parametrize(
    ("script", "code", "content"),
    [(COPY, 0, "reactor"), (f"{COPY}; exit 3", 3, "old")],
    ids=["made", "failed"],
)
def test_a_snapshot_replaces_the_module_once_it_is_whole(tmp_path: Path, script: str, code: int, content: str) -> None:
    program(tmp_path / "bin/wizer", script)
    (tmp_path / "m.wasm").write_text("old")
    config = BuildConfig(command=("sh", "-c", "printf reactor > reactor.wasm"), snapshot=SNAPSHOT)
    build = Build(config, tmp_path, output=tmp_path / "m.wasm")
    assert str(build) == "sh -c 'printf reactor > reactor.wasm'; snapshot of reactor.wasm"
    assert build.missing_tool() is None
    assert asyncio.run(build.run()) == code
    assert (tmp_path / "m.wasm").read_text() == content
    assert not list(tmp_path.glob("m.wasm.*"))


def test_a_snapshot_needs_no_command(tmp_path: Path) -> None:
    program(tmp_path / "bin/wizer", COPY)
    (tmp_path / "reactor.wasm").write_text("reactor")
    output: list[bytes] = []
    build = Build(BuildConfig(snapshot=SNAPSHOT), tmp_path, output=tmp_path / "m.wasm")
    assert asyncio.run(build.run(output.append)) == 0
    assert (tmp_path / "m.wasm").read_text() == "reactor"


@pytest.mark.parametrize(
    ("has_tool", "has_reactor", "output", "problem"),
    [
        (False, True, "m.wasm", "there is neither wizer nor wasmtime in PATH; npm install"),
        (True, False, "m.wasm", "there is no file"),
        (True, True, None, "module names no file"),
        (True, True, "nothere/m.wasm", "cannot be written"),
    ],
    ids=["tool", "reactor", "image", "directory"],
)
def test_problems(tmp_path: Path, has_tool: bool, has_reactor: bool, output: str | None, problem: str) -> None:
    if has_tool:
        program(tmp_path / "bin/wizer")
    if has_reactor:
        (tmp_path / "reactor.wasm").touch()
    build = Build(BuildConfig(snapshot=SNAPSHOT), tmp_path, output=tmp_path / output if output else None)
    with pytest.raises(StartupError, match=problem):
        asyncio.run(build.run())


def test_a_failed_command_makes_no_snapshot(tmp_path: Path) -> None:
    program(tmp_path / "bin/wizer", COPY)
    build = Build(BuildConfig(command=("sh", "-c", "exit 9"), snapshot=SNAPSHOT), tmp_path, output=tmp_path / "m.wasm")
    assert asyncio.run(build.run()) == 9
    assert not (tmp_path / "m.wasm").exists()
