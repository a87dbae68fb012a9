"""The command `build`: order, output, exit codes and signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.support.cli import gateway
from tests.support.config import config, module
from tests.support.processes import is_alive


def write(folder: Path, **scripts: str) -> None:
    """A modules.toml with a build of these shell scripts, which make `NAME.wasm`."""
    modules = [
        module(f"/{name}", f"{name}.wasm", build={"command": ["sh", "-c", script]}) for name, script in scripts.items()
    ]
    (folder / "modules.toml").write_text(config(*modules))


def test_builds_run_in_the_order_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, b="echo b; touch b.wasm", a="echo a; echo err >&2; touch a.wasm")
    result = gateway("build", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, b"b\na\n")
    assert result.stderr.decode().splitlines() == [
        "Building /b: sh -c 'echo b; touch b.wasm'",
        "Building /a: sh -c 'echo a; echo err >&2; touch a.wasm'",
        "err",
    ]


def test_one_route_is_built(tmp_path: Path) -> None:
    write(tmp_path, a="touch a.wasm", b="touch b.wasm")
    (tmp_path / "modules.toml").rename(tmp_path / "other.toml")
    assert gateway("build", "/b", "--config", "other.toml", cwd=tmp_path).returncode == 0
    assert [path.name for path in tmp_path.glob("*.wasm")] == ["b.wasm"]


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        ("exit 7", 7, "ended with exit code 7: sh -c 'exit 7'"),
        ("kill -ABRT $$", 134, "ended by SIGABRT: sh -c 'kill -ABRT $$'"),
        (":", 3, "made no {}/a.wasm; module names that file"),
    ],
    ids=["exit-code", "signal", "no-module"],
)
def test_the_first_failure_ends_the_builds(tmp_path: Path, script: str, code: int, message: str) -> None:
    write(tmp_path, a=script, b="touch b.wasm")
    result = gateway("build", cwd=tmp_path)
    last = f"error: modules.toml: [[module]] 1 (/a): build: {message.format(tmp_path)}"
    assert (result.returncode, result.stderr.decode().splitlines()[-1]) == (code, last)
    assert not (tmp_path / "b.wasm").exists()


@pytest.mark.parametrize(
    ("text", "arguments", "code", "message"),
    [
        (config(module("/a", "a.wat")), [], 0, "Nothing to build: no [[module]] in modules.toml has a build."),
        (config(module("/a", "a.wat")), ["/b"], 3, "error: ROUTE: modules.toml has no route /b; did you mean /a?"),
        (
            config(module("/a", "a.wat")),
            ["b.toml"],
            3,
            'error: ROUTE: "b.toml": a route begins with "/"; --config names another file than modules.toml',
        ),
        (
            config(module("/a", "bindle:x", build={"command": ["true"]})),
            [],
            0,
            "Building /a: true",
        ),
        (
            config(module("/a", "a.wasm", build={"command": ["nothere"]})),
            [],
            3,
            "error: modules.toml: [[module]] 1 (/a): build: there is no program nothere in PATH; "
            "install it, or change build.command",
        ),
        (
            config(module("/a", "a.wasm", build={"command": ["true"], "directory": "nowhere"})),
            [],
            3,
            "error: modules.toml: [[module]] 1 (/a): build.directory: there is no directory {}/nowhere",
        ),
        (
            '[[module]]\nroute = "/a"\n',
            [],
            3,
            "error: modules.toml: [[module]] 1 (/a): module: missing; it has no default",
        ),
    ],
    ids=["nothing", "no-route", "no-path", "no-file", "no-tool", "no-directory", "mistake"],
)
def test_build_says_what_is_wrong(tmp_path: Path, text: str, arguments: list[str], code: int, message: str) -> None:
    (tmp_path / "modules.toml").write_text(text)
    result = gateway("build", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stderr.decode().splitlines()[-1]) == (code, message.format(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_the_whole_build(tmp_path: Path, number: signal.Signals) -> None:
    write(tmp_path, a="sleep 600 & echo $! >new; mv new child; wait")
    command = [sys.executable, "-m", "wagi_gateway", "build"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_until((tmp_path / "child").exists, message=lambda: "the build did not start")
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert f"build: ended by {number.name}" in errors
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not is_alive(child))


@pytest.mark.parametrize("tool", ["component-init-transform", "wit-component"])
def test_secrets_are_named_for_a_preinitialised_component(tmp_path: Path, tool: str) -> None:
    write(tmp_path, a=rf"printf '\0asm\15\0\1\0{tool}' >a.wasm")
    result = gateway("build", cwd=tmp_path, API_TOKEN="x")
    warned = b"API_TOKEN" in result.stderr and b"warning: modules.toml: [[module]] 1 (/a): build: the " in result.stderr
    assert (result.returncode, warned) == (0, tool == "component-init-transform")
