"""Tools that a build command lacks, with programs that answer as the tools do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.support.processes import is_alive
from wagi_gateway.build import toolchain
from wagi_gateway.build.toolchain import missing_tool


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is in PATH, with `env` and this Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "env").symlink_to("/usr/bin/env")
    (folder / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str = "exit 0") -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


CARGO = ["cargo", "build", "--target", "wasm32-wasip1"]


@pytest.mark.parametrize(
    ("command", "what", "install"),
    [
        (["nothere"], "there is no program nothere in PATH", "install it, or change build.command"),
        (["./nothere"], "there is no program at {}/nothere", "change build.command"),
        (CARGO, "there is no program cargo in PATH", "rustup target add wasm32-wasip1"),
        (["env", "GOOS=wasip1", "A=", "go", "build"], "there is no program go in PATH", "https://go.dev/dl"),
        (["npm", "ci"], "there is no program npm in PATH", "https://nodejs.org"),
        (["python3", "-m", "nothere.at_all"], "python3 has no module nothere", "python3 -m pip install nothere"),
        (["zig", "cc"], "there is no program zig in PATH", "pip install ziglang==0.17.1"),
        (["sh", "-c", "cd x && npm ci; A=1 cargo build"], "there is no program sh in PATH", "install it"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_tool_that_is_missing_is_named(
    tools: Path, tmp_path: Path, command: list[str], what: str, install: str
) -> None:
    assert tools
    missing = missing_tool(command, tmp_path)
    assert missing
    assert missing.what == what.format(tmp_path)
    assert install in missing.install


@pytest.mark.parametrize(
    "command",
    [
        ["python3", "-m", "json.tool"],
        ["python3", "-c", "pass"],
        ["python3"],
        ["env", "A=1"],
        ["env"],
        ["./build.sh"],
        ["cargo", "build"],
        ["cargo", "build", "--target"],
        ["cargo", "build", "--target=wasm32-wasip1"],
        CARGO,
        ["rustc", "--target", "wasm32-wasip1"],
        ["go", "build"],
        ["make"],
    ],
    ids=" ".join,
)
def test_nothing_is_missing(tools: Path, tmp_path: Path, command: list[str]) -> None:
    for name in ("cargo", "make"):
        program(tools, name)
    program(tools, "rustc", f'[ "$*" = "--print target-libdir --target wasm32-wasip1" ] && echo {tmp_path}')
    program(tools, "go", "echo go version go1.21.0 linux/amd64")
    program(tmp_path, "build.sh")
    assert missing_tool(command, tmp_path) is None


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("npm install && npm run build", "there is no program npm in PATH"),
        ("mkdir -p x\ncd x; A=1 B='2 3' tinygo build", "there is no program tinygo in PATH"),
        ("(test -d x || asc x)", "there is no program asc in PATH"),
        ("env GOOS=wasip1 go build", "there is no program go in PATH"),
        ("mkdir x && ./own && 'open", None),
        ("", None),
    ],
)
def test_the_tools_of_a_shell_command_are_looked_for(
    tools: Path, tmp_path: Path, script: str, what: str | None
) -> None:
    program(tools, "sh")
    missing = missing_tool(["sh", "-c", script], tmp_path)
    assert (missing and missing.what) == what


def test_the_old_name_of_the_target_of_rust_is_named(tools: Path, tmp_path: Path) -> None:
    program(tools, "cargo")
    program(tools, "rustc", "exit 1")
    assert missing_tool(["cargo", "build", "--target", "wasm32-wasi", "--release"], tmp_path) == (
        "rustc has no target wasm32-wasi",
        "write wasm32-wasip1 in its place, and: rustup target add wasm32-wasip1",
    )


@pytest.mark.parametrize("script", ["exit 1", "echo /nowhere"], ids=["unknown-target", "not-installed"])
def test_a_target_that_is_missing_is_named(tools: Path, tmp_path: Path, script: str) -> None:
    program(tools, "cargo")
    program(tools, "rustc", script)
    expected = ("rustc has no target wasm32-wasip1", "rustup target add wasm32-wasip1")
    assert missing_tool(CARGO, tmp_path) == expected


def test_cargo_alone_is_not_enough(tools: Path, tmp_path: Path) -> None:
    program(tools, "cargo")
    missing = missing_tool(CARGO, tmp_path)
    assert missing
    assert missing.what == "there is no program rustc in PATH"


def test_an_old_go_is_named(tools: Path, tmp_path: Path) -> None:
    program(tools, "go", "echo go version go1.19.8 linux/amd64")
    missing = missing_tool(["go", "build"], tmp_path)
    assert missing
    assert missing.what == "Go 1.19 has no GOOS=wasip1"


@pytest.mark.parametrize("script", ["exec /bin/sleep 60", "echo what?"], ids=["no-answer", "another-answer"])
def test_a_tool_that_does_not_say_counts_as_installed(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(toolchain, "PROBE", 0.2)
    program(tools, "go", script)
    assert missing_tool(["go", "build"], tmp_path) is None


def test_no_process_of_a_tool_is_left(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "PROBE", 1.0)
    program(tools, "go", f"/bin/sleep 600 & echo $! >{tmp_path}/child; wait")
    assert missing_tool(["go", "build"], tmp_path) is None
    wait_until(lambda: not is_alive(int((tmp_path / "child").read_text())))


@pytest.mark.parametrize("script", ["exec /usr/bin/yes", "/bin/sleep 600 &"], ids=["endless-answer", "left-behind"])
def test_an_odd_answer_takes_neither_memory_nor_time(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(toolchain, "PROBE", 0.5)
    program(tools, "go", script)
    assert missing_tool(["go", "build"], tmp_path) is None


@pytest.mark.parametrize("module", ["json", "nothere"])
def test_no_file_of_the_directory_is_executed(tools: Path, tmp_path: Path, module: str) -> None:
    """`python3 -c` imports modules of its working directory; rustup executes a toolchain that a file there names."""
    (tmp_path / "importlib").mkdir()
    for name in ("importlib/__init__.py", "importlib/util.py", "sitecustomize.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    (tmp_path / "rust-toolchain.toml").write_text('[toolchain]\npath = "evil"\n')
    (tmp_path / "app").mkdir()
    program(tools, "cargo")
    program(tools, "rustc", f"touch {tmp_path}/executed")
    program(tools, "go", f"[ -e go.mod ] && touch {tmp_path}/executed")
    (tmp_path / "go.mod").write_text("module m\ntoolchain go1.99.0\n")
    missing_tool(["python3", "-m", module], tmp_path)
    for directory in (tmp_path, tmp_path / "app"):
        assert missing_tool(CARGO, directory) is None
    assert missing_tool(["go", "build"], tmp_path) is None
    assert not (tmp_path / "executed").exists()


def test_a_module_of_the_directory_is_there(tools: Path, tmp_path: Path) -> None:
    assert tools
    (tmp_path / "own.py").touch()
    assert missing_tool(["python3", "-m", "own"], tmp_path) is None


def test_the_command_itself_is_not_executed(tools: Path, tmp_path: Path) -> None:
    for name in ("cargo", "npm", "make"):
        program(tools, name, f"touch {tmp_path}/executed")
        missing_tool([name, "build"], tmp_path)
    program(tmp_path, "python3", f"touch {tmp_path}/executed")
    missing_tool(["./python3", "-m", "json"], tmp_path)
    assert not (tmp_path / "executed").exists()
