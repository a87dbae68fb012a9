"""A guest that calls the functions of WASI that its standard input names, with the arguments that stand there."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from tests.support.wasi import EDGES, MODULE, SIGNATURES

NAMES = tuple(SIGNATURES)
_SCRIPT, _SIZE = 4096, 32 * 1024
"""Where the guest's memory holds the script, and the most bytes of the script."""
_ADDRESSES = (0, 64, 1024, 40_000, 50_000, 65_000)
"""Addresses, at some of which there are iovecs, paths and subscriptions."""
WIDE = (2**32, 2**63 - 1, -(2**63))
VALUES = (*EDGES, *_ADDRESSES, *WIDE)
_TYPES = {"i": "i32", "I": "i64"}


def driver() -> str:
    """The guest, with one page of memory. A script is a byte for the function and eight bytes for each argument."""
    names = [name for name in NAMES if name != "proc_raise"]  # wasmtime refuses it with a trap
    imports = "".join(
        f'(import "{MODULE}" "{name}" (func ${name} (param {_kinds(name)}){_result(name)}))' for name in names
    )
    cases = "".join(_case(name) for name in NAMES)
    blocks = "(block " * (len(NAMES) + 1)
    labels = " ".join(map(str, range(len(NAMES) + 1)))
    return f"""(module {imports} (memory (export "memory") 1)
 (data (i32.const 64) "{_bytes(_IOVECS)}") (data (i32.const 1024) "a/b/../c")
 (data (i32.const 40000) "{_bytes(_SUBSCRIPTIONS)}") (data (i32.const 50000) "content-type: text/plain\\n\\n")
 (func (export "_start") (local $at i32) (local $end i32) (local $function i32)
  (drop (call $fd_write (i32.const 1) (i32.const 128) (i32.const 1) (i32.const 192)))
  (i32.store (i32.const 192) (i32.const {_SCRIPT})) (i32.store (i32.const 196) (i32.const {_SIZE}))
  (drop (call $fd_read (i32.const 0) (i32.const 192) (i32.const 1) (i32.const 200)))
  (local.set $at (i32.const {_SCRIPT}))
  (local.set $end (i32.add (local.get $at) (i32.load (i32.const 200))))
  (loop $next
   (if (i32.ge_u (local.get $at) (local.get $end)) (then (return)))
   (local.set $function (i32.load8_u (local.get $at)))
   (local.set $at (i32.add (local.get $at) (i32.const 1)))
   {blocks} (br_table {labels} (local.get $function)) {cases} ) (br $next))))"""


_IOVECS = struct.pack(
    "<16I", 50_000, 10, 60_000, 0, 65_530, 100, 0, 65_536, 1024, 8, 2**31, 2**31, 0, 2**24, 50_010, 16
)
_IOVECS += struct.pack("<2I", 50_000, 26)
_SUBSCRIPTIONS = b"".join(
    struct.pack("<QB7xI4xQQH6x", userdata, tag, clock, timeout, 0, flags)
    for userdata, (tag, clock, timeout, flags) in enumerate([(0, 1, 1000, 0), (1, 0, 0, 0), (2, 1, 0, 0), (9, 9, 9, 9)])
)


def script(calls: Iterable[tuple[str, list[int]]]) -> bytes:
    """The standard input that has the driver call functions."""
    return b"".join(
        bytes((NAMES.index(name),)) + b"".join(struct.pack("<Q", number & 2**64 - 1) for number in arguments)
        for name, arguments in calls
    )


def calls_of(data: bytes) -> list[tuple[str, list[int]]]:
    """The calls that any bytes stand for: one for the function and one for each argument."""
    calls, at = [], 0
    while at < len(data):
        name = NAMES[data[at] % len(NAMES)]
        arguments = [VALUES[byte % len(VALUES)] for byte in data[at + 1 : at + 1 + len(SIGNATURES[name])]]
        at += 1 + len(SIGNATURES[name])
        calls.append((name, arguments + [0] * (len(SIGNATURES[name]) - len(arguments))))
    return calls


def _kinds(name: str) -> str:
    return " ".join(_TYPES[kind] for kind in SIGNATURES[name])


def _result(name: str) -> str:
    return "" if name == "proc_exit" else " (result i32)"


def _case(name: str) -> str:
    """Ends the innermost block, calls the function, and goes on after its arguments."""
    arguments = " ".join(
        f"(i64.load offset={8 * index} align=1 (local.get $at))"
        if kind == "I"
        else f"(i32.load offset={8 * index} align=1 (local.get $at))"
        for index, kind in enumerate(SIGNATURES[name])
    )
    call = "" if name == "proc_raise" else f"(call ${name} {arguments})"
    if call and name != "proc_exit":
        call = f"(drop {call})"
    size = 8 * len(SIGNATURES[name])
    return f") {call} (local.set $at (i32.add (local.get $at) (i32.const {size}))) (br $next)\n"


def _bytes(data: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)
