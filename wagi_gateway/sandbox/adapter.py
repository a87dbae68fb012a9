"""The WebAssembly around a guest with volumes: the descriptors 0 to 2 are the gateway's, all others wasmtime's.

Three instances share a store. The shim comes first: it offers every import of the guest, and calls the adapted ones
through a table. Then comes the guest, which exports its memory. The adapter comes last: it imports the guest's memory,
so that wasmtime's WASI finds it, and puts the adapted functions into the table. (The terms are those of the Component
Model's tools.) So a call on a file costs no Python, and its entry into the adapter is an epoch check.

The adapter also bounds what wasmtime does not: the pieces of a gathered read or write, the length of a path, the open
files of a guest; and it opens regular files and directories alone, because opening a FIFO blocks.
"""

from __future__ import annotations

from functools import cache

from . import errno
from .context import ExecutionContext
from .devices import device_numbers
from .iovecs import MAX_IOVECS
from .open_directories import MAX_PATH
from .shim import ADAPTED, ON_PATHS, SIGNATURES, arguments, gateway_imports, type_text

_FILES_GLOBAL = b"files"
"""The adapter's global with the number of files that the guest may still open."""
_DIRECTORY_GLOBAL, _DEVICE_GLOBAL = b"directory", b"device"
"""The adapter's globals with the numbers of the guest's devices (`devices.DeviceNumbers`)."""
_ONLY_DIRECTORY = 2
"""The flag of `path_open`."""
_DIRECTORY, _REGULAR_FILE, _SYMBOLIC_LINK = 3, 4, 7
_FD_WRITE_RIGHT = 1 << 6


@cache
def adapter_text(*, reports_opens: bool = False) -> str:
    """The text of the adapter. With `reports_opens` the gateway hears of each file that the guest opens."""
    return "\n".join(
        (
            "(module",
            '(import "guest" "memory" (memory 0))',
            '(import "shim" "table" (table 0 funcref))',
            '(export "memory" (memory 0))',
            f'(global $files (export "{_FILES_GLOBAL.decode()}") (mut i32) (i32.const 0))',
            *(
                f'(global ${name.decode()} (export "{name.decode()}") (mut i32) (i32.const -1))'
                for name in (_DIRECTORY_GLOBAL, _DEVICE_GLOBAL)
            ),
            _IS_DEVICE,
            *map(
                _on_stream,
                ("fd_fdstat_get", "fd_filestat_get", "fd_prestat_dir_name", "fd_prestat_get", "fd_seek", "fd_tell"),
            ),
            _RESERVE.format(open=_wasi("path_open", _RESERVING), fault=errno.FAULT),
            _IS_OUTSIDE,
            *map(_on_iovecs, ("fd_read", "fd_pread", "fd_write", "fd_pwrite")),
            *(_on_path(name, lengths) for name, lengths in ON_PATHS.items()),
            _FD_CLOSE.format(stream=_if_stream("fd_close"), call=_wasi("fd_close", "(local.get 0)")),
            _FD_RENUMBER.format(
                both=_gateway("fd_renumber", "(local.get 0) (local.get 1)"),
                call=_wasi("fd_renumber", "(local.get 0) (local.get 1)"),
                moved=_gateway("directory_renumbered", "(local.get 0) (local.get 1)"),
                notsup=errno.NOTSUP,
            ),
            _STAT.format(
                name="path_type",
                parameters="(param $descriptor i32) (param $flags i32) (param $path i32) (param $size i32)",
                call=_wasi(
                    "path_filestat_get",
                    "(local.get $descriptor) (local.get $flags) (local.get $path) (local.get $size) (i32.const 0)",
                ),
            ),
            _STAT.format(
                name="file_type",
                parameters="(param $descriptor i32)",
                call=_wasi("fd_filestat_get", "(local.get $descriptor) (i32.const 0)"),
            ),
            _PATH_OPEN.format(
                name="open_path" if reports_opens else "path_open",
                bounds=_bound_path(3),
                inval=errno.INVAL,
                fault=errno.FAULT,
                mfile=errno.MFILE,
                acces=errno.ACCES,
                directory=_DIRECTORY,
                regular=_REGULAR_FILE,
                link=_SYMBOLIC_LINK,
                opened=_gateway(
                    "directory_opened",
                    "(local.get 0) (local.get 2) (local.get 3) (i32.load (local.get 8))",
                ),
                open=_wasi("path_open", arguments("path_open")),
                device=_if_device("path_open"),
            ),
            _REPORTED_OPEN.format(
                open=" ".join(f"(local.get {index})" for index in range(9)),
                opened=_gateway(
                    "path_opened",
                    "(local.get 0) (local.get 2) (local.get 3)"
                    f" (i64.ne (i64.and (local.get 5) (i64.const {_FD_WRITE_RIGHT})) (i64.const 0)) (local.get $error)",
                ),
            )
            if reports_opens
            else "",
            _FD_READDIR.format(
                stream=_if_stream("fd_readdir"),
                badf=errno.BADF,
                notdir=errno.NOTDIR,
                directory=_DIRECTORY,
                call=_gateway("fd_readdir", arguments("fd_readdir")),
            ),
            f"(elem (i32.const 0) func {' '.join(f'${name}' for name in ADAPTED)})",
            ")",
        )
    )


def adapter_globals(context: ExecutionContext) -> dict[bytes, int]:
    """The globals of the adapter that are set for a guest."""
    numbers = device_numbers(context.invocation)
    if numbers is None:
        return {_FILES_GLOBAL: context.max_files}
    return {
        _FILES_GLOBAL: context.max_files,
        _DIRECTORY_GLOBAL: numbers.directory,
        _DEVICE_GLOBAL: numbers.first,
    }


def _call(slot: int, parameters: str, arguments: str) -> str:
    return f"(call_indirect {type_text(parameters)} {arguments} (i32.const {slot}))"


def _wasi(name: str, arguments: str) -> str:
    """A call of wasmtime's function."""
    return _call(len(ADAPTED) + ADAPTED.index(name), SIGNATURES[name], arguments)


def _gateway(name: str, arguments: str) -> str:
    """A call of the gateway's function."""
    hosts = gateway_imports()
    slot = next(index for index, host in enumerate(hosts) if host.name == name)
    return _call(2 * len(ADAPTED) + slot, hosts[slot].parameters, arguments)


def _if_stream(name: str) -> str:
    """Returns from the adapter with the gateway's result for the descriptors 0 to 2, and those of devices."""
    return f"(if (call $is_own (local.get 0)) (then (return {_gateway(name, arguments(name))})))"


def _if_device(name: str) -> str:
    """Returns from the adapter with the gateway's result for the descriptors of devices."""
    return f"(if (call $is_device (local.get 0)) (then (return {_gateway(name, arguments(name))})))"


def _bound_iovecs(index: int) -> str:
    return f"(if (i32.gt_u (local.get {index}) (i32.const {MAX_IOVECS})) (then (return (i32.const {errno.INVAL}))))"


def _bound_path(index: int) -> str:
    return f"(if (i32.gt_u (local.get {index}) (i32.const {MAX_PATH})) (then (return (i32.const {errno.NAMETOOLONG}))))"


def _function(name: str, *body: str) -> str:
    return f"(func ${name} {type_text(SIGNATURES[name])} {' '.join(body)})"


def _on_stream(name: str) -> str:
    return _function(name, _if_stream(name), _wasi(name, arguments(name)))


def _on_iovecs(name: str) -> str:
    has_offset, chunk = "I" in SIGNATURES[name], _PREAD_CHUNK if name == "fd_pread" else _CHUNK
    return _ON_IOVECS.format(
        name=name,
        type=type_text(SIGNATURES[name]),
        stream=_if_stream(name),
        bounds=_bound_iovecs(2),
        fault=errno.FAULT,
        chunk=chunk,
        scratch=chunk + 8,
        unchanged=_wasi(name, arguments(name)),
        call=_wasi(
            name,
            "(local.get 0) (local.get $iovec) (i32.const 1) "
            + ("(i64.add (local.get 3) (i64.extend_i32_u (local.get $total))) " if has_offset else "")
            + _RESULT_AT[has_offset],
        ),
        result_at=_RESULT_AT[has_offset],
        # A read ends with its first piece, as wasmtime's own: each further one would be another system call.
        ends_with_piece="(br_if $done (local.get $size))" if "read" in name else "",
    )


def _on_path(name: str, lengths: tuple[int, ...]) -> str:
    device = _if_device(name) if name == "path_filestat_get" else ""
    return _function(name, *map(_bound_path, lengths), device, _wasi(name, arguments(name)))


_CHUNK = 1 << 20
"""Bytes that are read or written at a time: wasmtime copies them, beyond `limits.memory`, and checks no epoch."""
_PREAD_CHUNK = 1 << 16
"""Bytes that wasmtime's `fd_pread` reads at most."""
_RESULT_AT = "(local.get 3)", "(local.get 4)"
"""Where the result is stored, without an offset and with one."""

_IS_DEVICE = """
(func $is_device (param $descriptor i32) (result i32)
 (i32.or
  (i32.ge_u (local.get $descriptor) (global.get $device))
  (i32.eq (local.get $descriptor) (global.get $directory))))
(func $is_own (param $descriptor i32) (result i32)
 (i32.or (i32.lt_u (local.get $descriptor) (i32.const 3)) (call $is_device (local.get $descriptor))))"""
_RESERVING = (
    f"(i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const {_ONLY_DIRECTORY})"
    " (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 4)"
)
# wasmtime would give the number of /dev to the first file. So the first volume is opened once more before, and before
# the first close, because a number that was freed would be given first.
_RESERVE = """
(global $is_reserved (mut i32) (i32.const 0))
(func $reserve (result i32) (local $saved i64) (local $error i32)
 (if (i32.or (global.get $is_reserved) (i32.eq (global.get $directory) (i32.const -1))) (then (return (i32.const 0))))
 (if (call $is_outside (i32.const 0) (i32.const 8)) (then (return (i32.const {fault}))))
 (local.set $saved (i64.load (i32.const 0)))
 (i32.store8 (i32.const 0) (i32.const 46))
 (local.set $error {open})
 (i64.store (i32.const 0) (local.get $saved))
 (global.set $is_reserved (i32.eqz (local.get $error)))
 (local.get $error))"""
_IS_OUTSIDE = """
(func $is_outside (param $start i32) (param $size i32) (result i32)
 (i64.gt_u
  (i64.add (i64.extend_i32_u (local.get $start)) (i64.extend_i32_u (local.get $size)))
  (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))))"""

# wasmtime's own writes the first piece alone: each piece is a call, until one is short or fails. A piece of more than a
# chunk is several calls with an iovec of the adapter's own, for which eight bytes outside of the chunk are saved and
# restored.
_ON_IOVECS = """
(func ${name} {type}
 (local $at i32) (local $end i32) (local $start i32) (local $left i32) (local $size i32) (local $moved i32)
 (local $iovec i32) (local $is_chunk i32) (local $saved i64) (local $total i32) (local $error i32)
 {stream} {bounds}
 (if (i32.eqz (local.get 2)) (then (return {unchanged})))
 (if (call $is_outside (local.get 1) (i32.shl (local.get 2) (i32.const 3))) (then (return (i32.const {fault}))))
 (local.set $at (local.get 1))
 (local.set $end (i32.add (local.get 1) (i32.shl (local.get 2) (i32.const 3))))
 (block $done
  (loop $next
   (br_if $done (i32.eq (local.get $at) (local.get $end)))
   (local.set $start (i32.load (local.get $at)))
   (local.set $left (i32.load offset=4 (local.get $at)))
   (local.set $iovec (local.get $at))
   (local.set $is_chunk (i32.gt_u (local.get $left) (i32.const {chunk})))
   (if (i32.or
     (call $is_outside (local.get $start) (local.get $left))
     (i32.lt_u (i32.add (local.get $total) (local.get $left)) (local.get $total)))
    (then (local.set $error (i32.const {fault})) (br $done)))
   (loop $more
    (local.set $size (local.get $left))
    (if (local.get $is_chunk) (then
     (if (i32.gt_u (local.get $left) (i32.const {chunk})) (then (local.set $size (i32.const {chunk}))))
     (local.set $iovec
      (select (i32.const {scratch}) (i32.const 0) (i32.lt_u (local.get $start) (i32.const 8))))
     (local.set $saved (i64.load (local.get $iovec)))
     (i32.store (local.get $iovec) (local.get $start))
     (i32.store offset=4 (local.get $iovec) (local.get $size))))
    (local.set $error {call})
    (if (i32.eqz (local.get $error)) (then (local.set $moved (i32.load {result_at}))))
    (if (local.get $is_chunk) (then (i64.store (local.get $iovec) (local.get $saved))))
    (br_if $done (local.get $error))
    (local.set $total (i32.add (local.get $total) (local.get $moved)))
    (br_if $done (i32.ne (local.get $size) (local.get $moved)))
    (local.set $start (i32.add (local.get $start) (local.get $size)))
    (local.set $left (i32.sub (local.get $left) (local.get $size)))
    (br_if $more (local.get $left)))
   {ends_with_piece}
   (local.set $at (i32.add (local.get $at) (i32.const 8)))
   (br $next)))
 (if (i32.and (i32.ne (local.get $error) (i32.const 0)) (i32.eqz (local.get $total)))
  (then (return (local.get $error))))
 (i32.store {result_at} (local.get $total))
 (i32.const 0))"""

_FD_CLOSE = """
(func $fd_close (param i32) (result i32) (local $error i32)
 {stream}
 (local.set $error (call $reserve))
 (if (local.get $error) (then (return (local.get $error))))
 (local.set $error {call})
 (if (i32.eqz (local.get $error)) (then (global.set $files (i32.add (global.get $files) (i32.const 1)))))
 (local.get $error))"""

_FD_RENUMBER = """
(func $fd_renumber (param i32 i32) (result i32) (local $error i32)
 (if (i32.and (call $is_own (local.get 0)) (call $is_own (local.get 1))) (then (return {both})))
 (if (i32.or (call $is_own (local.get 0)) (call $is_own (local.get 1)))
  (then (return (i32.const {notsup}))))
 (local.set $error (call $reserve))
 (if (local.get $error) (then (return (local.get $error))))
 (local.set $error {call})
 (if (i32.and (i32.eqz (local.get $error)) (i32.ne (local.get 0) (local.get 1))) (then
  (drop {moved})
  (global.set $files (i32.add (global.get $files) (i32.const 1)))))
 (local.get $error))"""

# A filestat has 64 bytes, for which the guest's first bytes are saved and restored.
_STAT = """
(func ${name} {parameters} (result i32)
 (local $error i32) (local $type i32)
 (local $0 i64) (local $1 i64) (local $2 i64) (local $3 i64) (local $4 i64) (local $5 i64) (local $6 i64) (local $7 i64)
 (local.set $0 (i64.load (i32.const 0))) (local.set $1 (i64.load (i32.const 8)))
 (local.set $2 (i64.load (i32.const 16))) (local.set $3 (i64.load (i32.const 24)))
 (local.set $4 (i64.load (i32.const 32))) (local.set $5 (i64.load (i32.const 40)))
 (local.set $6 (i64.load (i32.const 48))) (local.set $7 (i64.load (i32.const 56)))
 (local.set $error {call})
 (local.set $type (i32.load8_u (i32.const 16)))
 (i64.store (i32.const 0) (local.get $0)) (i64.store (i32.const 8) (local.get $1))
 (i64.store (i32.const 16) (local.get $2)) (i64.store (i32.const 24) (local.get $3))
 (i64.store (i32.const 32) (local.get $4)) (i64.store (i32.const 40) (local.get $5))
 (i64.store (i32.const 48) (local.get $6)) (i64.store (i32.const 56) (local.get $7))
 (if (result i32) (local.get $error) (then (i32.const -1)) (else (local.get $type))))"""

# The type is found before the file is opened, because opening a FIFO blocks. The place of the result is checked before,
# too: wasmtime's own checks it when the file is open, which then stays open, and would not be counted.
_PATH_OPEN = """
(func ${name} (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (local $type i32) (local $error i32)
 {bounds} {device}
 (if (i32.and (local.get 8) (i32.const 3)) (then (return (i32.const {inval}))))
 (if (call $is_outside (local.get 8) (i32.const 4)) (then (return (i32.const {fault}))))
 (if (i32.le_s (global.get $files) (i32.const 0)) (then (return (i32.const {mfile}))))
 (local.set $error (call $reserve))
 (if (local.get $error) (then (return (local.get $error))))
 (local.set $type (call $path_type (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
 (if (i32.ge_s (local.get $type) (i32.const 0)) (then
  (if (i32.and (i32.ne (local.get $type) (i32.const {link})) (i32.eqz (call $is_plain (local.get $type))))
   (then (return (i32.const {acces}))))))
 (local.set $error {open})
 (if (local.get $error) (then (return (local.get $error))))
 (global.set $files (i32.sub (global.get $files) (i32.const 1)))
 (if (i32.eq (local.get $type) (i32.const {directory})) (then (drop {opened})))
 (i32.const 0))
(func $is_plain (param $type i32) (result i32)
 (i32.or (i32.eq (local.get $type) (i32.const {directory})) (i32.eq (local.get $type) (i32.const {regular}))))"""

_REPORTED_OPEN = """
(func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (local $error i32)
 (local.set $error (call $open_path {open}))
 (drop {opened})
 (local.get $error))"""

_FD_READDIR = """
(func $fd_readdir (param i32 i32 i32 i64 i32) (result i32) (local $type i32)
 {stream}
 (local.set $type (call $file_type (local.get 0)))
 (if (i32.lt_s (local.get $type) (i32.const 0)) (then (return (i32.const {badf}))))
 (if (i32.ne (local.get $type) (i32.const {directory})) (then (return (i32.const {notdir}))))
 {call})"""
