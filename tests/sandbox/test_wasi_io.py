"""The waits of components, and what is denied."""

from __future__ import annotations

import pytest

from tests.support.component_guests import invocation, probe
from tests.support.components import INTERFACES, RUN, bare
from tests.support.sandbox import run


@pytest.fixture(autouse=True)
def path() -> str:
    """The backend of components, of which there is one."""
    return "hot"


def waits(function: str) -> str:
    """A component whose `run` is `$run`, with `$subscribe`, `$block` and `$poll` of WASI."""
    poll = '(export "poll" (func (param "in" (list (borrow 0))) (result (list u32)))))'
    interfaces = INTERFACES.replace(
        '(func (param "self" (borrow 0)))))', f'(func (param "self" (borrow 0)))) {poll}', 1
    )
    return f"""(component {interfaces}
 (core module $Memory (memory (export "memory") 2)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
 (core instance $memory (instantiate $Memory))
 (core func $subscribe (canon lower (func $clock "subscribe-duration")))
 (core func $block (canon lower (func $poll "[method]pollable.block")))
 (core func $poll (canon lower (func $poll "poll") (memory (core memory $memory "memory"))
  (realloc (core func $memory "realloc"))))
 (core module $Main
  (import "memory" "memory" (memory 2))
  (import "wasi" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "wasi" "block" (func $block (param i32)))
  (import "wasi" "poll" (func $poll (param i32 i32 i32)))
  (func $add (param $at i32) (param $ns i64) (i32.store (local.get $at) (call $subscribe (local.get $ns))))
  (func (export "run") (result i32) {function}))
 (core instance $main (instantiate $Main (with "memory" (instance $memory)) (with "wasi" (instance
  (export "subscribe" (func $subscribe)) (export "block" (func $block)) (export "poll" (func $poll))))))
 (func $main (result (result)) (canon lift (core func $main "run")))
 {RUN})"""


@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("(call $block (call $subscribe (i64.const 120000000))) (i32.const 0)", 0),
        # A timer of an hour and one that is due: the second is ready, and the list has one index.
        (
            """(call $add (i32.const 0) (i64.const 3600000000000)) (call $add (i32.const 4) (i64.const 1000))
            (call $poll (i32.const 0) (i32.const 2) (i32.const 16))
            (i32.eqz (i32.and (i32.eq (i32.load (i32.const 20)) (i32.const 1))
             (i32.eq (i32.load (i32.load (i32.const 16))) (i32.const 1))))""",
            0,
        ),
    ],
    ids=["block", "poll"],
)
def test_a_wait_ends_when_a_pollable_is_ready(function: str, code: int) -> None:
    _, guest = run(invocation(waits(function), time="20s"))
    assert (guest.failure(), guest.outcome and guest.outcome.code) == (None, code)


@pytest.mark.parametrize(
    "function",
    [
        "(call $block (call $subscribe (i64.const 3600000000000))) (i32.const 0)",
        """(call $add (i32.const 0) (i64.const 3600000000000))
        (call $poll (i32.const 0) (i32.const 1) (i32.const 16)) (i32.const 0)""",
        "(loop $l (call $block (call $subscribe (i64.const 0))) (br $l)) (i32.const 0)",
    ],
    ids=["block", "poll", "many"],
)
def test_a_wait_ends_at_the_deadline(function: str) -> None:
    _, guest = run(invocation(waits(function), time="200ms"))
    assert guest.stop_reason == "time"


@pytest.mark.parametrize("count", [0, 1025])
def test_a_poll_has_a_bound(count: int) -> None:
    function = f"""(local $n i32)
     (call $add (i32.const 100) (i64.const 0))
     (loop $more
      (i32.store (i32.add (i32.const 1000) (i32.shl (local.get $n) (i32.const 2))) (i32.load (i32.const 100)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $n) (i32.const {count}))))
     (call $poll (i32.const 1000) (i32.const {count}) (i32.const 16)) (i32.const 0)"""
    _, guest = run(invocation(waits(function)))
    assert guest.failure() == "failed: poll takes 1 to 1024 pollables"


def test_a_poll_of_as_many_pollables_as_there_may_be() -> None:
    function = """(local $n i32)
     (call $add (i32.const 100) (i64.const 0))
     (loop $more
      (i32.store (i32.add (i32.const 1000) (i32.shl (local.get $n) (i32.const 2))) (i32.load (i32.const 100)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $n) (i32.const 1024))))
     (call $poll (i32.const 1000) (i32.const 1024) (i32.const 16))
     (i32.ne (i32.load (i32.const 20)) (i32.const 1024))"""
    _, guest = run(invocation(waits(function)))
    assert guest.failure() is None


def test_a_guest_without_a_wait_has_no_helper_to_pay_for() -> None:
    _, guest = run(invocation(bare(fields="(memory 1)"), memories=1))
    assert guest.failure() is None


def test_sockets_and_names_are_denied() -> None:
    assert probe(b"sockets")[0] == "Err(PermissionDenied)\n" * 4
