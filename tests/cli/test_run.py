"""The command `run`: its options, of which each limit has one."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import guests
from tests.support.config import config, guest
from tests.support.env_guest import ENV, seen
from wagi_gateway.cli.limit_options import LIMITS, limit_option
from wagi_gateway.cli.main import app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(config(guest("/m", "m"), cache={"enabled": False}))
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["run", *arguments])
    return result.exit_code, result.output


def test_the_help_names_every_option() -> None:
    code, output = run("--help")
    assert code == 0
    options = "--path --query --method -X --head -I --header -H --cookie -b --data -d --data-raw --json".split()
    options += "--include -i --body --raw --env -e --volume".split()
    assert [option for option in [*options, *map(limit_option, LIMITS)] if option not in output] == []


@pytest.mark.parametrize("options", [[], ["-i"], ["--include"]])
def test_the_head_is_printed_by_default(options: list[str]) -> None:
    code, output = run("--path", "/m", *options)
    assert code == 0
    assert output.startswith("HTTP/1.1 200 OK")
    assert output.endswith("hello world\n")


@pytest.mark.parametrize(
    ("options", "method", "field", "stdin"),
    [
        (["-I"], b"HEAD", ("HTTP_HOST", b"localhost"), None),
        (["-I", "-X", "OPTIONS"], b"OPTIONS", ("HTTP_HOST", b"localhost"), b""),
        (["-b", "a=1", "--cookie", "b=2"], b"GET", ("HTTP_COOKIE", b"a=1; b=2"), b""),
        (["--data-raw", "@x"], b"POST", ("CONTENT_TYPE", b"application/x-www-form-urlencoded"), b"@x"),
        (["--json", "[1]"], b"POST", ("HTTP_ACCEPT", b"application/json"), b"[1]"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_of_curl(
    folder: Path, options: list[str], method: bytes, field: tuple[str, bytes], stdin: bytes | None
) -> None:
    (folder / "env.wat").write_text(ENV)
    result = CliRunner().invoke(app, ["run", "env.wat", "--raw", *options])
    found = seen(result.stdout_bytes.partition(b"\n\n")[2])
    assert (found["REQUEST_METHOD"], found[field[0]]) == (method, field[1])
    assert found.stdin == (stdin or b"")


@pytest.mark.parametrize("options", [["--body", "--raw"], ["-d", "a", "--json", "b"]])
def test_options_that_exclude_each_other(options: list[str]) -> None:
    code, output = run("--path", "/m", *options)
    assert code == 2
    assert "give one of them" in output


@pytest.mark.parametrize(("option", "output"), [("--body", "hello world\n"), ("--raw", "content-type: text/plain\n")])
def test_what_is_printed(option: str, output: str) -> None:
    code, printed = run("modules.toml", "--path", "/m", option)
    assert code == 0
    assert printed.startswith(output)
