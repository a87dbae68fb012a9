"""The endpoints of `[[module]]` tables, and what is found of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.components import bare
from tests.support.config import config, guest, module
from wagi_gateway.config.file import cache_directory, read_config
from wagi_gateway.router import RoutePattern
from wagi_gateway.site.endpoints import EndpointLoader
from wagi_gateway.site.findings import Findings
from wagi_gateway.site.modules import ModuleLoader
from wagi_gateway.site.route_owners import RouteOwners
from wagi_gateway.site.site import Endpoint
from wagi_gateway.sources.modules import ModuleSources

CALLS = """(module (import "wasi_experimental_http" "close" (func (param i32) (result i32)))
 (memory (export "memory") 1) (func (export "_start")) (func (export "one")))"""


def endpoints(
    directory: Path, *modules: str, **settings: object
) -> tuple[list[tuple[RoutePattern, Endpoint]], Findings]:
    for name, wat in {"m": guests.HELLO, "php": guests.HELLO, "calls": CALLS}.items():
        (directory / f"{name}.wat").write_text(wat)
    path = directory / "modules.toml"
    path.write_text(config(*modules, cache={"enabled": False}, **settings))
    file, findings = read_config(path), Findings("file")
    sources = ModuleSources(file.config, file.base, cache_directory(file))
    loader = ModuleLoader(file.config, cache_directory(file), findings)
    return EndpointLoader(file, sources, loader, RouteOwners(), findings).routes(), findings


def test_an_endpoint_has_the_settings_of_its_module(tmp_path: Path) -> None:
    own = module("/a/...", "calls.wat", entrypoint="one", environment={"B": "own"})
    routes, findings = endpoints(tmp_path, guest("/", "m"), own, environment={"A": "all", "B": "all"})
    assert (findings.problems, findings.warnings) == ([], [])
    assert [(pattern.text, endpoint.number, endpoint.entrypoint) for pattern, endpoint in routes] == [
        ("/", 0, "_start"),
        ("/a/...", 1, "one"),
    ]
    assert routes[1][1].operator == {b"A": b"all", b"B": b"own"}
    assert routes[1][1].volumes == ()


@pytest.mark.parametrize(
    ("name", "imported"), [("m", ""), ("calls", "httpcore2 wagi_gateway.outbound.session")], ids=["no calls", "calls"]
)
def test_httpcore_is_imported_with_the_first_module_that_makes_calls(tmp_path: Path, name: str, imported: str) -> None:
    (tmp_path / f"{name}.wat").write_text(CALLS if name == "calls" else guests.HELLO)
    (tmp_path / "modules.toml").write_text(config(guest("/", name), cache={"enabled": False}))
    code = """
import sys
import wagi_gateway.server.serve
from wagi_gateway.config.file import read_config
from wagi_gateway.site.load import load
load(read_config("modules.toml")).close()
print(*sorted({"httpcore2", "wagi_gateway.outbound.session"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == imported


def test_a_client_is_made_for_modules_that_import_it(tmp_path: Path) -> None:
    routes, _ = endpoints(tmp_path, guest("/m", "m"), guest("/calls", "calls"))
    assert [endpoint.outbound is not None for _, endpoint in routes] == [False, True]


def test_a_faulty_module_leaves_the_others(tmp_path: Path) -> None:
    routes, findings = endpoints(tmp_path, guest("/a", "missing"), guest("/b", "m"))
    assert [pattern.text for pattern, _ in routes] == ["/b"]
    assert len(findings.problems) == 1


ANY_PORT = ["*.a.example"]


@pytest.mark.parametrize(
    ("table", "proxy", "warning"),
    [
        (guest("/", "m"), False, None),
        (module("/", "m.wat", allowed_hosts=["http://a.example/path"]), False, '"/path" is not compared'),
        (module("/", "m.wat", allowed_hosts=ANY_PORT), False, None),
        (module("/", "m.wat", allowed_hosts=ANY_PORT), True, "because outbound.proxy resolves it"),
        (module("/", "m.wat", allowed_hosts=ANY_PORT, allow_private_networks=True), True, None),
        (guest("/", "php"), False, "becomes an option of this interpreter"),
        (module("/", "php.wat", argv="php"), False, None),
        (module("/", "php.wat", argv_mode="none"), False, None),
        (guest("/.../a", "m"), False, '"..." stands for everything below at the end only'),
    ],
    ids="none|path|wildcard|wildcard, proxy|private, proxy|interpreter|argv|argv_mode|dots".split("|"),
)
def test_doubtful_settings_are_warned_of(tmp_path: Path, table: str, proxy: bool, warning: str | None) -> None:
    settings = {"outbound": {"proxy": "http://p.example:3128"}} if proxy else {}
    _, findings = endpoints(tmp_path, table, **settings)
    assert findings.problems == []
    assert len(findings.warnings) == (warning is not None)
    assert all(warning and warning in found.what for found in findings.warnings)


NAMES = {
    "many": (f"e{number}" for number in range(20_000)),
    "long": (f"entr{number}{'y' * 20_000}" for number in range(40)),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.timeout(60)
def test_a_missing_entrypoint_of_a_module_with_many_functions(tmp_path: Path, names: Iterable[str]) -> None:
    """Comparing all of them would take minutes."""
    text = "".join(f'(export "{name}" (func $f))' for name in names)
    (tmp_path / "names.wat").write_text(f"(module (func $f) {text})")
    _, findings = endpoints(tmp_path, module("/", "names.wat", entrypoint="entry" * 100))
    (problem,) = findings.problems
    assert "there is no such export; " in problem.what
    assert len(problem.what) < 5000


def test_an_invalid_ca_file_is_a_problem_once(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    calling = [module(f"/{name}", "calls.wat", allowed_hosts=["a.example"]) for name in "ab"]
    _, findings = endpoints(tmp_path, *calling, outbound={"ca_file": "ca.pem"})
    assert [problem.what[:28] for problem in findings.problems] == ['outbound.ca_file = "ca.pem":']


MISSING = """(module (import "env" "f" (func)) (import "env" "g" (func (param f64) (result i32)))
 (import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32 i32) (result i32)))
 (memory (export "memory") 1) (func (export "_start")))"""


def test_each_missing_import_that_traps_is_named(tmp_path: Path) -> None:
    (tmp_path / "missing.wat").write_text(MISSING)
    routes, findings = endpoints(tmp_path, module("/a", "missing.wat", 'missing_imports = "trap"'))
    assert (len(routes), findings.problems) == (1, [])
    assert [warning.what.partition(", ")[0] for warning in findings.warnings] == [
        f'missing_imports = "trap": a call of {name} traps'
        for name in ("env.f", "env.g", "wasi_snapshot_preview1.sock_open")
    ]


def test_missing_imports_of_a_component_are_refused_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "component.wat").write_text(bare())
    routes, findings = endpoints(tmp_path, module("/a", "component.wat", 'missing_imports = "trap"'))
    assert (len(routes), findings.problems) == (1, [])
    assert [warning.what for warning in findings.warnings] == [
        'missing_imports = "trap": component.wat is a component, whose missing imports are refused; remove the key'
    ]
    (tmp_path / "other.wat").write_text(bare(more='(import "other:host/calls" (instance))'))
    routes, findings = endpoints(tmp_path, module("/a", "other.wat", 'missing_imports = "trap"'))
    assert (routes, len(findings.problems)) == ([], 1)
    assert "imports other:host/calls, which this gateway does not provide" in findings.problems[0].what


def test_a_module_with_missing_imports_is_still_refused_without_the_setting(tmp_path: Path) -> None:
    """The machine code is shared, the permission is not."""
    (tmp_path / "missing.wat").write_text(MISSING)
    trap = 'missing_imports = "trap"'
    routes, findings = endpoints(tmp_path, module("/a", "missing.wat", trap), module("/b", "missing.wat"))
    assert [pattern.text for pattern, _ in routes] == ["/a"]
    assert len(findings.problems) == 2


@pytest.mark.parametrize(("count", "warnings"), [(0, 1), (100, 100), (150, 101)])
def test_warnings_of_missing_imports_are_bounded(tmp_path: Path, count: int, warnings: int) -> None:
    imports = "".join(f'(import "env" "f{number}" (func))' for number in range(count))
    (tmp_path / "missing.wat").write_text(f'(module {imports} (memory (export "memory") 1) (func (export "_start")))')
    _, findings = endpoints(tmp_path, module("/a", "missing.wat", 'missing_imports = "trap"'))
    assert len(findings.warnings) == warnings


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ('(import "env" "memory" (memory 1))', "imports the memory env.memory, which this gateway does not provide"),
        ('(import "env" "table" (table 1 funcref))', "imports the table env.table, which"),
        ('(import "env" "base" (global i32))', "imports the global env.base, which"),
        ('(import "a" "f" (func)) (import "a" "f" (func (param i32)))', "imports a.f twice, with two signatures"),
        ('(import "wasi_snapshot_preview1" "fd_write" (func))', "imports wasi_snapshot_preview1.fd_write with another"),
    ],
)
def test_what_cannot_trap_is_refused(tmp_path: Path, field: str, problem: str) -> None:
    (tmp_path / "missing.wat").write_text(f'(module {field} (func (export "memory")) (func (export "_start")))')
    routes, findings = endpoints(tmp_path, module("/a", "missing.wat", 'missing_imports = "trap"'))
    assert routes == []
    assert findings.problems[0].what.startswith(f'module = "missing.wat": {problem}')
