"""What the log and `run` show of a module that fails, and that no client and no operator's variable changes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Server, running, warnings
from tests.support import guests
from tests.support.cli import gateway
from tests.support.config import config, guest, module

CRASH = ROOT / "tests" / "support" / "crash.wasm"
DETAILS = {"WASMTIME_BACKTRACE_DETAILS": "1"}
PAGE = b"<p>secret page</p>\n"
CONFIG = config(
    module("/crash", CRASH, limits={"time": "500ms", "memory": "32MiB"}),
    guest("/page", "page"),
    guest("/exit", "exit"),
    log={"level": "debug"},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diagnoses")
    (folder / "page.wat").write_text(guests.says(PAGE))
    (folder / "exit.wat").write_text(guests.exits(255, b"half a header"))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """A server at level debug, in whose environment wasmtime is asked for source lines."""
    with running(folder, CONFIG, cache=folder / "cache", environment=DETAILS) as server:
        yield server


@pytest.mark.parametrize(
    ("how", "status", "line"),
    [
        ("fault", 500, r"500: trap: out of bounds memory access \(memory fault at .+\); in walk, called by run, start"),
        ("divide", 500, "500: trap: integer divide by zero; in divide, called by run, start"),
        ("recurse", 500, r"500: trap: call stack exhausted; in recurse \(\d+ times\)"),
        ("spin", 504, r"504: the guest ran into limits.time \(0.5 s\); in spin, called by run, start"),
        (
            "exhaust",
            500,
            r"500: trap: .+; in exhaust, called by .+; 31 of 32 MiB of memory were in use \(limits.memory\)",
        ),
    ],
)
def test_the_log_names_functions(server: Server, how: str, status: int, line: str) -> None:
    answer = server.get(f"/crash?{how}")
    assert answer.status_code == status
    server.wait_for_log(rf"(?m)WARNING {line} route=/crash id={answer.headers['x-request-id']}$")
    assert "crash.c" not in server.log
    assert not re.search("start|crash|limits", answer.text)


def test_refused_output_is_in_the_log_at_level_debug(server: Server) -> None:
    answer = server.get("/page")
    fields = rf" route=/page id={answer.headers['x-request-id']}$"
    server.wait_for_log(rf'(?m)WARNING 502: the first line has no colon: "<p>secret page</p>"{fields}')
    server.wait_for_log(rf"(?m)DEBUG +the output, which is no response from byte 0 on: <p>secret page</p>\\n{fields}")
    assert "secret" not in answer.text


def test_an_exit_code_within_the_header_block(server: Server) -> None:
    answer = server.get("/exit")
    assert answer.status_code == 500
    fields = rf" route=/exit id={answer.headers['x-request-id']}$"
    server.wait_for_log(
        rf"(?m)WARNING 500: the guest exited with code 255 before its header block was complete{fields}"
    )
    server.wait_for_log(rf"(?m)DEBUG .* from byte 13 on: half a header{fields}")


def test_a_variable_of_wasmtime_changes_no_artefact(server: Server, folder: Path) -> None:
    """With and without WASMTIME_BACKTRACE_DETAILS the gateway compiles the same, once."""
    artefacts = {path: path.stat().st_mtime_ns for path in (folder / "cache").rglob("*.cwasm")}
    other = folder / "other"
    other.mkdir()
    (other / "page.wat").write_text((folder / "page.wat").read_text())
    with running(other, config(guest("/page", "page")), cache=folder / "cache") as second:
        assert second.get("/page").status_code == 502
        second.wait_for_log("502: ")
        assert len(warnings(second.log)) == 1
        assert "secret" not in second.log.replace('"<p>secret page</p>"', "")
    assert {path: path.stat().st_mtime_ns for path in (folder / "cache").rglob("*.cwasm")} == artefacts
    assert "compiled again" not in server.log


@pytest.mark.parametrize("variable", ["", "1"])
def test_run_shows_source_lines(folder: Path, variable: str) -> None:
    result = gateway("run", str(CRASH), "--query", "fault", cwd=folder, WASMTIME_BACKTRACE_DETAILS=variable)
    first, *frames = result.stderr.decode().splitlines()
    assert first.startswith("warning: 500: trap: out of bounds memory access ")
    assert re.fullmatch(r" {4}read_at +\./tests/support/crash\.c:\d+:\d+ \(inlined\)", frames[0])
    assert re.fullmatch(r" {4}walk +\./tests/support/crash\.c:\d+:\d+", frames[1])


def test_run_shows_refused_output(folder: Path) -> None:
    result = gateway("run", "page.wat", cwd=folder)
    assert result.stderr.decode() == (
        'warning: 502: the first line has no colon: "<p>secret page</p>"\n'
        "    the output, which is no response from byte 0 on:\n"
        "    | <p>secret page</p>\n    | ^\n    | \n"
    )


def test_run_says_what_a_module_lacks(folder: Path) -> None:
    (folder / "trap.wat").write_text(guests.TRAP)
    lines = gateway("run", "trap.wat", cwd=folder).stderr.decode().splitlines()
    assert lines[1:] == ["    the module has no function names: it was built with -s, or stripped; build it with -g"]
