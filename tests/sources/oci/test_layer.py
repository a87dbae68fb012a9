"""Modules in layers, and hostile layers."""

from __future__ import annotations

import gzip
import io
import os
import random
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from wagi_gateway.sources.oci.errors import Invalid, TooLarge
from wagi_gateway.sources.oci.layer import extract_module
from wagi_gateway.sources.oci.manifest import Packing

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MODULE = b"\0asm\1\0\0\0" + random.Random(1).randbytes(5000)
LIMIT = 1 << 20
MEMORY = 6 << 20
"""Bytes of memory that the refusal of a layer may take."""

Files = dict[str, bytes]


Form = Literal[0, 1, 2]


def header(
    name: str = "hello.wasm", size: int = 0, kind: bytes = tarfile.REGTYPE, form: Form = tarfile.USTAR_FORMAT
) -> bytes:
    """One header as tarfile writes it."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(form)


def patched(block: bytes, start: int, data: bytes) -> bytes:
    """A header with some bytes replaced and a valid checksum."""
    changed = bytearray(block)
    changed[start : start + len(data)] = data
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def member(name: str, data: bytes = b"", **options: bytes) -> bytes:
    return header(name, len(data), options.get("kind", tarfile.REGTYPE)) + padded(data)


def pax(records: dict[str, str], kind: bytes = b"x") -> bytes:
    body = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        length = len(rest) + 1
        while length != len(str(length)) + len(rest):
            length = len(str(length)) + len(rest)
        body += str(length).encode() + rest
    return header("pax", len(body), kind) + padded(body)


def archive(*members: bytes) -> bytes:
    return b"".join(members) + bytes(1024)


def written(files: Files, form: int) -> bytes:
    """An archive as tarfile makes it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def extract(data: bytes, packing: Packing = "tar", limit: int = LIMIT) -> bytes:
    return extract_module(io.BytesIO(data), packing, limit)


def zstd_frames(data: bytes, size: int = 1000) -> bytes:
    """Several frames, one of them skippable, as in `zstd:chunked`."""
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    return b"".join(zstd.compress(data[at : at + size]) for at in range(0, len(data), size)) + skipped


PACKINGS: dict[str, tuple[Packing, Callable[[bytes], bytes]]] = {
    "tar": ("tar", bytes),
    "gzip": ("tar+gzip", gzip.compress),
    "gzip-members": ("tar+gzip", lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:])),
    "gzip-padded": ("tar+gzip", lambda data: gzip.compress(data) + bytes(200_000)),
    "zstd": ("tar+zstd", zstd.compress),
    "zstd-frames": ("tar+zstd", zstd_frames),
}


@pytest.mark.parametrize("how", PACKINGS)
def test_packings(how: str) -> None:
    packing, pack = PACKINGS[how]
    assert extract(pack(written({"hello.wasm": MODULE}, tarfile.USTAR_FORMAT)), packing) == MODULE


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    "name",
    [
        "hello.wasm",
        "./hello.wasm",
        "/hello.wasm",
        "../../hello.wasm",
        "a/b/c/HELLO.WASM",
        "x" * 60 + "/" + "y" * 60 + ".wasm",
        "ä.wasm",
    ],
    ids=["plain", "dot", "absolute", "up", "nested", "prefix", "utf-8"],
)
def test_names_are_no_paths(form: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert extract(written({"README.md": b"text", name: MODULE, "z": b""}, form)) == MODULE
    assert not list(tmp_path.parent.glob("hello.wasm"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_long_names(form: int) -> None:
    assert extract(written({f"{'d/' * 300}{'n' * 300}.wasm": MODULE}, form)) == MODULE


@pytest.mark.parametrize("form", ["gnu", "ustar", "pax", "posix", "v7"])
def test_archives_of_gnu_tar(form: str, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "hello.wasm").write_bytes(MODULE)
    (tmp_path / "app" / "other.wasm").symlink_to("hello.wasm")
    os.link(tmp_path / "app" / "hello.wasm", tmp_path / "app" / "zzz.wasm")
    if form != "v7":  # which has none
        os.mkfifo(tmp_path / "app" / "pipe.wasm")
    command = ["tar", f"--format={form}", "--sort=name", "-cf", "-", "-C", str(tmp_path), "app"]
    assert extract(subprocess.run(command, capture_output=True, check=True).stdout) == MODULE


def test_what_does_not_count() -> None:
    """A whiteout, macOS metadata, links, directories."""
    others = [
        member("app/.wh.old.wasm"),
        member("app/._hello.wasm", b"resource fork"),
        member("dir.wasm/", kind=tarfile.DIRTYPE),
        member("old-style-dir.wasm/"),
        member("link.wasm", kind=tarfile.SYMTYPE),
        member("hard.wasm", kind=tarfile.LNKTYPE),
        member("null.wasm", kind=tarfile.CHRTYPE),
        member("hello.wasm.sig", b"signature"),
    ]
    assert extract(archive(*others, member("app/hello.wasm", MODULE), *others)) == MODULE


def test_links_have_no_content() -> None:
    """A link with a stated size: the next block is a header, as for GNU tar and Go."""
    assert extract(archive(header("x", 5000, tarfile.SYMTYPE), member("hello.wasm", MODULE))) == MODULE


def test_sizes_and_names_of_extended_headers() -> None:
    data = pax({"path": "real.wasm", "size": str(len(MODULE)), "SCHILY.xattr.user.x": "a=b\n"})
    assert extract(archive(data, header("fake.txt"), padded(MODULE), member("x.txt"))) == MODULE


def test_base_256_sizes() -> None:
    block = patched(header(), 124, b"\x80" + len(MODULE).to_bytes(11, "big"))
    assert extract(archive(block, padded(MODULE))) == MODULE


def test_no_end_but_the_end() -> None:
    assert extract(member("hello.wasm", MODULE)) == MODULE


GNU_SPARSE = patched(patched(header("s.wasm", form=tarfile.GNU_FORMAT), 156, b"S"), 483, b"%011o\0" % (1 << 32))
HOSTILE = {
    "empty": (b"", "found no .wasm file but nothing in the layer"),
    "garbage": (b"q" * 2048, "no tar header"),
    "short": (b"q" * 100, "ends early"),
    "no-wasm": (archive(member("README.md", b"x"), member("a.txt")), "no .wasm file but 'README.md', 'a.txt'"),
    "many-others": (
        archive(*(member(f"{i}") for i in range(9))),
        "no .wasm file but '0', '1', '2', '3', '4' and 4 more",
    ),
    "two": (
        archive(member("a.wasm", MODULE), member("b/b.wasm", MODULE)),
        "found 2 .wasm files .*'a.wasm', 'b/b.wasm'",
    ),
    "same-twice": (archive(member("a.wasm", MODULE), member("a.wasm", b"x")), "found 2 .wasm files"),
    "only-a-link": (archive(member("a.wasm", kind=tarfile.SYMTYPE)), "no .wasm file but 'a.wasm'"),
    "gnu-sparse": (archive(GNU_SPARSE), "a sparse member"),
    "pax-sparse": (archive(pax({"GNU.sparse.major": "1"}), header()), "a sparse member"),
    "pax-sparse-global": (archive(pax({"GNU.sparse.major": "1"}, b"g"), header()), "a sparse member"),
    "global-size": (archive(pax({"size": "1"}, b"g"), member("a.wasm", b"x")), "a global header"),
    "negative-size": (archive(patched(header(), 124, b"\xff" * 12)), "a size out of range"),
    "pax-negative-size": (archive(pax({"size": "-1"}), header()), "a size that is no number"),
    "pax-huge-size": (archive(pax({"size": "9" * 5000}), header()), "a size that is no number"),
    "not-octal": (archive(patched(header(), 124, b"99999999999\0")), "not octal"),
    "wrong-checksum": (archive(header()[:-1] + b"x", MODULE), "no tar header"),
    "truncated": (member("hello.wasm", MODULE)[:3000], "ends early"),
    "truncated-skipped": (member("hello.txt", MODULE)[:3000], "ends early"),
    "huge-pax": (header("pax", 300 << 20, b"x"), "a header of 314572800 bytes"),
    "huge-long-name": (header("name", 300 << 20, b"L"), "a header of 314572800 bytes"),
    "pax-nonsense": (archive(header("pax", 6, b"x") + padded(b"999 a\n")), "no list of records"),
    "pax-zero-length": (archive(header("pax", 6, b"x") + padded(b"0 a=b\n")), "no list of records"),
    "pax-same-again": (archive(header("pax", 8, b"x") + padded(b"6 a=b\nxx")), "no list of records"),
    "pax-digits": (archive(header("pax", 1 << 20, b"x") + b"1" * (1 << 20)), "no list of records|no number"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(name: str) -> None:
    data, what = HOSTILE[name]
    for packing, pack in PACKINGS.values():
        start = time.process_time()
        with pytest.raises(Invalid, match=what):
            extract(pack(data), packing)
        assert time.process_time() - start < 2


def test_many_members() -> None:
    with pytest.raises(Invalid, match="more than 100000 members"):
        extract(gzip.compress(header("x") * 100_001, 1), "tar+gzip", 256 << 20)


@pytest.mark.parametrize(("packing", "pack"), [("tar+gzip", gzip.compress), ("tar+zstd", zstd.compress)])
@pytest.mark.parametrize("name", ["hello.wasm", "hello.txt"])
def test_bombs(packing: Packing, pack: Callable[[bytes], bytes], name: str) -> None:
    """A layer over the limit is not unpacked to its end, in the module or beside it."""
    data = pack(header(name, 100 << 20) + bytes(100 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="1048576"):
            extract(data, packing)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def test_a_member_larger_than_any_disk() -> None:
    with pytest.raises(TooLarge, match=r"'hello.wasm' has \d+ bytes; 1048576 are allowed"):
        extract(patched(header(), 124, b"\x80" + b"\x7f" * 11))


@pytest.mark.parametrize(
    ("packing", "data"),
    [
        ("tar+gzip", gzip.compress(b"") * 100_001),
        ("tar+zstd", (b"\x50\x2a\x4d\x18" + bytes(4)) * 100_001),
    ],
    ids=["gzip", "zstd-skippable"],
)
def test_millions_of_nothing(packing: Packing, data: bytes) -> None:
    with pytest.raises(Invalid, match="more than 100000 parts"):
        extract(data, packing)


@pytest.mark.parametrize(
    ("packing", "data", "what"),
    [
        ("tar+gzip", gzip.compress(written({"a.wasm": MODULE}, tarfile.GNU_FORMAT))[:-900], "it ends early"),
        ("tar+gzip", b"not gzip", "incorrect header check"),
        ("tar+gzip", b"", "it ends early"),
        ("tar+gzip", zlib.compress(b"x"), "incorrect header check"),
        ("tar+gzip", gzip.compress(b"x" * 512, mtime=0)[:-8] + bytes(8), "incorrect data check"),
        ("tar+zstd", zstd.compress(written({"a.wasm": MODULE}, tarfile.GNU_FORMAT))[:-900], "it ends early"),
        ("tar+zstd", b"not zstd", "Unable to decompress|Unknown frame"),
        ("tar+zstd", b"", "it ends early"),
    ],
)
def test_damaged_streams(packing: Packing, data: bytes, what: str) -> None:
    with pytest.raises(Invalid, match=what):
        extract(data, packing)


def test_zstd_that_wants_gigabytes_of_memory() -> None:
    parameters: dict[int, int] = {
        zstd.CompressionParameter.window_log: 28,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    compressor = zstd.ZstdCompressor(options=parameters)
    data = compressor.compress(b"x" * 1000) + compressor.flush()
    with pytest.raises(Invalid, match="the layer is damaged: zstd"):
        extract(data, "tar+zstd")


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_raw(size: int) -> None:
    if size <= LIMIT:
        assert extract(bytes(size), "raw") == bytes(size)
    else:
        with pytest.raises(TooLarge, match=f"more than {LIMIT} bytes"):
            extract(bytes(size), "raw")


def test_exactly_the_limit() -> None:
    data = gzip.compress(written({"hello.wasm": bytes(LIMIT)}, tarfile.USTAR_FORMAT))
    assert extract(data, "tar+gzip") == bytes(LIMIT)
