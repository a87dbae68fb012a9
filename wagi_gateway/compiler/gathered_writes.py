"""Gathered writes: what a guest prints in many short writes reaches the host in one piece.

A program in Rust writes each line with a call of `fd_write`, and a call of a host function in Python takes three
microseconds. So a module is compiled a second time, for guests that write often, with a memory and a function added.
Direct calls of `fd_write` become calls of that function, which copies to the memory what there is room for, and leaves
everything else to the host: other descriptors, long writes and errors.

    (func $gather (param $descriptor i32) (param $iovecs i32) (param $count i32) (param $written_at i32) (result i32)

The module is valid before, so that it has no instruction, segment or export for the memory that it gets. Room is what
the host gives: at first there is none, and every write is the host's. The host takes what is gathered before it writes
itself, so that calls by table, or of an exported import, stay in order.
"""

from __future__ import annotations

import functools

import wasmtime

from .binary import CODE, FUNCTION, MAX_ITEMS, Malformed, Reader, find_sections, leb128
from .externs import FunctionType, IndexSpaces, MemoryType
from .instructions import call_of, find_calls
from .vectors import Elements, append_elements, rewrite_bodies

MEMORY_NAME = "wagi-gateway:gathered-writes"
"""The export of the added memory."""
SIZE = 2**16
"""Bytes of that memory. It begins with the bytes of room that are left, an i32, and ends with the buffer, which is
filled from its beginning."""
CAPACITY = 2**15
"""Bytes of the buffer."""
_MAX_PIECES = 16
"""Pieces of a write that is gathered. What takes longer is the host's, which counts it."""

_FD_WRITE = "wasi_snapshot_preview1", "fd_write"
_FD_WRITE_TYPE = FunctionType(("i32",) * 4, ("i32",))
_MEMORY, _EXPORT = 5, 7
_OWN_MEMORIES = 1
"""Memories of a module whose writes are gathered; the index of the added one."""
_MAX_FUNCTION = 16_383

# Sums of addresses and sizes are i64, which do not overflow. Nothing is stored before the last check.
_GATHER = f"""
(func (param $descriptor i32) (param $iovecs i32) (param $count i32) (param $written_at i32) (result i32)
 (local $room i32) (local $all i64) (local $at i32) (local $end i32) (local $start i32) (local $size i32)
 (block $host
  (br_if $host (i32.ne (local.get $descriptor) (i32.const 1)))
  (br_if $host (i32.eqz (local.tee $room (i32.load $gathered (i32.const 0)))))
  (br_if $host (i32.gt_u (local.get $count) (i32.const {_MAX_PIECES})))
  (local.set $all (i64.shl (i64.extend_i32_u (memory.size $own)) (i64.const 16)))
  (br_if $host (i64.gt_u (i64.add (i64.extend_i32_u (local.get $written_at)) (i64.const 4)) (local.get $all)))
  (br_if $host (i64.gt_u
   (i64.add (i64.extend_i32_u (local.get $iovecs)) (i64.extend_i32_u (i32.shl (local.get $count) (i32.const 3))))
   (local.get $all)))
  (local.set $end (i32.add (local.tee $at (local.get $iovecs)) (i32.shl (local.get $count) (i32.const 3))))
  (block $done (loop $next
   (br_if $done (i32.eq (local.get $at) (local.get $end)))
   (local.set $start (i32.load $own (local.get $at)))
   (local.set $size (i32.load $own offset=4 (local.get $at)))
   (br_if $host (i32.gt_u (local.get $size) (local.get $room)))
   (br_if $host (i64.gt_u
    (i64.add (i64.extend_i32_u (local.get $start)) (i64.extend_i32_u (local.get $size))) (local.get $all)))
   (memory.copy $gathered $own
    (i32.sub (i32.const {SIZE}) (local.get $room)) (local.get $start) (local.get $size))
   (local.set $room (i32.sub (local.get $room) (local.get $size)))
   (local.set $at (i32.add (local.get $at) (i32.const 8)))
   (br $next)))
  (i32.store $own (local.get $written_at) (i32.sub (i32.load $gathered (i32.const 0)) (local.get $room)))
  (i32.store $gathered (i32.const 0) (local.get $room))
  (return (i32.const 0)))
 (return_call $fd_write
  (local.get $descriptor) (local.get $iovecs) (local.get $count) (local.get $written_at)))"""


def gather_writes(data: bytes) -> bytes | None:
    """The module with gathered writes, of a valid one; None for a module that has none to gather.

    That is one that does not call `fd_write` directly, or does not have exactly one memory, of 32 bits and its own.
    """
    try:
        return _gather(data)
    except Malformed:  # types of proposals that this reader does not know
        return None


def _gather(data: bytes) -> bytes | None:
    spaces = IndexSpaces.read(data)
    functions = [wanted for wanted in spaces.imports if isinstance(wanted.type, FunctionType)]
    indices = [index for index, wanted in enumerate(functions) if (wanted.module, wanted.name) == _FD_WRITE]
    if len(indices) != 1 or functions[indices[0]].type != _FD_WRITE_TYPE or not _has_one_memory(spaces):
        return None
    (index,), gather = indices, len(spaces.functions)
    if gather >= MAX_ITEMS or index > _MAX_FUNCTION or any(export.name == MEMORY_NAME for export in spaces.exports):
        return None
    bodies = rewrite_bodies(data, call_of(index), functools.partial(_redirect, data, index, leb128(gather)))
    if bodies is None:
        return None
    memory = leb128(len(MEMORY_NAME)) + MEMORY_NAME.encode() + bytes((2, _OWN_MEMORIES))
    pages = SIZE // 2**16
    return append_elements(
        data,
        {
            FUNCTION: Elements(1, leb128(spaces.functions[index])),
            _MEMORY: Elements(1, bytes((1, pages, pages))),
            _EXPORT: Elements(1, memory),
            CODE: Elements(1, _gather_code(index), before=bodies),
        },
    )


def _has_one_memory(spaces: IndexSpaces) -> bool:
    is_imported = any(isinstance(wanted.type, MemoryType) for wanted in spaces.imports)
    if is_imported or len(spaces.memories) != _OWN_MEMORIES:
        return False
    limits = spaces.memories[0].limits
    return not limits.is_64 and not limits.is_shared


def _redirect(data: bytes, function: int, target: bytes, body: Reader) -> bytes | None:
    """A function body whose calls of a function are calls of another one; None if it has none."""
    pieces = []
    copied = body.position
    for found in find_calls(body, function):
        pieces += [data[copied : found.start() + 1], target]
        copied = found.end()
    return b"".join([*pieces, data[copied : body.position]]) if pieces else None


@functools.lru_cache(maxsize=64)
def _gather_code(fd_write: int) -> bytes:
    """The entry of the code section, where `fd_write` has this index."""
    others = '(import "" "" (func))' * fd_write
    text = f"""(module {others} (import "" "" (func $fd_write (param i32 i32 i32 i32) (result i32)))
     (memory $own 1) (memory $gathered 1) {_GATHER})"""
    module = bytes(wasmtime.wat2wasm(text))
    (code,) = (section for section in find_sections(module) if section.id == CODE)
    return module[code.content + 1 : code.end]  # behind the number of functions
