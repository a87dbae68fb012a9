"""The guests of tests/system/wire: ENV prints its whole input, and each of the others misbehaves in one way."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.support.guests import CONTENT_TYPE, FD_READ, says, wat_string

CT = b"Content-Type: text/plain\n"
"""The header line that the tables call CT."""

_SIZES = "(param i32 i32) (result i32)"
_LISTS = "".join(
    f'(import "wasi_snapshot_preview1" "{name}" (func ${name} {_SIZES}))'
    for name in ("args_sizes_get", "args_get", "environ_sizes_get", "environ_get")
)
_MORE_MEMORY = "(drop (memory.grow (i32.const 16)))"


def copies(step: int) -> str:
    """Instructions that copy standard input to standard output in steps of `size` bytes."""
    return f"""(block $end (loop $copy
  (i32.store (i32.const 16) (i32.const 720896)) (i32.store (i32.const 20) (i32.const {step}))
  (br_if $end (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))
  (br_if $end (i32.eqz (i32.load (i32.const 24))))
  (call $write (i32.const 1) (i32.const 720896) (i32.load (i32.const 24)))
  (br $copy)))"""


# Four numbers (arguments, their bytes, variables, their bytes), both lists in WASI's layout, then standard input.
# ENV sorts, merges and escapes nothing, so that a duplicate name is seen twice.
ENV = says(
    CONTENT_TYPE,
    imports=FD_READ + _LISTS,
    then=f"""{_MORE_MEMORY}
  (drop (call $args_sizes_get (i32.const 64) (i32.const 68)))
  (drop (call $args_get (i32.const 131072) (i32.const 196608)))
  (drop (call $environ_sizes_get (i32.const 72) (i32.const 76)))
  (drop (call $environ_get (i32.const 393216) (i32.const 458752)))
  (call $write (i32.const 1) (i32.const 64) (i32.const 16))
  (call $write (i32.const 1) (i32.const 196608) (i32.load (i32.const 68)))
  (call $write (i32.const 1) (i32.const 458752) (i32.load (i32.const 76)))
  {copies(65536)}""",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """The input of ENV."""

    argv: list[bytes]
    environ: dict[bytes, bytes]
    stdin: bytes

    def __getitem__(self, name: str) -> bytes | None:
        return self.environ.get(name.encode())


def seen(body: bytes) -> Seen:
    """Parses ENV's output; fails for a duplicate variable."""
    argc, argv_size, count, environ_size = struct.unpack_from("<4I", body)
    environ_at = 16 + argv_size
    stdin_at = environ_at + environ_size
    argv = body[16:environ_at].split(b"\0")[:-1]
    items = body[environ_at:stdin_at].split(b"\0")[:-1]
    assert (len(argv), len(items)) == (argc, count)
    names = [item.partition(b"=")[0] for item in items]
    assert len(names) == len(set(names)), f"a name is there twice: {sorted(names)}"
    return Seen(argv, {name: item[len(name) + 1 :] for name, item in zip(names, items, strict=True)}, body[stdin_at:])


COPY = says(CONTENT_TYPE, imports=FD_READ, then=_MORE_MEMORY + copies(1024))

_PATH_INFO = int.from_bytes(b"PATH_INF", "little")
# Prints PATH_INFO into a header field of its response, as a careless program would.
ECHO_PATH_INFO = says(
    CT + b"X-P: ",
    imports=f"""{_LISTS}
 (func $length (param $at i32) (result i32) (local $end i32)
  (local.set $end (local.get $at))
  (loop $next
   (if (i32.load8_u (local.get $end)) (then
    (local.set $end (i32.add (local.get $end) (i32.const 1))) (br $next))))
  (i32.sub (local.get $end) (local.get $at)))
 (global $item (mut i32) (i32.const 131072))
 (global $value (mut i32) (i32.const 0))""",
    then=f"""{_MORE_MEMORY}
  (drop (call $environ_sizes_get (i32.const 64) (i32.const 68)))
  (drop (call $environ_get (i32.const 131072) (i32.const 196608)))
  (loop $next
   (global.set $value (i32.add (i32.load (global.get $item)) (i32.const 10)))
   (if (i64.ne (i64.load (i32.load (global.get $item))) (i64.const {_PATH_INFO})) (then
    (global.set $item (i32.add (global.get $item) (i32.const 4))) (br $next))))
  (call $write (i32.const 1) (global.get $value) (call $length (global.get $value)))
  (i32.store (i32.const 64) (i32.const 0x0a0a))
  (call $write (i32.const 1) (i32.const 64) (i32.const 2))""",
)


def trickles(output: bytes) -> str:
    """A guest that writes `output` one byte at a time."""
    return says(
        b"",
        imports=f"(global $at (mut i32) (i32.const 2048)) (data (i32.const 2048) {wat_string(output)})",
        then=f"""(loop $next
   (call $write (i32.const 1) (global.get $at) (i32.const 1))
   (global.set $at (i32.add (global.get $at) (i32.const 1)))
   (br_if $next (i32.lt_u (global.get $at) (i32.const {2048 + len(output)}))))""",
    )


_WRITE_VECTORS = """
 (func $write_vectors (param $at i32) (param $end i32) (local $count i32)
  (loop $more
   (if (call $fd_write (i32.const 1) (local.get $at)
     (i32.shr_u (i32.sub (local.get $end) (local.get $at)) (i32.const 3)) (i32.const 8)) (then (return)))
   (local.set $count (i32.load (i32.const 8)))
   (block $partial (loop $whole
    (if (i32.eq (local.get $at) (local.get $end)) (then (return)))
    (br_if $partial (i32.lt_u (local.get $count) (i32.load offset=4 (local.get $at))))
    (local.set $count (i32.sub (local.get $count) (i32.load offset=4 (local.get $at))))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br $whole)))
   (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (local.get $count)))
   (i32.store offset=4 (local.get $at) (i32.sub (i32.load offset=4 (local.get $at)) (local.get $count)))
   (br $more)))"""


def scatters(*pieces: bytes) -> str:
    """A guest that passes all pieces as iovecs to one fd_write, and the rest of a partial write to further calls."""
    output = b"".join(pieces)
    starts = [2048 + sum(map(len, pieces[:number])) for number in range(len(pieces))]
    vectors = b"".join(struct.pack("<II", at, len(piece)) for at, piece in zip(starts, pieces, strict=True))
    data = f"(data (i32.const 512) {wat_string(vectors)}) (data (i32.const 2048) {wat_string(output)})"
    write = f"(call $write_vectors (i32.const 512) (i32.const {512 + len(vectors)}))"
    return says(b"", imports=_WRITE_VECTORS + data, then=write)


def repeats(count: int, piece: bytes, *, before: bytes = b"", fd: int = 1, after: bytes = b"") -> str:
    """A guest that writes `before` to standard output, `piece` to `fd` so many times, `after` to standard output."""
    at, end = 16384, 16384 + len(piece)
    assert len(before) < at - 1024
    pages = (end + len(after)) // 65536 + 1
    return (
        says(
            before,
            imports=f"(global $left (mut i32) (i32.const {count}))",
            then=f"""(drop (memory.grow (i32.const {pages})))
  (memory.init $piece (i32.const {at}) (i32.const 0) (i32.const {len(piece)}))
  (memory.init $after (i32.const {end}) (i32.const 0) (i32.const {len(after)}))
  (loop $next
   (call $write (i32.const {fd}) (i32.const {at}) (i32.const {len(piece)}))
   (global.set $left (i32.sub (global.get $left) (i32.const 1)))
   (br_if $next (global.get $left)))
  (call $write (i32.const 1) (i32.const {end}) (i32.const {len(after)}))""",
        ).removesuffix(")")
        + f" (data $piece {wat_string(piece)}) (data $after {wat_string(after)}))"
    )


# Increments a global and a memory cell and prints both: `11` in a fresh sandbox.
COUNT = says(
    CT + b"\n",
    imports="(global $count (mut i32) (i32.const 48))",
    then="""
  (global.set $count (i32.add (global.get $count) (i32.const 1)))
  (i32.store8 (i32.const 600) (i32.add (i32.load8_u (i32.const 600)) (i32.const 1)))
  (i32.store8 (i32.const 512) (global.get $count))
  (i32.store8 (i32.const 513) (i32.add (i32.load8_u (i32.const 600)) (i32.const 48)))
  (call $write (i32.const 1) (i32.const 512) (i32.const 2))""",
)

# Grows its memory to 4 GiB and prints the result of memory.grow.
GROW = says(
    CT + b"\n",
    then="(i32.store (i32.const 512) (memory.grow (i32.const 65534)))"
    " (call $write (i32.const 1) (i32.const 512) (i32.const 4))",
)

_PATH_OPEN = """(import "wasi_snapshot_preview1" "path_open"
  (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"""


def opens(*paths: bytes) -> str:
    """A guest that opens each path relative to descriptor 3 and prints the error numbers as bytes."""
    calls = []
    for number, path in enumerate(paths):
        at = 2048 + 256 * number
        calls.append(
            f"(memory.init $path{number} (i32.const {at}) (i32.const 0) (i32.const {len(path)}))"
            f"(i32.store8 (i32.const {512 + number}) (call $open (i32.const 3) (i32.const 0) (i32.const {at})"
            f" (i32.const {len(path)}) (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 600)))"
        )
    write = f"(call $write (i32.const 1) (i32.const 512) (i32.const {len(paths)}))"
    data = " ".join(f"(data $path{number} {wat_string(path)})" for number, path in enumerate(paths))
    return says(CT + b"\n", imports=_PATH_OPEN, then="".join(calls) + write).removesuffix(")") + f" {data})"


_GOING, _READY = (int.from_bytes(word, "little") for word in (b"going\n", b"ready"))


def if_argument(instructions: str) -> str:
    """A guest that prints `ready`; with an argument it writes `going` to standard error and runs `instructions`."""
    return says(
        CT + b"\n",
        imports=_LISTS,
        then=f"""(drop (call $args_sizes_get (i32.const 512) (i32.const 516)))
  (if (i32.gt_u (i32.load (i32.const 512)) (i32.const 1)) (then
   (i64.store (i32.const 512) (i64.const {_GOING}))
   (call $write (i32.const 2) (i32.const 512) (i32.const 6))
   {instructions}))
  (i64.store (i32.const 512) (i64.const {_READY}))
  (call $write (i32.const 1) (i32.const 512) (i32.const 5))""",
    )
