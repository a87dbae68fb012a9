"""A build command: output, exit code, and the end of its process group."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.support.processes import is_alive
from wagi_gateway.build.runner import Build
from wagi_gateway.config.settings import BuildConfig
from wagi_gateway.errors import StartupError

SLEEPER = "sleep 600 & echo $! >child; echo started; trap '' TERM; wait; wait"
"""A shell that ignores SIGTERM, and its child, which does not."""


def build(*command: str, base: Path, directory: str = ".", grace: float = 0.1) -> Build:
    return Build(BuildConfig(command=command, directory=directory), base, grace=grace)


def run(one: Build) -> tuple[int, bytes]:
    """The exit code and the output."""
    output: list[bytes] = []
    return asyncio.run(one.run(output.append)), b"".join(output)


@pytest.mark.parametrize(
    ("script", "code", "output"),
    [
        pytest.param("echo out; echo err >&2; echo out", 0, b"out\nerr\nout\n", id="both-streams-in-order"),
        pytest.param("exit 3", 3, b"", id="exit-code"),
        pytest.param("kill -KILL $$", -signal.SIGKILL, b"", id="signal"),
        pytest.param(r"printf 'a\033[1m\000\377'", 0, b"a\x1b[1m\0\xff", id="any-byte"),
        pytest.param("cat", 0, b"", id="no-input"),
        pytest.param("head -c 3000000 /dev/zero", 0, bytes(3_000_000), id="more-than-a-pipe"),
    ],
)
def test_a_build_runs_to_its_end(tmp_path: Path, script: str, code: int, output: bytes) -> None:
    assert run(build("sh", "-c", script, base=tmp_path)) == (code, output)


def test_no_shell_reads_the_words(tmp_path: Path) -> None:
    one = build("printf", "%s|", "a b", "$HOME", "*", "", base=tmp_path)
    assert run(one) == (0, b"a b|$HOME|*||")
    assert str(one) == "printf '%s|' 'a b' '$HOME' '*' ''"


def test_a_build_runs_in_its_directory(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    script = tmp_path / "app/build.sh"
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(0o755)
    assert run(build("./build.sh", base=tmp_path, directory="app")) == (0, f"{tmp_path}/app\n".encode())


def test_a_build_may_run_again(tmp_path: Path) -> None:
    one = build("sh", "-c", "echo x >>file; cat file", base=tmp_path)
    assert [run(one), run(one)] == [(0, b"x\n"), (0, b"x\nx\n")]


def test_output_without_a_callback_is_that_of_the_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(build("sh", "-c", "echo out; echo err >&2", base=tmp_path).run()) == 0
    assert capfd.readouterr() == ("out\n", "err\n")


@pytest.mark.parametrize(
    ("command", "directory", "message"),
    [
        ("nothere", ".", "build.command: there is no program nothere in PATH; install it or change the command"),
        ("./nothere", ".", "build.command: there is no program at {}/nothere; install it or change the command"),
        ("sh", "nowhere", "build.directory: there is no directory {}/nowhere"),
        ("./text", ".", "build.command: ./text cannot be started: Exec format error"),
    ],
)
def test_a_build_that_cannot_start_says_why(tmp_path: Path, command: str, directory: str, message: str) -> None:
    (tmp_path / "text").write_bytes(b"\0no program")
    (tmp_path / "text").chmod(0o755)
    with pytest.raises(StartupError) as refusal:
        run(build(command, base=tmp_path, directory=directory))
    assert str(refusal.value) == message.format(tmp_path)


def test_a_process_that_is_left_behind_holds_nothing_up(tmp_path: Path) -> None:
    code, output = run(build("sh", "-c", "yes & echo $! >child; exit 0", base=tmp_path))
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    assert code == 0
    assert len(output) <= 100 * 65536


def test_a_cancelled_build_ends_its_whole_group(tmp_path: Path) -> None:
    async def cancel() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(build("sh", "-c", SLEEPER, base=tmp_path).run(lambda _: started.set()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not is_alive(child))
