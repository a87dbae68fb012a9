"""Guests with a `document_root` that write to the directory TMPDIR of their request."""

from __future__ import annotations

from tests.support import guests

_OPEN = """(import "wasi_snapshot_preview1" "path_open"
 (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
 (data (i32.const 700) "f") (global $count (mut i32) (i32.const 0))"""
# Descriptor 3 is the directory, before /app; O_CREAT with O_EXCL, and the right to write.
_CREATE = """(if (call $open (i32.const 3) (i32.const 0) (i32.const 700) (i32.const 1) (i32.const 5)
  (i64.const 0x40) (i64.const 0) (i32.const 0) (i32.const 8)) (then unreachable))
 (i32.store (i32.const 12) (i32.load (i32.const 8)))"""
_READ = """(import "wasi_snapshot_preview1" "fd_readdir"
 (func $read (param i32 i32 i32 i64 i32) (result i32)))"""
_LIST = """(if (call $read (i32.const 3) (i32.const 1024) (i32.const 512) (i64.const 0) (i32.const 8))
 (then unreachable))"""
LEAVES = guests.says(guests.CONTENT_TYPE + b"made", imports=_READ + _OPEN, then=_CREATE + _LIST)
"""A guest that leaves a file in its TMPDIR, and traps if the file is there already, or cannot list the directory."""
FILLS = guests.says(
    b"",
    imports=_OPEN,
    then=_CREATE,
    repeat="(call $write (i32.load (i32.const 12)) (i32.const 0) (i32.const 65536))",
)
"""A guest that writes to a file in its TMPDIR without an end."""
_UNLINK = """(import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))"""
FILLS_UNLINKED = guests.says(
    b"",
    imports=_UNLINK + _OPEN,
    then=_CREATE + "(if (call $unlink (i32.const 3) (i32.const 700) (i32.const 1)) (then unreachable))",
    repeat="(call $write (i32.load (i32.const 12)) (i32.const 0) (i32.const 65536))",
)
"""A guest that removes a file in its TMPDIR, and writes to the file without an end."""
