"""No module ends a process, whatever its bytes: at `check`, `run`, `inspect`, a start and a reload."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support import guests
from tests.support.cli import gateway
from tests.support.config import module
from tests.support.modules import DISABLED, LOADED, UNDESCRIBED, binary, started
from tests.support.reloading import reload

HELLO = module("/hello", "hello.wat")
MALFORMED = {
    "a section without end": b"\0asm\1\0\0\0\x01\xff\xff\xff\xff\x0f",
    "a vector without end": b"\0asm\1\0\0\0\x02\x05\xff\xff\xff\xff\x0f",
    "half a module": binary(started(UNDESCRIBED["export with v128"][0]))[:40],
}
WITHOUT_MEMORY = '(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))'
OTHERS = {"a shared memory": "(memory 1 2 shared)", "no memory": WITHOUT_MEMORY}


def refused() -> dict[str, bytes]:
    """Modules that are refused, and that ended a process if they had a type that the C API cannot describe."""
    texts = {name: fields for name, (fields, *_) in UNDESCRIBED.items()} | DISABLED | OTHERS
    return {name: binary(started(fields)) for name, fields in texts.items()} | MALFORMED


def write_all(directory: Path, modules: dict[str, bytes]) -> str:
    """Writes modules; returns their tables."""
    tables = ""
    for number, data in enumerate(modules.values()):
        (directory / f"m{number}.wasm").write_bytes(data)
        tables += module(f"/m{number}", f"m{number}.wasm")
    return tables


def test_check_refuses_every_one(tmp_path: Path) -> None:
    modules = refused()
    (tmp_path / "modules.toml").write_text(write_all(tmp_path, modules))
    checked = gateway("check", "modules.toml", cwd=tmp_path, COLUMNS="400")
    assert checked.returncode == 1
    for number, name in enumerate(modules):
        assert f'module = "m{number}.wasm": '.encode() in checked.stdout, name


def test_check_accepts_what_only_looks_alike(tmp_path: Path) -> None:
    modules = {name: binary(started(fields)) for name, fields in LOADED.items()}
    (tmp_path / "modules.toml").write_text("[limits]\ntables = 4\n" + write_all(tmp_path, modules))
    checked = gateway("check", "modules.toml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", ["import of WASI with v128", "export of a typed reference", "export of a large table"])
def test_run_and_inspect_refuse_it(name: str, tmp_path: Path) -> None:
    fields, where, what = UNDESCRIBED[name]
    (tmp_path / "m.wasm").write_bytes(binary(started(fields)))
    for command in ("run", "inspect"):
        done = gateway(command, "m.wasm", cwd=tmp_path)
        assert done.returncode in (1, 3), done.stderr
        assert f"{where}: has {what}".encode() in done.stderr


def test_a_start_refuses_every_one(tmp_path: Path) -> None:
    (tmp_path / "modules.toml").write_text(write_all(tmp_path, refused()))
    assert gateway("serve", "modules.toml", "--listen", "127.0.0.1:0", cwd=tmp_path).returncode == 3


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_reload_refuses_every_one_and_the_server_goes_on(serve: Serve, tmp_path: Path, workers: str) -> None:
    server = serve(HELLO, "--workers", workers, hello=guests.HELLO)
    modules = refused()
    tables = write_all(tmp_path, modules)
    reload(server, HELLO + tables)
    server.wait_for_log("not reloaded")
    for number, name in enumerate(modules):
        assert f'module = "m{number}.wasm": ' in server.log, name
    assert server.get("/hello").status_code == 200
    reload(server, HELLO)
    assert server.get("/hello").status_code == 200
    assert server.process.poll() is None


ASK = """
import sys, wasmtime
module = wasmtime.Module(wasmtime.Engine(), open(sys.argv[1], "rb").read())
print([[str(value) for value in one.type.params] for one in (*module.imports, *module.exports)])
"""


@pytest.mark.parametrize(("value", "code"), [("i64", 0), ("v128", -6), ("anyref", -6)])
def test_what_wasmtime_does_when_it_is_asked(value: str, code: int, tmp_path: Path) -> None:
    """When this changes, `compiler.externs` need refuse less."""
    (tmp_path / "m.wasm").write_bytes(binary(f'(func (export "f") (param {value}))'))
    command = [sys.executable, "-c", ASK, "m.wasm"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False).returncode == code
