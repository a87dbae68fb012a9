"""Random bytes for components, and their bound."""

from __future__ import annotations

import pytest

from tests.support.component_guests import invocation
from tests.support.components import RUN
from tests.support.sandbox import run


@pytest.fixture(autouse=True)
def path() -> str:
    """The backend of components, of which there is one."""
    return "hot"


def asks_for(size: int, interface: str, function: str) -> str:
    """A component that ends with an error unless it gets `size` random bytes twice, which differ."""
    return f"""(component
 (import "wasi:random/{interface}@0.2.3" (instance $random
  (export "{function}" (func (param "len" u64) (result (list u8))))))
 (core module $Memory (memory (export "memory") 4) (global $next (mut i32) (i32.const 1024))
  (func (export "realloc") (param i32 i32 i32 i32) (result i32)
   (global.get $next) (global.set $next (i32.add (global.get $next) (i32.const 100000)))))
 (core instance $memory (instantiate $Memory))
 (core func $get (canon lower (func $random "{function}") (memory (core memory $memory "memory"))
  (realloc (core func $memory "realloc"))))
 (core module $Main
  (import "memory" "memory" (memory 4))
  (import "wasi" "get" (func $get (param i64 i32)))
  (func $bytes (param $at i32) (result i64)
   (call $get (i64.const {size}) (local.get $at))
   (if (i32.ne (i32.load offset=4 (local.get $at)) (i32.const {size})) (then unreachable))
   (if (result i64) (i32.const {int(size >= 8)})
    (then (i64.load (i32.add (i32.load (local.get $at)) (i32.const {max(0, size - 8)}))))
    (else (i64.load32_u (local.get $at)))))
  (func (export "run") (result i32) (i64.eq (call $bytes (i32.const 0)) (call $bytes (i32.const 8)))))
 (core instance $main (instantiate $Main (with "memory" (instance $memory)) (with "wasi" (instance
  (export "get" (func $get))))))
 (func $main (result (result)) (canon lift (core func $main "run")))
 {RUN})"""


@pytest.mark.parametrize("size", [0, 8, 65_536])
@pytest.mark.parametrize(
    ("interface", "function"), [("random", "get-random-bytes"), ("insecure", "get-insecure-random-bytes")]
)
def test_a_guest_gets_random_bytes(interface: str, function: str, size: int) -> None:
    _, guest = run(invocation(asks_for(size, interface, function), time="20s"))
    assert guest.failure() is None


@pytest.mark.parametrize("size", [65_537, 1 << 26, (1 << 64) - 1])
def test_random_bytes_have_a_bound(size: int) -> None:
    text = asks_for(0, "random", "get-random-bytes").replace("(i64.const 0)", f"(i64.const {size})")
    _, guest = run(invocation(text))
    assert guest.failure() == "failed: get-random-bytes takes at most 65536 bytes at a time"
