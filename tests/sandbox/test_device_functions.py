"""`/dev/null` and `/dev/urandom` without a volume: the same for guests with and without volumes, on both backends."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support.sandbox import run, warm
from tests.support.wasi import MODULE, SIGNATURES
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox import errno
from wagi_gateway.sandbox.devices import GUEST_PATH, NO_HOST
from wagi_gateway.sandbox.invocation import GuestVolume, Invocation

PATH, IOVECS, OUT, BUFFER, RESULTS = 0x100, 0x300, 0x400, 0x1000, 0x8000
READ, WRITE = 1 << 1, 1 << 6
CREATE, DIRECTORY, EXCLUSIVE, TRUNCATE = 1, 2, 4, 8
OPENED = f"(i32.load (i32.const {OUT}))"
"""The descriptor that was opened last."""


def with_devices(directory: Path) -> tuple[GuestVolume, ...]:
    (directory / "file").write_text("content")
    data = GuestVolume(bytes(directory), b"/data", is_writable=True)
    return data, GuestVolume(NO_HOST, GUEST_PATH, is_writable=False)


@pytest.fixture(params=[False, True], ids=["no volume", "volume"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[GuestVolume, ...]:
    """The volumes of the guest."""
    return with_devices(tmp_path) if request.param else ()


def call(name: str, *arguments: int | str) -> str:
    """A call in the text format; a string is an expression."""
    types = {"i": "i32", "I": "i64"}
    pairs = zip(SIGNATURES[name], arguments, strict=True)
    return f"(call ${name} {' '.join(a if isinstance(a, str) else f'({types[t]}.const {a})' for t, a in pairs)})"


def opens(path: str, flags: int = 0, rights: int = READ | WRITE, directory: int | str = "DEV") -> str:
    """Copies a path into the guest's memory and opens it."""
    name = path.encode()
    stores = "".join(f"(i32.store8 (i32.const {PATH + at}) (i32.const {byte}))" for at, byte in enumerate(name))
    opening = call("path_open", directory, 1, PATH, len(name), flags, rights, 0, 0, OUT)
    return f"(block (result i32) {stores} {opening})"


def results(own: tuple[GuestVolume, ...], *calls: str, **limits: object) -> tuple[list[int], bytes]:
    """The results of a guest's calls, and its memory from BUFFER on. DEV is the descriptor of `/dev`."""
    types = {"i": "i32", "I": "i64"}
    names = [name for name in SIGNATURES if name not in ("proc_exit", "proc_raise")]
    imports = "".join(
        f'(import "{MODULE}" "{name}" (func ${name} (param {" ".join(types[kind] for kind in SIGNATURES[name])})'
        " (result i32)))"
        for name in names
    )
    stores = "".join(f"(i32.store (i32.const {RESULTS + 4 * at}) {text})" for at, text in enumerate(calls))
    size = 4 * len(calls)
    iovecs = struct.pack("<4I", BUFFER, 16, BUFFER + 16, 48)
    head = struct.pack("<4I", RESULTS, size, BUFFER, 512)
    data = "".join(f"\\{byte:02x}" for byte in iovecs + head)
    wat = f"""(module {imports} (memory (export "memory") 1) (data (i32.const {IOVECS}) "{data}")
     (func (export "_start") {stores}
      (drop (call $fd_write (i32.const 1) (i32.const {IOVECS + 16}) (i32.const 2) (i32.const 0)))))"""
    wat = wat.replace("DEV", f"(i32.const {4 if own else 3})")
    given = Invocation(
        warm(wat, has_files=bool(own)),
        b"_start",
        limits=Limits.model_validate(limits),
        argv=[],
        environ={},
        volumes=own,
    )
    output, guest = run(given)
    assert guest.failure() is None
    return [number for (number,) in struct.iter_unpack("<I", output[:size])], output[size:]


def io(name: str, descriptor: str = OPENED) -> str:
    return call(name, descriptor, IOVECS, 2, *((7,) if name.startswith("fd_p") else ()), OUT + 8)


MOVED = f"(i32.load (i32.const {OUT + 8}))"


@pytest.mark.parametrize("suffix", ["read", "pread"])
def test_null_is_at_its_end(own: tuple[GuestVolume, ...], suffix: str) -> None:
    found, buffer = results(own, opens("null"), io(f"fd_{suffix}"), MOVED)
    assert (found, any(buffer)) == ([0, 0, 0], False)


@pytest.mark.parametrize("suffix", ["read", "pread"])
def test_urandom_fills_every_piece(own: tuple[GuestVolume, ...], suffix: str) -> None:
    found, buffer = results(own, opens("urandom"), io(f"fd_{suffix}"), MOVED)
    assert found == [0, 0, 64]
    assert any(buffer[:16])
    assert any(buffer[16:64])
    assert not any(buffer[64:])
    assert results(own, opens("urandom"), io("fd_read"))[1] != buffer


@pytest.mark.parametrize("name", ["null", "urandom"])
def test_what_is_written_is_discarded(own: tuple[GuestVolume, ...], name: str) -> None:
    truncating = opens(name, CREATE | TRUNCATE, WRITE)
    assert results(own, truncating, io("fd_write"), MOVED, io("fd_pwrite"), MOVED)[0] == [0, 0, 64, 0, 64]


@pytest.mark.parametrize(("rights", "refused"), [(READ, "fd_write"), (WRITE, "fd_read")])
def test_a_device_is_used_as_it_was_opened(own: tuple[GuestVolume, ...], rights: int, refused: str) -> None:
    assert results(own, opens("null", rights=rights), io(refused))[0] == [0, errno.BADF]


PATHS = [
    ("./null", 0, errno.SUCCESS),
    (".//urandom", 0, errno.SUCCESS),
    ("null/", 0, errno.NOTDIR),
    ("null/x", 0, errno.NOTDIR),
    ("null", DIRECTORY, errno.NOTDIR),
    ("null", CREATE | EXCLUSIVE, errno.EXIST),
    ("../null", 0, errno.PERM),
    ("/dev/null", 0, errno.PERM),
    ("", 0, errno.NOENT),
    ("zero", 0, errno.NOENT),
    ("tty", 0, errno.NOENT),
    ("mem", CREATE, errno.ACCES),
    (".", 0, errno.ISDIR),
    ("x" * 200, 0, errno.NOENT),
]


@pytest.mark.parametrize(("path", "flags", "expected"), PATHS)
def test_paths(own: tuple[GuestVolume, ...], path: str, flags: int, expected: int) -> None:
    assert results(own, opens(path, flags))[0] == [expected]


BAD = {
    "directory": (call("path_open", OPENED, 1, PATH, 1, 0, READ, 0, 0, OUT), errno.NOTDIR),
    "no path": (call("path_open", "DEV", 1, 70_000, 1, 0, READ, 0, 0, OUT), errno.FAULT),
    "a long path": (call("path_open", "DEV", 1, PATH, 5000, 0, READ, 0, 0, OUT), errno.NAMETOOLONG),
    "no result": (call("path_open", "DEV", 1, PATH, 4, 0, READ, 0, 0, 70_000), errno.FAULT),
    "many pieces to read": (call("fd_read", OPENED, IOVECS, 1025, OUT + 8), errno.INVAL),
    "many pieces to write": (call("fd_write", OPENED, IOVECS, 1025, OUT + 8), errno.INVAL),
    "pieces outside to read": (call("fd_read", OPENED, 70_000, 1, OUT + 8), errno.FAULT),
    "pieces outside to write": (call("fd_write", OPENED, 70_000, 1, OUT + 8), errno.FAULT),
    "stat outside": (call("fd_filestat_get", OPENED, 70_000), errno.FAULT),
    "the directory's position": (call("fd_seek", "DEV", 0, 0, OUT + 8), errno.BADF),
    "the directory's content": (call("fd_read", "DEV", IOVECS, 1, OUT + 8), errno.BADF),
    "entries of a device": (call("fd_readdir", OPENED, BUFFER, 64, 0, OUT + 8), errno.NOTDIR),
    "name of a device": (call("fd_prestat_dir_name", OPENED, BUFFER, 64), errno.NOTDIR),
    "no room for the name": (call("fd_prestat_dir_name", "DEV", BUFFER, 3), errno.NAMETOOLONG),
    "device beyond": (call("fd_filestat_get", 9999, BUFFER), errno.BADF),
    "closing beyond": (call("fd_close", 9999), errno.BADF),
    "a stream to a device": (call("fd_renumber", 1, OPENED), errno.NOTSUP),
    "a device to nothing": (call("fd_renumber", OPENED, 9999), errno.BADF),
    "a socket": (call("sock_shutdown", OPENED, 0), errno.NOTSOCK),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD)
def test_calls_that_fail(own: tuple[GuestVolume, ...], text: str, expected: int) -> None:
    assert results(own, opens("null"), text)[0] == [0, expected]


def test_a_character_device(own: tuple[GuestVolume, ...]) -> None:
    stat = "(i32.load8_u (i32.const {}))"
    found, _ = results(
        own,
        opens("null"),
        call("fd_filestat_get", OPENED, BUFFER),
        stat.format(BUFFER + 16),
        call("fd_fdstat_get", OPENED, BUFFER + 64),
        stat.format(BUFFER + 64),
        call("path_filestat_get", "DEV", 1, PATH, 4, BUFFER + 128),
        stat.format(BUFFER + 128 + 16),
        call("path_filestat_get", "DEV", 1, PATH, 3, BUFFER + 128),
        call("fd_filestat_get", "DEV", BUFFER + 256),
        stat.format(BUFFER + 256 + 16),
        call("fd_fdstat_get", "DEV", BUFFER + 256),
        stat.format(BUFFER + 256),
    )
    assert found == [0, 0, 2, 0, 2, 0, 2, errno.NOENT, 0, 3, 0, 3]


def test_the_position_is_the_beginning(own: tuple[GuestVolume, ...]) -> None:
    position = f"(i32.load (i32.const {OUT + 8}))"
    calls = call("fd_seek", OPENED, 5, 2, OUT + 8), position, call("fd_tell", OPENED, OUT + 8), position
    assert results(own, opens("urandom"), *calls)[0] == [0, 0, 0, 0, 0]


def test_the_directory_is_a_preopen_with_two_entries(own: tuple[GuestVolume, ...]) -> None:
    found, buffer = results(
        own,
        call("fd_prestat_get", "DEV", BUFFER),
        call("fd_prestat_dir_name", "DEV", BUFFER + 8, 4),
        call("fd_prestat_get", 5 if own else 4, BUFFER + 16),
        call("fd_readdir", "DEV", BUFFER + 32, 400, 0, OUT + 8),
        MOVED,
        call("fd_readdir", "DEV", BUFFER + 432, 30, 3, OUT + 8),
        MOVED,
    )
    assert found == [0, 0, errno.BADF, 0, 4 * 24 + 3 + 4 + 7, 0, 30]
    assert buffer[:12] == b"\0\0\0\0\4\0\0\0/dev"
    assert [name in buffer[32:300] for name in (b"null", b"urandom")] == [True, True]
    assert buffer[432 + 24 : 432 + 30] == b"urando"


def test_the_directory_is_opened_and_closed(own: tuple[GuestVolume, ...]) -> None:
    found, _ = results(
        own,
        opens(".", DIRECTORY, READ),
        opens("null", directory=OPENED),
        call("fd_close", OPENED),
        call("fd_close", OPENED),
        call("fd_close", "DEV"),
        opens("null"),
    )
    assert found == [0, 0, 0, errno.BADF, 0, errno.BADF]


def test_standard_output_is_redirected(own: tuple[GuestVolume, ...]) -> None:
    """As by freopen(3): what follows is discarded, and the result is written to standard error's place in the log."""
    wat_calls = [opens("null"), call("fd_renumber", OPENED, 2), io("fd_write", "(i32.const 2)"), MOVED]
    wat_calls += [io("fd_read", "(i32.const 2)"), call("fd_renumber", 2, 2), call("fd_fdstat_get", 2, BUFFER)]
    found, buffer = results(own, *wat_calls, call("fd_renumber", 0, 2), call("fd_fdstat_get", 2, BUFFER + 64))
    assert found == [0, 0, 0, 64, 0, 0, 0, 0, 0]
    assert (buffer[0], buffer[64]) == (2, 0)


def test_the_number_of_open_devices_is_bounded(own: tuple[GuestVolume, ...]) -> None:
    found, _ = results(own, *[opens("null")] * 4, call("fd_close", OPENED), opens("urandom"), files=3)
    assert found == [0, 0, 0, errno.MFILE, 0, 0]


def test_polling_a_device(own: tuple[GuestVolume, ...]) -> None:
    subscription = f"""(block (result i32) (i32.store8 (i32.const {BUFFER + 8}) (i32.const 1))
     (i32.store (i32.const {BUFFER + 16}) {OPENED}) {call("poll_oneoff", BUFFER, BUFFER + 64, 1, OUT + 8)})"""
    found, buffer = results(own, opens("null"), subscription, MOVED)
    assert found == [0, 0, 1]
    assert struct.unpack_from("<HB", buffer, 64 + 8) == (errno.SUCCESS, 1)


def test_a_file_is_not_moved_to_a_device(tmp_path: Path) -> None:
    given = with_devices(tmp_path)
    opening = opens("file", rights=READ, directory="(i32.const 3)")
    found, buffer = results(given, opens("null"), opening, call("fd_renumber", OPENED, "DEV"), io("fd_read"), MOVED)
    assert found == [0, 0, errno.NOTSUP, 0, 7]
    assert buffer[:7] == b"content"


def test_numbers_of_files_stay_clear_of_devices(tmp_path: Path) -> None:
    """The number of `/dev` is not given to a file, whatever is closed before."""
    given = with_devices(tmp_path)
    file = opens("file", rights=READ, directory="(i32.const 3)")
    moved = call("fd_renumber", OPENED, OPENED)
    found, _ = results(given, file, OPENED, file, OPENED, moved, opens("null"), OPENED)
    assert found == [0, 5, 0, 6, 0, 0, 4 + 1 + 64]
    closing = call("fd_close", 3)
    found, _ = results(given, closing, opens("null"), call("fd_prestat_get", 3, BUFFER), opens("."), file)
    assert found[:2] == [0, 0]
    assert errno.SUCCESS not in found[2:]
    found, _ = results(given, file, call("fd_close", OPENED), file, OPENED, files=1)
    assert found == [0, 0, 0, 5]


def test_a_memory_without_room_to_reserve_a_number(tmp_path: Path) -> None:
    wat = f"""(module (import "{MODULE}" "fd_close" (func $close (param i32) (result i32)))
     (memory (export "memory") 0)
     (func (export "_start") (if (i32.ne (call $close (i32.const 3)) (i32.const {errno.FAULT})) (then unreachable))))"""
    given = Invocation(
        warm(wat, has_files=True), b"_start", limits=Limits(), argv=[], environ={}, volumes=with_devices(tmp_path)
    )
    assert run(given)[1].failure() is None
