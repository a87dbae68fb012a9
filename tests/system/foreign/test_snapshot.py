"""A pre-initialised module, by the tool from npm: built, checked and served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from samples.packages import WIZER
from tests.support.cli import gateway
from tests.support.config import config, module

pytestmark = pytest.mark.timeout(600)
REACTOR = """(module (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
 (import "env" "host_call" (func $host_call))
 (memory (export "memory") 1) (global $count (mut i32) (i32.const 0))
 (data (i32.const 100) "content-type: text/plain\\n\\n................ ")
 (func $more (global.set $count (i32.add (global.get $count) (i32.const 1))))
 (func (export "_initialize") (call $more))
 (func (export "wizer.initialize") (local $at i32)
  (call $more)
  (drop (call $random (i32.const 126) (i32.const 16)))
  (local.set $at (i32.const 126))
  (loop $next
   (i32.store8 (local.get $at) (i32.add (i32.const 97) (i32.and (i32.load8_u (local.get $at)) (i32.const 15))))
   (local.set $at (i32.add (local.get $at) (i32.const 1)))
   (br_if $next (i32.lt_u (local.get $at) (i32.const 142)))))
 (func (export "wizer.resume")
  (i32.store8 (i32.const 142) (i32.add (i32.const 48) (global.get $count)))
  (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 43))
  (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, toolchains: Callable[[], Mapping[str, str]]) -> Path:
    """A folder whose module is built."""
    from wagi_gateway.compiler.interface import assemble

    folder = tmp_path_factory.mktemp("snapshot")
    (folder / "reactor.wasm").write_bytes(assemble("reactor.wat", REACTOR.encode(), is_text=True))
    tools = folder / "node_modules/.bin"
    tools.mkdir(parents=True)
    (tools / "wizer").symlink_to(WIZER.fetch(toolchains))
    own = module("/...", "app.wasm", missing_imports="trap", build={"snapshot": "reactor.wasm"})
    (folder / "modules.toml").write_text(config(own))
    built = gateway("build", cwd=folder, API_TOKEN="x")
    assert built.returncode == 0, built.stderr
    assert b"warning: modules.toml: [[module]] 1 (/...): build.snapshot: the environment has " in built.stderr
    assert b"API_TOKEN" in built.stderr
    return folder


def test_the_initialiser_has_run_once_and_its_random_state_is_frozen(folder: Path) -> None:
    first, second = (gateway("run", "--body", "modules.toml", cwd=folder).stdout for _ in range(2))
    assert first == second
    assert first.endswith(b"2")
    assert first[:-1].decode().isalpha()


def test_the_snapshot_is_a_command(folder: Path) -> None:
    inspected = gateway("inspect", "app.wasm", cwd=folder).stdout.decode()
    assert "_start" in inspected
    assert "wizer" not in inspected
    assert "_initialize" not in inspected
    assert b"a call of env.host_call traps" in gateway("check", "--format", "json", cwd=folder).stdout
