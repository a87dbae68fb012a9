"""The commands `new` and `add`."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest

from tests.support.cli import gateway
from wagi_gateway.config.file import read_config


def test_new_and_add(tmp_path: Path) -> None:
    result = gateway("new", "first", "--lang", "wat", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().splitlines() == [
        "first: WebAssembly text, served at /...",
        "cd first && wagi-gateway dev",
    ]
    result = gateway("add", "second", "--lang", "QuickJS", cwd=tmp_path / "first")
    assert result.stdout == b"second: JavaScript on QuickJS, served at /second/... by modules.toml\n"
    file = read_config(tmp_path / "first/modules.toml")
    assert [module.route for module in file.config.module] == ["/...", "/second/..."]
    assert gateway("check", "modules.toml", cwd=tmp_path / "first").returncode == 0


def test_a_missing_tool_is_named_before_the_first_build(tmp_path: Path) -> None:
    result = gateway("new", "a", "--lang", "rust", cwd=tmp_path, PATH="/nowhere")
    assert result.returncode == 0
    assert result.stderr.decode() == (
        "warning: there is no program cargo in PATH; before the first build: install Rust from https://rustup.rs, "
        "then: rustup target add wasm32-wasip1\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new"], "NAME: missing; give the name of the folder to make"),
        (
            ["new", "a"],
            "--lang: missing; give one of c, rust, go, python, javascript, assemblyscript, zig, wat, quickjs",
        ),
        (["new", "a", "--lang", "perl"], '--lang: "perl": there is no such template; give one of c, rust, go,'),
        (["new", "../a", "--lang", "c"], 'NAME: "../a": a name is no path; write a letter, then letters of English,'),
        (["new", "there", "--lang", "c"], "NAME: there exists already; nothing is overwritten"),
        (["new", "a", "--lang", "c", "--route", "a"], '--route: "a": a route starts with "/"; write "/a"'),
        (["add", "a", "--lang", "c"], "modules.toml: cannot be read: No such file or directory"),
        (["add", "a", "--lang", "c", "--config", "there"], "there: cannot be read: Is a directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_new_says_what_is_wrong(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "there").mkdir()
    result = gateway(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.decode().startswith(f"error: {message}")
    assert {path.name for path in tmp_path.iterdir()} <= {"there", "cache"}


def test_new_asks_on_a_terminal(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, [sys.executable, "-m", "wagi_gateway", "new"])
    os.write(terminal, b"first\nwat\n")
    output = b""
    try:
        while piece := os.read(terminal, 4096):
            output += piece
    except OSError:  # EIO: the program has ended
        pass
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, output
    assert b"Name of the new folder: " in output
    assert b"Language (c, rust, go, python, javascript, assemblyscript, zig, wat, quickjs): " in output
    assert (tmp_path / "first/main.wat").is_file()
