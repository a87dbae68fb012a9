"""Guests of the benchmarks, in WAT."""

from __future__ import annotations

from pathlib import Path

LOG_RS = Path(__file__).parents[2] / "samples" / "rust" / "log.wasm"
"""A small module of a compiler: 66 kB, from rustc."""

VARIABLES_RS = Path(__file__).parent / "variables.wasm"
"""A module of a compiler that prints thirty lines one by one; `scripts/build-samples benchmarks` builds it."""

ENV_C = Path(__file__).parents[2] / "samples" / "c" / "env.wasm"
"""A C program that prints its arguments and environment."""

ENVIRON_WAT = Path(__file__).parent / "environ.wat"
"""The hello guest, after a read of its arguments and environment.

The gateway passes neither to a module that does not import the functions to read them.
"""

_WASI = '(import "wasi_snapshot_preview1"'
_WRITE = f'{_WASI} "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))'
_READ = f'{_WASI} "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))'
_HEAD = '(data (i32.const 64) "content-type: application/octet-stream\\n\\n")'
_HEAD_SIZE = 40
# Writes $size bytes from $at, with further calls after a partial write.
_WRITE_ALL = """
 (func $write (param $at i32) (param $size i32)
  (block $done (loop $more
   (br_if $done (i32.eqz (local.get $size)))
   (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $size))
   (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
   (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
   (local.set $size (i32.sub (local.get $size) (i32.load (i32.const 8))))
   (br $more))))"""

ECHO = f"""(module {_WRITE} {_READ}
 (memory (export "memory") 3) {_HEAD} {_WRITE_ALL}
 (func (export "_start")
  (call $write (i32.const 64) (i32.const {_HEAD_SIZE}))
  (block $done (loop $more
   (i32.store (i32.const 16) (i32.const 65536)) (i32.store (i32.const 20) (i32.const 65536))
   (if (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)) (then unreachable))
   (br_if $done (i32.eqz (i32.load (i32.const 24))))
   (call $write (i32.const 65536) (i32.load (i32.const 24)))
   (br $more)))))"""
"""A guest that copies standard input to standard output in pieces of 64 KiB."""


def streams(size: int) -> str:
    """A guest that prints `size` bytes in pieces of 64 KiB and a rest."""
    return f"""(module {_WRITE}
 (memory (export "memory") 3) {_HEAD} {_WRITE_ALL}
 (func (export "_start") (local $left i32)
  (call $write (i32.const 64) (i32.const {_HEAD_SIZE}))
  (local.set $left (i32.const {size // 65536}))
  (block $done (loop $more
   (br_if $done (i32.eqz (local.get $left)))
   (call $write (i32.const 65536) (i32.const 65536))
   (local.set $left (i32.sub (local.get $left) (i32.const 1)))
   (br $more)))
  (call $write (i32.const 65536) (i32.const {size % 65536}))))"""


_COUNT = """
 (func $count (export "count") (param $left i64) (result i64) (local $sum i64)
  (loop $more
   (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 6364136223846793005)) (local.get $left)))
   (br_if $more (i64.ne (i64.const 0) (local.tee $left (i64.sub (local.get $left) (i64.const 1))))))
  (local.get $sum))"""
COUNTS = f"(module {_COUNT})"
"""A module with the loop of the computing guest alone."""


def computes(turns: int) -> str:
    """A guest that runs `turns` iterations of a loop, then prints a response."""
    return f"""(module {_WRITE}
 (memory (export "memory") 1) (data (i32.const 64) "content-type: text/plain\\n\\ndone\\n") {_WRITE_ALL} {_COUNT}
 (func (export "_start")
  (i64.store (i32.const 128) (call $count (i64.const {turns})))
  (call $write (i32.const 64) (i32.const 31))))"""


def padded(functions: int) -> str:
    """The hello guest with `functions` further exports of about 1 kB each."""
    step = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 1103515245)) (i32.const 12345)))"
    body = step * 62
    text = "".join(
        f'(func (export "f{number}") (param i32) (result i32) {body} (local.get 0))' for number in range(functions)
    )
    return f"""(module {_WRITE}
 (memory (export "memory") 1)
 (data (i32.const 0) "\\08\\00\\00\\00\\26\\00\\00\\00content-type: text/plain\\n\\nhello world\\n")
 {text}
 (func (export "_start") (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 60)))))"""


def variant(module: bytes, number: int) -> bytes:
    """The same program with another digest, by a custom section that holds `number`."""
    content = b"\x04tagn" + number.to_bytes(4, "little")
    return module + b"\0" + bytes([len(content)]) + content
