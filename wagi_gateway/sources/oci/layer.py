"""Extracts the module from a layer, in memory: nothing is written to a path of the archive."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol

from .errors import Invalid, TooLarge
from .manifest import Packing
from .tar import Member, TarError, members

_OVERHEAD = 1 << 20
"""Bytes of an unpacked archive besides the module: headers and small files."""
_MAX_FRAMES = 100_000
"""Gzip members or zstd frames of a layer: `zstd:chunked` and eStargz have one for each file, an attack millions of
empty ones."""
_MAX_WINDOW = 27
"""The largest window of zstd as a power of two: 128 MiB, the limit of the zstd command."""
_READ_SIZE = 1 << 16
_MAX_LISTED = 5
_IGNORED_PREFIXES = (".wh.", "._")
"""Prefixes of a whiteout (a deleted file) and of macOS metadata."""


def extract_module(file: BinaryIO, packing: Packing, max_size: int) -> bytes:
    """Returns the layer itself, or the one `.wasm` file in the archive. Raises Invalid and TooLarge."""
    if packing == "raw":
        data = file.read(max_size + 1)
        if len(data) > max_size:
            raise TooLarge(f"the module has more than {max_size} bytes")
        return data
    try:
        return _module(_BoundedReader(_unpacked(file, packing), max_size + _OVERHEAD, max_size).read, max_size)
    except TarError as error:
        raise Invalid(f"the layer is no archive that a module can be taken from: {error}") from None


def _module(read: Callable[[int], bytes], max_size: int) -> bytes:
    names: list[str] = []
    others: list[str] = []
    module = b""
    for member in members(read):
        if not _is_module(member):
            others.append(member.name)
            continue
        if member.size > max_size:
            raise TooLarge(f"{member.name!r} has {member.size} bytes; {max_size} are allowed")
        names.append(member.name)
        if len(names) == 1:
            module = member.read()
    if len(names) == 1:
        return module
    found = f"{len(names)} .wasm files ({_listed(names)})" if names else f"no .wasm file but {_listed(others)}"
    raise Invalid(f"found {found} in the layer; accepted is exactly one .wasm file")


def _is_module(member: Member) -> bool:
    name = member.name.rpartition("/")[2]
    return member.is_file and name.lower().endswith(".wasm") and not name.startswith(_IGNORED_PREFIXES)


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:200]) for name in names[:_MAX_LISTED]) or "nothing"
    return f"{shown} and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else shown


class _BoundedReader:
    """A reader that bounds the bytes of an unpacked archive."""

    def __init__(self, read: Callable[[int], bytes], limit: int, max_size: int) -> None:
        self._read = read
        self._left = limit
        self._max_size = max_size

    def read(self, size: int) -> bytes:
        data = self._read(size)
        self._left -= len(data)
        if self._left < 0:
            raise TooLarge(f"the layer unpacks to more than the {self._max_size} bytes that are allowed")
        return data


class _Decompressor(Protocol):
    """The decompressor interface of `bz2`, `lzma` and `compression.zstd` (PEP 784)."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _GzipDecompressor:
    """The decompressor interface for gzip."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data.lstrip(b"\0")  # padding of some tools

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _unpacked(file: BinaryIO, packing: Packing) -> Callable[[int], bytes]:
    if packing == "tar":
        return file.read
    if packing == "tar+gzip":
        return _DecompressingReader(file.read, _GzipDecompressor, zlib.error, "gzip").read
    import sys  # imported here with zstd, so that other layers do not pay for it

    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW}
    return _DecompressingReader(file.read, lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError, "zstd").read


class _DecompressingReader:
    """A reader of a compressed stream of one or more parts: gzip members, zstd frames."""

    def __init__(
        self,
        read: Callable[[int], bytes],
        start: Callable[[], _Decompressor],
        error: type[Exception],
        name: str,
    ) -> None:
        self._read = read
        self._start = start
        self._error = error
        self._name = name
        self._part = start()
        self._parts = 1

    def read(self, size: int) -> bytes:
        """Reads up to `size` bytes; none at the end. Raises Invalid."""
        data = b""
        while not data:
            piece = self._next() if self._part.eof or self._part.needs_input else b""
            if piece is None:
                return b""
            try:
                data = self._part.decompress(piece, size)
            except self._error as error:
                raise Invalid(f"the layer is damaged: {self._name}: {error}") from None
        return data

    def _next(self) -> bytes | None:
        """More input; None at the end of the stream."""
        if not self._part.eof:
            if piece := self._read(_READ_SIZE):
                return piece
            raise Invalid(f"the layer is damaged: {self._name}: it ends early")
        piece = self._part.unused_data
        while not piece:
            piece = self._read(_READ_SIZE)
            if not piece:
                return None
            piece = piece.lstrip(b"\0") if self._name == "gzip" else piece
        self._parts += 1
        if self._parts > _MAX_FRAMES:
            raise Invalid(f"the layer is damaged: {self._name}: more than {_MAX_FRAMES} parts")
        self._part = self._start()
        return piece
