"""Start-up reports all modules that cannot run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import guests
from tests.support.config import module
from wagi_gateway.config.file import read_config
from wagi_gateway.errors import StartupError
from wagi_gateway.observe.metrics import LOADS
from wagi_gateway.site.load import load
from wagi_gateway.site.site import Site


def site(directory: Path, config: str, **wat: str) -> Site:
    for name, text in wat.items():
        (directory / f"{name}.wat").write_text(text)
    path = directory / "modules.toml"
    path.write_text(f'[cache]\ndirectory = "cache"\n{config}')
    return load(read_config(path))


def problems(directory: Path, config: str, **wat: str) -> list[str]:
    with pytest.raises(StartupError) as caught:
        site(directory, config, **wat)
    return [problem.what for problem in caught.value.problems]


FUNCTIONS = '(module (func (export "go")) (func (export "add") (param i32)) (memory (export "memory") 1))'


@pytest.mark.parametrize(
    ("wat", "more", "problem"),
    [
        ("(module", "", 'module = "m.wat": does not compile: '),
        (FUNCTIONS, "", 'entrypoint = "_start": there is no such export; m.wat exports go'),
        (FUNCTIONS, 'entrypoint = "goo"', 'entrypoint = "goo": there is no such export; did you mean go?'),
        (FUNCTIONS, 'entrypoint = "add"', 'entrypoint = "add": is exported, but takes values'),
        ('(module (import "env" "f" (func)))', "", 'module = "m.wat": imports env.f, which this gateway does not'),
        (
            '(module (import "wasi_snapshot_preview1" "fd_write" (func)))',
            "",
            'module = "m.wat": imports wasi_snapshot_preview1.fd_write with another signature',
        ),
        (
            '(module (memory (export "memory") 5000) (func (export "_start")))',
            "",
            'module = "m.wat": ',
        ),
        (
            '(module (memory 1) (func $s unreachable) (start $s) (func (export "_start")))',
            "",
            'module = "m.wat": cannot be instantiated: trap: wasm `unreachable` instruction executed',
        ),
        (guests.HELLO, 'volumes = { "/a" = "nothere" }', 'volumes."/a" = "nothere": there is no directory'),
        (guests.HELLO, 'environment = { PATH_INFO = "x" }', "environment.PATH_INFO: the request sets this variable"),
    ],
)
def test_one_problem(tmp_path: Path, wat: str, more: str, problem: str) -> None:
    found = problems(tmp_path, module("/m", "m.wat", more), m=wat)
    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"GIF89a", "is not a WebAssembly module"),
        (b"", "is not a WebAssembly module"),
        (b"\0asm\x0d\0\x01\0", "exports no wasi:cli/run of WASI 0.2"),
        (b"\0asm\x01\0\0\0garbage", "does not compile"),
    ],
)
def test_what_is_no_module(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "m.wasm").write_bytes(content)
    assert problem in problems(tmp_path, module("/m", "m.wasm"))[0]


@pytest.mark.parametrize("route", ["m", "/a/../b", "/a?b"])
def test_bad_routes(tmp_path: Path, route: str) -> None:
    assert problems(tmp_path, module(route, "m.wat"), m=guests.HELLO)[0].startswith(f'route = "{route}": ')


def test_duplicate_routes(tmp_path: Path) -> None:
    found = problems(tmp_path, module("/a", "m.wat") + module("/%61", "m.wat"), m=guests.HELLO)
    assert found == ["the route /%61 is taken by [[module]] 1; give it another one"]


def test_everything_at_once(tmp_path: Path) -> None:
    config = module("/a", "nothere.wasm") + module("b", "m.wat") + module("/c", "m.wat", 'entrypoint = "x"')
    assert len(problems(tmp_path, config, m=guests.HELLO)) == 3


def test_a_module_is_loaded_once(tmp_path: Path) -> None:
    loaded = site(tmp_path, module("/a", "m.wat") + module("/b/...", "n.wat"), m=guests.HELLO, n=guests.HELLO)
    first, second = (endpoint.module for _, endpoint in loaded.routes)
    assert first is second


@pytest.mark.parametrize("route", ["/healthz", "/readyz"])
def test_built_in_routes_win_with_a_warning(tmp_path: Path, route: str) -> None:
    loaded = site(tmp_path, module(route, "m.wat"), m=guests.HELLO)
    assert [warning.what for warning in loaded.warnings] == [f"{route} is built in and wins over this route"]


def routes_module(lines: bytes, then: str = "") -> str:
    """A module whose `_routes` prints `lines`."""
    return (
        guests.says(lines, then=then, imports=guests.PROC_EXIT)
        .replace('(export "_start")', '(export "_routes")')
        .removesuffix(")")
        + ' (func (export "_start")) (func (export "one")) (func (export "two")))'
    )


def test_dynamic_routes(tmp_path: Path) -> None:
    loaded = site(tmp_path, module("/m/...", "m.wat"), m=routes_module(b"/one one\n\n/two/... two\n"))
    assert [(pattern.text, endpoint.entrypoint) for pattern, endpoint in loaded.routes] == [
        ("/m/...", "_start"),
        ("/m/one", "one"),
        ("/m/two/...", "two"),
    ]


def test_dynamic_routes_may_end_with_proc_exit(tmp_path: Path) -> None:
    wat = routes_module(b"/one one\n", then="(call $exit (i32.const 0))")
    assert len(site(tmp_path, module("/m", "m.wat"), m=wat).routes) == 2


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (b"", "_routes: it printed nothing"),
        (b"/one\n", '_routes: it printed "/one"'),
        (b"/one one two\n", '_routes: it printed "/one one two"'),
        (b"  \n/one one\n", '_routes: it printed "  "'),
        (b"/one three\n", '_routes /one = "three": there is no such export'),
    ],
)
def test_bad_dynamic_routes(tmp_path: Path, lines: bytes, problem: str) -> None:
    assert problems(tmp_path, module("/m", "m.wat"), m=routes_module(lines))[0].startswith(problem)


def test_dynamic_routes_that_do_not_end(tmp_path: Path) -> None:
    wat = routes_module(b"/one one\n", then="(loop (br 0))")
    found = problems(tmp_path, module("/m", "m.wat", 'limits = { time = "200ms" }'), m=wat)
    assert found == ["_routes: the guest ran into limits.time (0.2 s)"]


def test_no_message_has_a_password_from_a_reference(tmp_path: Path) -> None:
    (tmp_path / "modules.toml").write_text(module("/x", "oci:user:pass-word@host/x:1"))
    with pytest.raises(StartupError, match=r"\[\[module\]\] 1 \(/x\): module: ") as refused:
        load(read_config(tmp_path / "modules.toml"))
    assert "pass-word" not in str(refused.value)


def test_a_reload_keeps_source_lines(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text('[cache]\ndirectory = "cache"\n' + module("/m", "m.wat"))
    file = read_config(tmp_path / "modules.toml")
    first = load(file, has_source_lines=True)
    second = load(file, previous=first)
    assert second.engine is first.engine
    assert second.loader.settings.has_source_lines
    assert second.loads[LOADS.name, "compiler"] == 0
    for one in (second, first):
        one.close()
