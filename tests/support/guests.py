"""Guests in WAT, each as small as its test needs."""

from __future__ import annotations

FD_WRITE = '(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))'
FD_READ = '(import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))'
ARGS_SIZES_GET = (
    '(import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))'
)
PROC_EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
POLL = '(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))'

# Writes $length bytes at $at to descriptor $fd, with further calls after a partial write.
WRITE = """
 (func $write (param $fd i32) (param $at i32) (param $length i32)
  (loop $more
   (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
   (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)) (then (return)))
   (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
   (local.set $length (i32.sub (local.get $length) (i32.load (i32.const 8))))
   (br_if $more (local.get $length))))
"""


def wat_string(data: bytes) -> str:
    """Bytes as a WAT string literal."""
    return '"' + "".join(f"\\{octet:02x}" for octet in data) + '"'


def says(output: bytes, *, then: str = "", imports: str = "", stderr: bytes = b"", repeat: str = "") -> str:
    """A guest that writes `stderr` and `output`, then runs the instructions `then`, and `repeat` in an endless loop."""
    pages = (len(output) + len(stderr) + 1024) // 65536 + 2
    loop = f"(loop $forever {repeat} (br $forever))" if repeat else ""
    return f"""(module {FD_WRITE} {imports}
 (memory (export "memory") {pages})
 (data (i32.const 1024) {wat_string(output)})
 (data (i32.const {1024 + len(output)}) {wat_string(stderr)})
 {WRITE}
 (func (export "_start")
  {f"(call $write (i32.const 2) (i32.const {1024 + len(output)}) (i32.const {len(stderr)}))" if stderr else ""}
  {f"(call $write (i32.const 1) (i32.const 1024) (i32.const {len(output)}))" if output else ""}
  {then} {loop}))"""


def if_argument(instructions: str, *, pages: int = 2, fields: str = "") -> str:
    """A guest that prints "hello"; with an argument it first runs `instructions`.

    The guest imports no function that blocks. `fields` are imports first, then definitions.
    """
    hello = CONTENT_TYPE + b"hello\n"
    return f"""(module {FD_WRITE} {ARGS_SIZES_GET} {fields}
 (memory (export "memory") {pages})
 (data (i32.const 512) {wat_string(hello)})
 {WRITE}
 (func (export "_start")
  (drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
  (if (i32.gt_u (i32.load (i32.const 16)) (i32.const 1)) (then {instructions}))
  (call $write (i32.const 1) (i32.const 512) (i32.const {len(hello)}))))"""


def exits(code: int, output: bytes = b"") -> str:
    """A guest that writes `output` and calls proc_exit."""
    return says(output, then=f"(call $exit (i32.const {code}))", imports=PROC_EXIT)


def sleeps(nanoseconds: int, output: bytes = b"", then_says: bytes = b"") -> str:
    """A guest that writes `output`, sleeps in poll_oneoff, and then writes the rest."""
    end = 1024 + len(output)
    return f"""(module {FD_WRITE} {POLL}
 (memory (export "memory") {(len(output) + len(then_says)) // 65536 + 2})
 (data (i32.const 1024) {wat_string(output + then_says)})
 {WRITE}
 (func (export "_start")
  {f"(call $write (i32.const 1) (i32.const 1024) (i32.const {len(output)}))" if output else ""}
  (i32.store (i32.const 128) (i32.const 1)) (i64.store (i32.const 136) (i64.const {nanoseconds}))
  (drop (call $poll (i32.const 112) (i32.const 256) (i32.const 1) (i32.const 300)))
  {f"(call $write (i32.const 1) (i32.const {end}) (i32.const {len(then_says)}))" if then_says else ""}))"""


CONTENT_TYPE = b"content-type: text/plain\n\n"
HELLO = says(CONTENT_TYPE + b"hello world\n")
LOOP = '(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'
TRAP = '(module (memory (export "memory") 1) (func (export "_start") unreachable))'
NO_OUTPUT = '(module (memory (export "memory") 1) (func (export "_start")))'
STACK_OVERFLOW = '(module (memory (export "memory") 1) (func $again (export "_start") (call $again)))'
SLEEP = sleeps(3600 * 10**9)
MEMORY_BOMB = says(
    b"",
    imports="",
    then="(loop $grow (br_if $grow (i32.ne (memory.grow (i32.const 256)) (i32.const -1)))) unreachable",
)
ENDLESS_STDOUT = says(CONTENT_TYPE, repeat="(call $write (i32.const 1) (i32.const 1024) (i32.const 65536))")
ENDLESS_STDERR = says(
    CONTENT_TYPE + b"x" * 60000 + b"\n",
    repeat="(call $write (i32.const 2) (i32.const 1060) (i32.const 59000))",
)

CLOCK = '(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))'
_NOW = "(drop (call $clock (i32.const 1) (i64.const 1) (i32.const 24)))"
FOREVER = "(loop $forever (br $forever))"
READS = f"""{FD_READ} (func $read (local $total i32)
 (block $end (loop $more
  (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 65536))
  (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
  (br_if $end (i32.eqz (i32.load (i32.const 8))))
  (local.set $total (i32.add (local.get $total) (i32.load (i32.const 8))))
  (i32.store (i32.const 1028) (i32.load (i32.sub (i32.add (i32.const 65536) (i32.load (i32.const 8))) (i32.const 4))))
  (br $more)))
 (i32.store (i32.const 1024) (local.get $total)) (call $write (i32.const 1) (i32.const 1024) (i32.const 8)))"""
"""`$read` reads standard input to its end, and prints the number of bytes and the last four bytes."""


def burns(milliseconds: int) -> str:
    """Instructions that compute for this time on any machine; the guest needs CLOCK among its `fields`."""
    return f"""{_NOW} (i64.store (i32.const 32) (i64.add (i64.load (i32.const 24)) (i64.const {milliseconds * 10**6})))
     (loop $burn {_NOW} (br_if $burn (i64.lt_u (i64.load (i32.const 24)) (i64.load (i32.const 32)))))"""
