"""What a component opens: regular files and directories alone, as many as `limits.files`.

The type of a file is found before it is opened, because opening a FIFO blocks; one that takes the place of a file
meanwhile is the concern of `blocked_opens`.

The host learns of no handle that a guest drops. So a guest that has opened as many files as it may have open is counted
anew: by the descriptors of this process beneath the guest's volumes. Guests that run at the same time share the sum of
their limits; within its own first `limits.files` each may open files in any case.
Source: WASI 0.2, `wasi:filesystem/types`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from .context import ExecutionContext
from .wasi_helper import MEMORY, OPTIONS, RESET, VERSION, Helper, drop, fail, running

if TYPE_CHECKING:
    from .guest import Guest

_MAX_PATH = 4096
"""Bytes of a path (PATH_MAX)."""
_OWN_DIRECTORIES = 4
"""Descriptors of a volume itself, beside one for each guest: of a site and of the site that replaces it."""
_ERRORS = (
    "access would-block already bad-descriptor busy deadlock quota exist file-too-large illegal-byte-sequence"
    " in-progress interrupted invalid io is-directory loop too-many-links message-size name-too-long no-device no-entry"
    " no-lock insufficient-memory insufficient-space not-directory not-empty not-recoverable unsupported no-tty"
    " no-such-device overflow not-permitted pipe read-only invalid-seek text-file-busy cross-device"
)
_TYPES = {
    "path-flags": '(flags "symlink-follow")',
    "open-flags": '(flags "create" "directory" "exclusive" "truncate")',
    "descriptor-flags": '(flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync"'
    ' "mutate-directory")',
    "error-code": "(enum " + " ".join(map('"{}"'.format, _ERRORS.split())) + ")",
    "descriptor-type": '(enum "unknown" "block-device" "character-device" "directory" "fifo" "symbolic-link"'
    ' "regular-file" "socket")',
    "datetime": '(record (field "seconds" u64) (field "nanoseconds" u32))',
    "descriptor-stat": '(record (field "type" $descriptor-type) (field "link-count" u64) (field "size" u64)'
    ' (field "data-access-timestamp" (option $datetime)) (field "data-modification-timestamp" (option $datetime))'
    ' (field "status-change-timestamp" (option $datetime)))',
}
_DIRECTORY, _SYMBOLIC_LINK, _REGULAR_FILE = 3, 5, 6
"""Cases of `descriptor-type`; `access` is the first case of `error-code`."""
_FUNCTION = """(func (param "self" (borrow $descriptor)) (param "path-flags" $path-flags) (param "path" string)
  (param "open-flags" $open-flags) (param "flags" $descriptor-flags)
  (result (result (own $descriptor) (error $error-code))))"""
_STAT = """(func (param "self" (borrow $descriptor)) (param "path-flags" $path-flags) (param "path" string)
   (result (result $descriptor-stat (error $error-code))))"""
_DEFINED = "".join(
    f'(type $own-{name} {definition}) (export "{name}" (type ${name} (eq $own-{name})))'
    for name, definition in _TYPES.items()
)
_ALIASES = "".join(f'(alias export $types "{name}" (type ${name}))' for name in ("descriptor", *_TYPES))
_HELPER = Helper(
    f"""(component
 (import "wasi:filesystem/types@{VERSION}" (instance $types
  (export "descriptor" (type $descriptor (sub resource)))
  {_DEFINED}
  (export "[method]descriptor.stat-at" {_STAT})
  (export "[method]descriptor.open-at" {_FUNCTION})))
 {_ALIASES} {MEMORY}
 (core func $stat (canon lower (func $types "[method]descriptor.stat-at") {OPTIONS}))
 (core func $open (canon lower (func $types "[method]descriptor.open-at") {OPTIONS}))
 (core func $drop (canon resource.drop $descriptor))
 (core module $Open
  (import "memory" "memory" (memory 1))
  (import "wasi" "stat" (func $stat (param i32 i32 i32 i32 i32)))
  (import "wasi" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
  (import "wasi" "drop" (func $drop (param i32)))
  (func $is_special (param $type i32) (result i32)
   (i32.eqz (i32.or (i32.eq (local.get $type) (i32.const {_DIRECTORY}))
    (i32.or (i32.eq (local.get $type) (i32.const {_REGULAR_FILE}))
     (i32.eq (local.get $type) (i32.const {_SYMBOLIC_LINK}))))))
  (func $is_refused (result i32)
   (if (result i32) (i32.load8_u (i32.const 16))
    (then (i32.const 0))
    (else (call $is_special (i32.load8_u (i32.const 24))))))
  (func (export "open") (param $self i32) (param i32 i32 i32 i32 i32) (result i32)
   (call $stat (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 16))
   (if (call $is_refused)
    (then (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 0)))
    (else (call $open (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
     (i32.const 16))))
   (call $drop (local.get $self))
   (i32.const 16)))
 (core instance $open (instantiate $Open (with "memory" (instance $memory)) (with "wasi" (instance
  (export "stat" (func $stat)) (export "open" (func $open)) (export "drop" (func $drop))))))
 {_FUNCTION.replace("(func", '(func (export "open")', 1)[:-1]}
  (canon lift (core func $open "open") {OPTIONS} {RESET})))""",
    "open",
)


def open_at(context: ExecutionContext, store: int, arguments: Any, result: int) -> int:
    """`wasi:filesystem/types` `descriptor.open-at` for regular files and directories, as many as there may be."""
    try:
        if arguments[2].of.string.size > _MAX_PATH:
            return fail(result, b"name-too-long")
        running.opened += 1
        if running.opened > context.max_files and not _may_open(context):
            return fail(result, b"insufficient-memory")
        return _HELPER.call(store, arguments, len(arguments), result)
    finally:
        drop(store, arguments[0].of.resource)


def _may_open(context: ExecutionContext) -> bool:
    """Counts the open files; the guest may open its share of what is left before they are counted again."""
    limits = _limits(context)
    left = sum(limits) - count_open(context)
    running.opened = context.max_files + 1 - max(1, left // len(limits))
    return left > 0


def most_open(context: ExecutionContext) -> int:
    """The files that all running guests with volumes may have open together."""
    return sum(_limits(context))


def _limits(context: ExecutionContext) -> list[int]:
    """The files that each running guest with volumes may have open."""
    guests = [guest for guest in cast("list[Guest]", list(context.running)) if guest.invocation.volumes]
    return [guest.context.max_files for guest in guests] or [context.max_files]


def count_open(context: ExecutionContext) -> int:
    """The number of this process's descriptors beneath the guest's volumes. Raises Unwind."""
    volumes = {os.path.realpath(volume.host) for volume in context.invocation.volumes}
    paths = []
    for path in _open_paths():
        context.count_host_calls()  # reading a link takes as long as one
        paths.append(path)
    roots = sum(path in volumes for path in paths)
    files = sum(any(path.startswith(volume.rstrip(b"/") + b"/") for volume in volumes) for path in paths)
    return files + max(0, roots - len(volumes) * (len(context.running) + _OWN_DIRECTORIES))


def _open_paths() -> Iterable[bytes]:
    for name in os.listdir(b"/proc/self/fd"):
        with suppress(OSError):  # closed meanwhile
            yield os.readlink(b"/proc/self/fd/" + name)
