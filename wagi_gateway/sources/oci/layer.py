"""A layer becomes the module in it; nothing is ever unpacked to a path."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol

from .errors import Invalid, TooLarge
from .manifest import Packing
from .tar import Member, TarError, members

_OVERHEAD = 1 << 20
"""Bytes an archive may have besides the module's limit: headers and small files."""
_MAX_FRAMES = 100_000
"""Parts of a compressed stream: `zstd:chunked` and eStargz have one per file, a hostile stream millions of none."""
_MAX_WINDOW = 27
"""Memory that unpacking zstd may take, as a power of two: 128 MiB, as for the tool itself."""
_PIECE = 1 << 16
_SHOWN = 5
_HIDDEN = (".wh.", "._")
"""What layers write for a deleted file, and macOS beside a file."""


def extract_module(file: BinaryIO, packing: Packing, max_size: int) -> bytes:
    """The module's bytes: the layer itself, or the one `.wasm` file in it. Raises Invalid and TooLarge."""
    if packing == "raw":
        data = file.read(max_size + 1)
        if len(data) > max_size:
            raise TooLarge(f"the module has more than {max_size} bytes")
        return data
    try:
        return _module(_Bounded(_unpacked(file, packing), max_size + _OVERHEAD, max_size).read, max_size)
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
    return member.is_file and name.lower().endswith(".wasm") and not name.startswith(_HIDDEN)


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:200]) for name in names[:_SHOWN]) or "nothing"
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


class _Bounded:
    """Counts what an archive unpacks to."""

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
    """What PEP 784 and its elders, `bz2` and `lzma`, agree on."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gunzip:
    """`zlib` with that interface."""

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
        return self._inner.unused_data.lstrip(b"\0")  # tapes and some tools pad with zeros

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _unpacked(file: BinaryIO, packing: Packing) -> Callable[[int], bytes]:
    if packing == "tar":
        return file.read
    if packing == "tar+gzip":
        return _Unpacked(file.read, _Gunzip, zlib.error, "gzip").read
    import sys  # here and not above: a start without such a layer does not pay for it

    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW}
    return _Unpacked(file.read, lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError, "zstd").read


class _Unpacked:
    """A compressed stream of one or more parts: gzip members, zstd frames."""

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
        """Up to `size` bytes; none at the end."""
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
            if piece := self._read(_PIECE):
                return piece
            raise Invalid(f"the layer is damaged: {self._name}: it ends early")
        piece = self._part.unused_data
        while not piece:
            piece = self._read(_PIECE)
            if not piece:
                return None
            piece = piece.lstrip(b"\0") if self._name == "gzip" else piece
        self._parts += 1
        if self._parts > _MAX_FRAMES:
            raise Invalid(f"the layer is damaged: {self._name}: more than {_MAX_FRAMES} parts")
        self._part = self._start()
        return piece
