"""Output on a terminal, and the options that several commands have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer

from wagi_gateway.cli import terminal
from wagi_gateway.errors import Problem, StartupError
from wagi_gateway.sources.oci.errors import RegistryError


@pytest.fixture(autouse=True)
def _fresh_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """A console on the standard error of this test."""
    monkeypatch.setenv("COLUMNS", "80")
    terminal._stderr.cache_clear()


def test_problems_and_warnings_are_printed_and_end_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    warning = Problem("modules.toml", "old")
    with pytest.raises(typer.Exit) as end, terminal.exit_on_problems(exit_code=3):
        raise StartupError(Problem("", "one"), Problem("modules.toml", "two"), warnings=[warning])
    assert end.value.exit_code == 3
    assert capsys.readouterr() == ("", "warning: modules.toml: old\nerror: one\nerror: modules.toml: two\n")


def test_a_registrys_error_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as end, terminal.exit_on_problems(exit_code=1):
        raise RegistryError("no such manifest", "example.com/hello:1")
    assert end.value.exit_code == 1
    assert capsys.readouterr().err == "error: example.com/hello:1: no such manifest\n"


def test_control_characters_and_markup_are_not_interpreted(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.fail("[bold]\x1b[31mred\nline")
    assert capsys.readouterr().err == "error: [bold]\\x1b[31mred\\nline\n"


def test_a_table_in_a_pipe_wraps_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_table(("where", "what"), [("a\x1b", "x" * 300)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line.strip("│").split("│")] for line in lines] == [["a\\x1b", "x" * 300]]


def test_no_progress_without_a_terminal() -> None:
    with terminal.pulling() as on_progress:
        assert on_progress is None


def test_options_stand_for_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    directory = os.path.join(tmp_path, "cache")
    assert terminal.setting_overrides("cache", None) == {"": {}, "cache": {"directory": directory}}
    assert terminal.setting_overrides(None, "/auth.json") == {"": {"auth_file": "/auth.json"}, "cache": {}}
