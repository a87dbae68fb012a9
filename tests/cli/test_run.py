"""The command `run`: its options, of which each limit has one."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import guests
from tests.support.config import config, guest
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
    options = "--path --query --method -X --header -H --data -d --include -i --body --raw --env -e --volume".split()
    assert [option for option in [*options, *map(limit_option, LIMITS)] if option not in output] == []


@pytest.mark.parametrize("options", [[], ["-i"], ["--include"]])
def test_the_head_is_printed_by_default(options: list[str]) -> None:
    code, output = run("--path", "/m", *options)
    assert code == 0
    assert output.startswith("HTTP/1.1 200 OK")
    assert output.endswith("hello world\n")


@pytest.mark.parametrize(("option", "output"), [("--body", "hello world\n"), ("--raw", "content-type: text/plain\n")])
def test_what_is_printed(option: str, output: str) -> None:
    code, printed = run("modules.toml", "--path", "/m", option)
    assert code == 0
    assert printed.startswith(output)
