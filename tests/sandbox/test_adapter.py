"""Guests with volumes: the descriptors 0 to 2 are the gateway's, all others wasmtime's, within the adapter's bounds."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from tests.support.sandbox import compiler, run
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox import errno
from wagi_gateway.sandbox.invocation import GuestVolume, Invocation
from wagi_gateway.sources.file import WasmSource

HEAD, PATH, LONG_PATH, IOVECS, OUT = 0x100, 0x200, 0x10000, 0x300, 0x400
NAMES = {
    "fd_close": "i",
    "fd_fdstat_get": "ii",
    "fd_filestat_get": "ii",
    "fd_pread": "iiiIi",
    "fd_prestat_dir_name": "iii",
    "fd_pwrite": "iiiIi",
    "fd_read": "iiii",
    "fd_readdir": "iiiIi",
    "fd_renumber": "ii",
    "fd_seek": "iIii",
    "fd_tell": "ii",
    "fd_write": "iiii",
    "path_create_directory": "iii",
    "path_filestat_get": "iiiii",
    "path_link": "iiiiiii",
    "path_open": "iiiiiIIii",
    "path_rename": "iiiiii",
    "path_symlink": "iiiii",
    "path_unlink_file": "iii",
}
READ, WRITE, READDIR = 1 << 1, 1 << 6, 1 << 14
CREATE, FOLLOW, DIRECTORY = 1, 1, 2


def volume(path: Path) -> tuple[GuestVolume, ...]:
    return (GuestVolume(bytes(path), b"/", is_writable=True),)


def call(name: str, *arguments: int | str) -> str:
    """A call in the text format; a string is an expression."""
    types = {"i": "i32", "I": "i64"}
    pairs = zip(NAMES[name], arguments, strict=True)
    return f"(call ${name} {' '.join(a if isinstance(a, str) else f'({types[t]}.const {a})' for t, a in pairs)})"


def open_path(name: str, flags: int = 0, rights: int = READ, at: int = OUT) -> str:
    return call("path_open", 3, FOLLOW, PATH, len(name), flags, rights, 0, 0, at)


def guest(*calls: str, path: str = "f", iovecs: bytes = b"") -> str:
    """A guest that prints the results of its calls, four bytes each."""
    types = {"i": "i32", "I": "i64"}
    imports = [
        f'(import "wasi_snapshot_preview1" "{name}"'
        f" (func ${name} (param {' '.join(types[kind] for kind in kinds)}) (result i32)))"
        for name, kinds in NAMES.items()
    ]
    stores = [f"(i32.store (i32.const {0x1000 + 4 * index}) {text})" for index, text in enumerate(calls)]
    head = struct.pack("<II", 0x1000, 4 * len(calls))
    return f"""(module {" ".join(imports)} (memory (export "memory") 2)
 (data (i32.const {PATH}) "{path}") (data (i32.const {HEAD}) "{_bytes(head)}")
 (data (i32.const {IOVECS}) "{_bytes(iovecs)}")
 (func (export "_start") {" ".join(stores)}
  (drop (call $fd_write (i32.const 1) (i32.const {HEAD}) (i32.const 1) (i32.const 0)))))"""


def _bytes(data: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)


def results(wat: str, volumes: tuple[GuestVolume, ...], **limits: object) -> list[int]:
    module = compiler().load(WasmSource("guest.wat", wat.encode(), wat), has_files=bool(volumes))
    given = Invocation(
        module, b"_start", limits=Limits.model_validate(limits), argv=[], environ={}, stdin=b"body", volumes=volumes
    )
    output, ended = run(given)
    assert ended.failure() is None
    return [number for (number,) in struct.iter_unpack("<I", output)]


ON_STREAMS = [
    call(name, descriptor, *arguments)
    for descriptor in (0, 1, 2)
    for name, arguments in (
        ("fd_fdstat_get", (0x800,)),
        ("fd_filestat_get", (0x800,)),
        ("fd_prestat_dir_name", (0x800, 1)),
        ("fd_seek", (0, 1, 0x800)),
        ("fd_tell", (0x800,)),
        ("fd_pread", (IOVECS, 1, 0, 0x800)),
        ("fd_pwrite", (IOVECS, 1, 0, 0x800)),
        ("fd_readdir", (0x900, 64, 0, 0x800)),
        ("fd_read", (IOVECS, 1025, 0x800)),
        ("fd_write", (IOVECS, 1025, 0x800)),
    )
]


def test_streams_are_the_same_with_and_without_volumes(tmp_path: Path) -> None:
    unknown = [text.replace("(i32.const 2)", "(i32.const 99)", 1) for text in ON_STREAMS[-10:-2]]
    wat = guest(
        *ON_STREAMS, *unknown, call("fd_renumber", 0, 2), call("fd_close", 0), call("fd_close", 2), call("fd_close", 2)
    )
    assert results(wat, volume(tmp_path)) == results(wat, ())


@pytest.mark.parametrize("name", ["fd_write", "fd_pwrite"])
def test_a_gathered_write_to_a_file_is_whole(tmp_path: Path, name: str) -> None:
    pieces = struct.pack("<8I", 0x500, 3, 0x600, 0, 0x500, 1, PATH, 1)
    offset = (0,) if name == "fd_pwrite" else ()
    wat = guest(
        open_path("f", CREATE, READ | WRITE),
        call(name, f"(i32.load (i32.const {OUT}))", IOVECS, 4, *offset, 0x700),
        "(i32.load (i32.const 0x700))",
        iovecs=pieces,
    )
    assert results(wat, volume(tmp_path)) == [0, 0, 5]
    assert (tmp_path / "f").read_bytes() == b"\0\0\0\0f"


OPENED = f"(i32.load (i32.const {OUT}))"
END = 2 * 65536
"""The size of the guest's memory in bytes."""
MIB = 2**20
CHUNK = MIB
"""Bytes that are read or written at a time."""


def with_memory(wat: str, mib: int, fields: str = "") -> str:
    """A guest with a larger memory, and more data segments."""
    memory = '(memory (export "memory") 2)'
    return wat.replace(memory, memory.replace("2)", f"{16 * mib}) {fields}"), 1)


@pytest.mark.parametrize("has_offset", [False, True], ids=["read", "pread"])
@pytest.mark.parametrize("start", [8 * 1024, 8 * 1024 + 1, 2 * MIB])
@pytest.mark.parametrize(
    ("size", "available"),
    [(CHUNK, CHUNK), (CHUNK + 1, CHUNK + 1), (3 * CHUNK, 2 * CHUNK + 5), (3 * CHUNK, CHUNK), (2 * CHUNK, 3 * CHUNK)],
)
def test_a_large_piece_is_read_and_written_whole(
    tmp_path: Path, start: int, size: int, available: int, has_offset: bool
) -> None:
    """The guest copies a file by one read and one write."""
    content = os.urandom(available)
    (tmp_path / "f").write_bytes(content)
    p, offset = ("p", (0,)) if has_offset else ("", ())
    wat = guest(
        open_path("f"),
        call("path_open", 3, FOLLOW, PATH + 1, 1, CREATE, WRITE, 0, 0, OUT + 4),
        call(f"fd_{p}read", OPENED, IOVECS, 2, *offset, IOVECS + 20),
        call(f"fd_{p}write", f"(i32.load (i32.const {OUT + 4}))", IOVECS + 16, 1, *offset, OUT + 8),
        f"(i32.load (i32.const {OUT + 8}))",
        path="fg",
        iovecs=struct.pack("<6I", start, size, 0, 0, start, 0),
    )
    copied = min(size, available)
    assert results(with_memory(wat, 6), volume(tmp_path)) == [0, 0, 0, 0, copied]
    assert (tmp_path / "g").read_bytes() == content[:copied]


@pytest.mark.parametrize("start", [0, 7, 8])
def test_a_guest_that_writes_all_of_its_memory(tmp_path: Path, start: int) -> None:
    """Memory is as it was, before and after: the adapter's own iovec is in it for a moment."""
    marked = (0, CHUNK + 8, 2 * CHUNK)
    segments = " ".join(f'(data (i32.const {at}) "marked {number}")' for number, at in enumerate(marked))
    loads = [f"(i32.load8_u (i32.const {at + offset}))" for at in marked for offset in (0, 7)]
    wat = guest(
        open_path("f", CREATE, READ | WRITE),
        call("fd_write", OPENED, IOVECS, 1, OUT + 8),
        f"(i32.load (i32.const {OUT + 8}))",
        *loads,
        iovecs=struct.pack("<2I", start, 3 * CHUNK - start),
    )
    expected = [value for number in range(3) for value in (ord("m"), ord(str(number)))]
    assert results(with_memory(wat, 3, segments), volume(tmp_path)) == [0, 0, 3 * CHUNK - start, *expected]
    written = bytes(start) + (tmp_path / "f").read_bytes()
    assert [written[at : at + 8] for at in marked[1:]] == [b"marked 1", b"marked 2"]
    assert written[PATH : PATH + 1] == b"f"


@pytest.mark.parametrize(
    ("pieces", "error", "written"),
    [
        ([(0x500, 2), (END - 4, 5)], 0, 2),
        ([(END - 4, 5), (0x500, 2)], errno.FAULT, 0),
        ([(0, 2**32 - 1)], errno.FAULT, 0),
        ([(2**32 - 1, 2**32 - 1)], errno.FAULT, 0),
    ],
)
def test_a_piece_outside_of_memory(tmp_path: Path, pieces: list[tuple[int, int]], error: int, written: int) -> None:
    wat = guest(
        open_path("f", CREATE, READ | WRITE),
        call("fd_write", OPENED, IOVECS, len(pieces), OUT + 8),
        call("fd_write", OPENED, END - 4, 1, OUT + 8),
        call("fd_write", 99, 0, 0, OUT + 8),
        iovecs=b"".join(struct.pack("<2I", *piece) for piece in pieces),
    )
    assert results(wat, volume(tmp_path)) == [0, error, errno.FAULT, errno.BADF]
    assert (tmp_path / "f").stat().st_size == written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (call("fd_read", OPENED, IOVECS, 1025, 0), errno.INVAL),
        (call("fd_write", OPENED, IOVECS, 1 << 24, 0), errno.INVAL),
        (call("fd_pread", OPENED, IOVECS, 1025, 0, 0), errno.INVAL),
        (call("fd_pwrite", OPENED, IOVECS, 1025, 0, 0), errno.INVAL),
        (call("path_open", 3, 0, PATH, 4097, 0, 0, 0, 0, 0), errno.NAMETOOLONG),
        (call("path_create_directory", 3, PATH, 0x7FFFFFFF), errno.NAMETOOLONG),
        (call("path_filestat_get", 3, 0, PATH, 5000, 0x800), errno.NAMETOOLONG),
        (call("path_link", 3, 0, PATH, 1, 3, PATH, 5000), errno.NAMETOOLONG),
        (call("path_rename", 3, PATH, 5000, 3, PATH, 1), errno.NAMETOOLONG),
        (call("path_symlink", PATH, 5000, 3, PATH, 1), errno.NAMETOOLONG),
        (call("path_unlink_file", 3, PATH, 5000), errno.NAMETOOLONG),
        (call("fd_renumber", OPENED, 1), errno.NOTSUP),
        (call("fd_renumber", 1, OPENED), errno.NOTSUP),
        (call("fd_readdir", OPENED, 0x900, 64, 0, 0x800), errno.NOTDIR),
    ],
)
def test_bounds(tmp_path: Path, text: str, expected: int) -> None:
    (tmp_path / "f").touch()
    assert results(guest(open_path("f"), text), volume(tmp_path)) == [0, expected]


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def make_link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("fifo"))
    path.symlink_to("fifo")


@pytest.mark.parametrize("make", [make_fifo, make_socket, make_link_to_fifo])
@pytest.mark.parametrize("rights", [READ, WRITE, READ | WRITE])
def test_regular_files_and_directories_alone_are_opened(tmp_path: Path, make: object, rights: int) -> None:
    assert callable(make)
    make(tmp_path / "f")
    (tmp_path / "g").touch()
    wat = guest(open_path("f", rights=rights), open_path("f", CREATE, rights), path="f")
    assert results(wat, volume(tmp_path)) == [errno.ACCES, errno.ACCES]


def test_devices_are_not_opened() -> None:
    names = ("null", "zero", "full", "random")
    wat = guest(
        *(call("path_open", 3, FOLLOW, PATH + 8 * n, len(name), 0, READ, 0, 0, OUT) for n, name in enumerate(names)),
        path="".join(name.ljust(8) for name in names),
    )
    assert results(wat, volume(Path("/dev"))) == [errno.ACCES] * len(names)


@pytest.mark.parametrize("flags", [0, DIRECTORY], ids=["file", "directory"])
def test_open_files_are_bounded(tmp_path: Path, flags: int) -> None:
    if flags:
        (tmp_path / "f").mkdir()
    else:
        (tmp_path / "f").touch()
    opens = [open_path("f", flags) for _ in range(5)]
    closes = [call("fd_close", 4), call("fd_renumber", 5, 6)]
    wat = guest(*opens, *closes, *opens)
    assert results(wat, volume(tmp_path), files=3) == [
        *(0, 0, 0, errno.MFILE, errno.MFILE),
        *(0, 0),
        *(0, 0, errno.MFILE, errno.MFILE, errno.MFILE),
    ]


@pytest.mark.parametrize(
    ("at", "error"),
    [
        *((0x401, errno.INVAL), (0x402, errno.INVAL), (0x403, errno.INVAL)),
        *((END - 3, errno.INVAL), (END, errno.FAULT), (END + 4, errno.FAULT), (-4, errno.FAULT), (-1, errno.INVAL)),
    ],
)
def test_no_file_is_opened_whose_descriptor_cannot_be_stored(tmp_path: Path, at: int, error: int) -> None:
    """A file that the guest cannot name would not be counted."""
    (tmp_path / "f").touch()
    wat = guest(*[open_path("f", at=at)] * 20, open_path("f"), OPENED, open_path("f", at=END - 4))
    assert results(wat, volume(tmp_path), files=2) == [error] * 20 + [0, 4, 0]


def test_memory_is_as_it_was_after_a_path_is_opened(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    before = "(i64.store (i32.const 16) (i64.const -2))"
    wat = guest(open_path("f"), "(i32.load (i32.const 16))", "(i32.load (i32.const 20))")
    wat = wat.replace('(func (export "_start")', f'(func (export "_start") {before}')
    assert results(wat, volume(tmp_path)) == [0, 0xFFFFFFFE, 0xFFFFFFFF]


LIST = f"""(local $used i32) (local $cookie i64)
 (loop $more
  (drop {call("fd_readdir", 3, 0x2000, "SIZE", "(local.get $cookie)", 0x800)})
  (local.set $used (i32.load (i32.const 0x800)))
  (i32.store (i32.const 0x810) (i32.const 0x2000)) (i32.store (i32.const 0x814) (local.get $used))
  (drop {call("fd_write", 1, 0x810, 1, 0x800)})
  NEXT)"""


def names(output: bytes) -> list[tuple[bytes, int]]:
    """Names and types of directory entries."""
    found = []
    while output:
        _, _, size, kind = struct.unpack_from("<QQIB", output)
        found.append((output[24 : 24 + size], kind))
        output = output[24 + size :]
    return found


@pytest.mark.parametrize("count", [0, 3, 2000])
def test_a_directory_is_listed(tmp_path: Path, count: int) -> None:
    """The buffer holds one entry and a part of the next, as a C library reads."""
    for number in range(count):
        (tmp_path / f"{number:04}").touch()
    (tmp_path / "link").symlink_to("x")
    (tmp_path / "sub").mkdir()
    one = """(if (i32.ge_u (local.get $used) (i32.const 24)) (then
      (local.set $cookie (i64.load (i32.const 0x2000))) (br $more)))"""
    # Each entry is printed alone: its size is 24 bytes and the name.
    body = LIST.replace("SIZE", "(i32.const 40)").replace(
        "(i32.store (i32.const 0x814) (local.get $used))",
        """(if (i32.ge_u (local.get $used) (i32.const 24)) (then
            (i32.store (i32.const 0x814) (i32.add (i32.const 24) (i32.load (i32.const 0x2010)))))
           (else (i32.store (i32.const 0x814) (i32.const 0))))""",
    )
    wat = guest().replace('(func (export "_start")', f'(func (export "_start") {body.replace("NEXT", one)}', 1)
    module = compiler().load(WasmSource("guest.wat", wat.encode(), wat), has_files=True)
    given = Invocation(module, b"_start", limits=Limits(), argv=[], environ={}, volumes=volume(tmp_path))
    output, ended = run(given)
    assert ended.failure() is None
    files = [(f"{number:04}".encode(), 4) for number in range(count)]
    assert sorted(names(output)) == sorted([(b".", 3), (b"..", 3), (b"link", 7), (b"sub", 3), *files])


def test_a_directory_below_a_volume_is_listed(tmp_path: Path) -> None:
    (tmp_path / "f" / "inner").mkdir(parents=True)
    wat = guest(
        open_path("f", 2, READDIR),
        call("fd_readdir", OPENED, 0x2000, 200, 0, 0x800),
        "(i32.load (i32.const 0x800))",
        call("fd_renumber", OPENED, 3),
        call("fd_readdir", 3, 0x2000, 200, 2, 0x800),
        "(i32.load (i32.const 0x800))",
        call("fd_close", 3),
        call("fd_readdir", 3, 0x2000, 200, 0, 0x800),
    )
    assert results(wat, volume(tmp_path)) == [0, 0, 24 + 1 + 24 + 2 + 24 + 5, 0, 0, 24 + 5, 0, errno.BADF]


def test_a_start_function_may_write(tmp_path: Path) -> None:
    wat = guest().replace('(func (export "_start")', '(start $begin) (func (export "_start")) (func $begin', 1)
    assert results(wat, volume(tmp_path)) == []
