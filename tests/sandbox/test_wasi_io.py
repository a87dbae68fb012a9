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


POLL, RANDOM = "wasi:io/poll@0.2.0", "wasi:random/random@0.2.0"
ADDRESS = r"\10\20\30\40\50\60\00\00"
"""An address of no memory, if the host takes the number for one."""


def calls(interface: str, name: str, signature: str, core: str, arguments: str) -> str:
    """A component that imports a function with this signature and calls the function with these arguments."""
    return f"""(component
 (import "{interface}" (instance $i (export "{name}" (func {signature}))))
 (core module $Memory (memory (export "memory") 2)
  (data (i32.const 1024) "{ADDRESS * 3}")
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
 (core instance $memory (instantiate $Memory))
 (core func $f (canon lower (func $i "{name}")
  (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
 (core module $Main (import "wasi" "f" (func $f {core}))
  (func (export "run") (result i32) (call $f {arguments}) (i32.const 0)))
 (core instance $main (instantiate $Main (with "wasi" (instance (export "f" (func $f))))))
 (func $main (result (result)) (canon lift (core func $main "run")))
 {RUN})"""


@pytest.mark.parametrize(
    "guest",
    [
        calls(POLL, "poll", "", "", ""),
        calls(POLL, "poll", '(param "in" u64) (result (list u32))', "(param i64 i32)", "(i64.const 5) (i32.const 16)"),
        calls(
            POLL,
            "poll",
            '(param "in" (list u64)) (result (list u32))',
            "(param i32 i32 i32)",
            "(i32.const 1024) (i32.const 3) (i32.const 16)",
        ),
        calls(POLL, "poll", '(param "in" (list u8))', "(param i32 i32)", "(i32.const 1024) (i32.const 3)"),
        calls(RANDOM, "get-random-bytes", '(param "len" u64)', "(param i64)", "(i64.const 100)"),
        calls(
            RANDOM,
            "get-random-bytes",
            '(param "len" string) (result (list u8))',
            "(param i32 i32 i32)",
            "(i32.const 1024) (i32.const 0) (i32.const 16)",
        ),
        calls("wasi:random/insecure@0.2.0", "get-insecure-random-bytes", "", "", ""),
        calls("wasi:sockets/tcp-create-socket@0.2.0", "create-tcp-socket", "", "", ""),
        calls("wasi:sockets/udp-create-socket@0.2.0", "create-udp-socket", "", "", ""),
        calls("wasi:sockets/ip-name-lookup@0.2.0", "resolve-addresses", "", "", ""),
    ],
)
def test_a_function_with_another_signature_traps(guest: str) -> None:
    output, ended = run(invocation(guest))
    assert output == b""
    assert ended.outcome
    assert ended.outcome.message == "a function of WASI was imported with another signature than WASI's"


def test_a_result_of_another_type_traps() -> None:
    signature = '(param "len" u64) (result string)'
    guest = calls(RANDOM, "get-random-bytes", signature, "(param i64 i32)", "(i64.const 9) (i32.const 8)")
    _, ended = run(invocation(guest))
    assert ended.outcome
    assert "type mismatch" in ended.outcome.message


@pytest.mark.parametrize("handle", ["borrow", "own"])
def test_a_resource_of_another_type_traps(handle: str) -> None:
    guest = f"""(component
 (import "wasi:cli/stdout@0.2.0" (instance $stdout
  (export "output-stream" (type (sub resource))) (export "get-stdout" (func (result (own 0))))))
 (alias export $stdout "output-stream" (type $out))
 (import "{POLL}" (instance $poll
  (alias outer 1 $out (type $o)) (export "output-stream" (type $t (eq $o)))
  (export "poll" (func (param "in" (list ({handle} $t))) (result (list u32))))))
 (core module $Memory (memory (export "memory") 2)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
 (core instance $memory (instantiate $Memory))
 (core func $get (canon lower (func $stdout "get-stdout")))
 (core func $f (canon lower (func $poll "poll")
  (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
 (core module $Main (import "memory" "memory" (memory 2))
  (import "wasi" "get" (func $get (result i32))) (import "wasi" "f" (func $f (param i32 i32 i32)))
  (func (export "run") (result i32)
   (i32.store (i32.const 0) (call $get))
   (call $f (i32.const 0) (i32.const 1) (i32.const 16)) (i32.const 0)))
 (core instance $main (instantiate $Main (with "memory" (instance $memory))
  (with "wasi" (instance (export "get" (func $get)) (export "f" (func $f))))))
 (func $main (result (result)) (canon lift (core func $main "run")))
 {RUN})"""
    _, ended = run(invocation(guest))
    assert ended.outcome
    assert ended.outcome.kind in ("failed", "trap"), ended.outcome
