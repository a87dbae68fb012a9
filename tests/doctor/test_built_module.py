"""A module beside its sources and tools."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.modules import binary
from wagi_gateway.config.settings import BuildConfig, ModuleConfig
from wagi_gateway.doctor.built_module import examine_module
from wagi_gateway.doctor.finding import Finding

NAMED, STRIPPED = binary("(func $f)"), binary("(func)")
IS_BUILT = ("ok", "/a: is built by true", "")
IS_NAMED = ("ok", "/a: a.wasm has names of functions, and no source lines", "")
BUILD = "wagi-gateway build /a"


def examine(base: Path, *, module: str = "a.wasm", build: BuildConfig | None = None) -> list[Finding]:
    """The findings about a module."""
    return list(examine_module(ModuleConfig(route="/a", module=module, build=build), base))


def build(*watch: str, command: str = "true", directory: str = ".") -> BuildConfig:
    return BuildConfig(command=(command,), directory=directory, watch=watch)


def write(path: Path, data: bytes, time: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time, time))


@pytest.mark.parametrize(
    ("time", "found"),
    [
        pytest.param(1, [("warning", "/a: a.wasm is older than src/b.c", BUILD)], id="older"),
        pytest.param(3, [], id="newer"),
        pytest.param(2, [], id="of-the-same-time"),
    ],
)
def test_the_age_of_a_module(tmp_path: Path, time: int, found: list[object]) -> None:
    write(tmp_path / "src/a.c", b"", 1)
    write(tmp_path / "src/b.c", b"", 2)
    write(tmp_path / "a.wasm", NAMED, time)
    assert examine(tmp_path, build=build("src/*.c", "*.h")) == [IS_BUILT, *found, IS_NAMED]


def test_the_module_is_none_of_its_sources(tmp_path: Path) -> None:
    write(tmp_path / "a.wasm", NAMED, 1)
    assert examine(tmp_path, build=build("**")) == [
        IS_BUILT,
        ("warning", f"/a: build.watch matches no file in {tmp_path}", ""),
        IS_NAMED,
    ]


@pytest.mark.parametrize(
    ("command", "directory", "found"),
    [
        pytest.param("true", ".", [IS_BUILT, ("warning", "/a: a.wasm is not built yet", BUILD)], id="not-built"),
        pytest.param(
            "nothere",
            ".",
            [
                ("error", "/a: there is no program nothere in PATH", "install it, or change build.command"),
                ("warning", "/a: a.wasm is not built yet", BUILD),
            ],
            id="no-tool",
        ),
        pytest.param(
            "true",
            "nowhere",
            [
                ("error", "/a: build.directory: there is no directory {}/nowhere", ""),
                ("warning", "/a: a.wasm is not built yet", BUILD),
            ],
            id="no-directory",
        ),
    ],
)
def test_a_module_that_is_not_built(
    tmp_path: Path, command: str, directory: str, found: list[tuple[str, str, str]]
) -> None:
    expected = [(level, what.format(tmp_path), advice) for level, what, advice in found]
    assert examine(tmp_path, build=build(command=command, directory=directory)) == expected


@pytest.mark.parametrize(
    ("module", "own", "level"),
    [("a.wasm", build(), "warning"), ("a.wasm", None, "note"), ("node_modules/a.wasm", build(), "note")],
    ids=["built-here", "not-built-here", "of-a-package"],
)
def test_a_stripped_module_is_named(tmp_path: Path, module: str, own: BuildConfig | None, level: str) -> None:
    write(tmp_path / module, STRIPPED, 1)
    assert examine(tmp_path, module=module, build=own)[-1] == (
        level,
        "/a: a.wasm is stripped: the backtrace of a trap has no names of functions",
        "build without -s or strip, and with -g for source lines",
    )


@pytest.mark.parametrize("module", ["oci:registry.example/a:1", "https://example.com/a.wasm", "a.wat", "a.wasm"])
def test_there_is_nothing_to_say(tmp_path: Path, module: str) -> None:
    (tmp_path / "a.wat").write_text("(module)")
    assert examine(tmp_path, module=module) == []


def test_a_module_that_cannot_be_read_is_left_to_check(tmp_path: Path) -> None:
    (tmp_path / "a.wasm").symlink_to("/proc/self/mem")
    assert examine(tmp_path) == []
