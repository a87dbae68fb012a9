"""The reader of tar archives on its own: members as a stream, and headers that are refused."""

from __future__ import annotations

import io
import tarfile

import pytest

from wagi_gateway.sources.oci.tar import Member, TarError, members


def archive(*files: tuple[str, bytes]) -> bytes:
    """A pax archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def names(data: bytes) -> list[str]:
    return [member.name for member in members(io.BytesIO(data).read)]


def header(kind: bytes, size: bytes = b"0" * 11) -> bytes:
    """One header with any type flag and size field."""
    block = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    block[156:157], block[124:136] = kind, size.ljust(12, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def extended(record: bytes) -> bytes:
    """An extended header with one record, and a file."""
    return header(b"x", b"%011o" % len(record)) + record.ljust(512, b"\0") + archive(("a", b""))


LONG, ACCENTS = "d/" * 200 + "x", "é" * 80


@pytest.mark.parametrize("name", ["a", "a/b", LONG, ACCENTS], ids=["short", "folder", "long", "utf-8"])
def test_names_and_contents(name: str) -> None:
    data = archive((name, b"1" * 700), ("other", b""))
    found = [(each.name, each.size, each.is_file, each.read()) for each in members(io.BytesIO(data).read)]
    assert found == [(name, 700, True, b"1" * 700), ("other", 0, True, b"")]


def test_content_that_is_not_read_is_skipped() -> None:
    assert names(archive(("a", b"1" * 700), ("b", b"2" * 512), ("c", b"3"))) == ["a", "b", "c"]


def test_a_content_is_read_once() -> None:
    for member in members(io.BytesIO(archive(("a", b"12"))).read):
        assert (member.read(), member.read()) == (b"12", b"")


def test_reads_may_be_short() -> None:
    stream = io.BytesIO(archive(("a", b"1" * 700), ("b", b"2")))
    found: list[Member] = []
    contents = []
    for member in members(lambda size: stream.read(min(size, 7))):
        found.append(member)
        contents.append(member.read())
    assert ([each.name for each in found], contents) == (["a", "b"], [b"1" * 700, b"2"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x" * 512, "no tar header where one should be"),
        (archive(("a", b"1" * 700))[:600], "the archive ends early"),
        (header(b"0", b"8"), "a number that is not octal"),
        (header(b"0", b"\xff" * 12), "a size out of range"),
        (header(b"S"), "a sparse member, 'x'"),
        (header(b"x", b"77777777777"), "a header of 8589934591 bytes"),
        (extended(b"0 path=b\n"), "no list of records"),
        (extended(b"11 path=b\n"), "no list of records"),
        (extended(b"10 path b\n"), "no list of records"),
        (extended(b"x path=b\n"), "no number"),
        (extended(b"12 size=abc\n"), "a size that is no number"),
        (extended(b"22 GNU.sparse.major=1\n"), "a sparse member"),
    ],
    ids="garbage cut octal negative sparse long zero short equals length size pax-sparse".split(),
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(TarError, match=message):
        names(data)
