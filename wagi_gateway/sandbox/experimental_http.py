"""The import module `wasi_experimental_http`, through which guests make outbound HTTP calls.

Every parameter and result is an i32; a result of 0 is success, every other result is a code of `outbound.errors`.
Integers are little-endian. Source: wasi-experimental-http 0.10, against which modules in the field were compiled.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..outbound.errors import (
    BodyFailed,
    BufferTooSmall,
    DestinationNotAllowed,
    InvalidMethod,
    InvalidUrl,
    NotUtf8,
    OutboundError,
    RequestFailed,
)
from .context import ExecutionContext
from .host import HostFunction, HostImport
from .memory import Memory, OutOfBounds

if TYPE_CHECKING:  # httpcore is imported with the first module that makes calls
    from ..outbound.session import OutboundSession

MODULE = "wasi_experimental_http"

_OK, _MEMORY_NOT_FOUND, _MEMORY_ACCESS = 0, 2, 3
_MAX_URL = 64 * 1024
_MAX_CHUNK = 64 * 1024


class _MemoryAccess(OutboundError):
    code = _MEMORY_ACCESS


class _HttpMemory:
    """A guest's memory, whose errors have the codes of this import module."""

    __slots__ = ("_memory",)

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def read(self, start: int, size: int) -> bytes:
        """Raises BufferTooSmall where the memory ends before."""
        try:
            return self._memory.read(start, size)
        except OutOfBounds:
            raise BufferTooSmall("an address lies outside the guest's memory") from None

    def require(self, start: int, size: int) -> None:
        """Raises BufferTooSmall where the memory ends before."""
        self.read(start + size, 0)

    def text(self, start: int, size: int) -> str:
        """Raises BufferTooSmall, NotUtf8."""
        try:
            return self.read(start, size).decode()
        except UnicodeDecodeError:
            raise NotUtf8("a text is not UTF-8") from None

    def check(self, start: int, size: int) -> None:
        """Raises _MemoryAccess where nothing can be written."""
        try:
            self._memory.check(start, size)
        except OutOfBounds:
            raise _MemoryAccess("an address lies outside the guest's memory") from None

    def write(self, start: int, data: bytes) -> None:
        """Raises _MemoryAccess."""
        self.check(start, len(data))
        self._memory.write(start, data)

    def write_u16(self, start: int, value: int) -> None:
        """Raises _MemoryAccess."""
        self.write(start, struct.pack("<H", value))

    def write_u32(self, start: int, value: int) -> None:
        """Raises _MemoryAccess."""
        self.write(start, struct.pack("<I", value))


_Function = Callable[..., None]


class _Parts:
    """The parts of an outbound request in the guest's memory, each read and checked when the session needs it."""

    def __init__(self, memory: _HttpMemory, context: ExecutionContext, where: tuple[int, ...]) -> None:
        self._memory = memory
        self._limits = context.invocation.limits
        self._url, self._method, self._headers, self._body = zip(where[::2], where[1::2], strict=True)

    def url(self) -> str:
        start, size = self._url
        self._memory.require(start, size)
        if size > _MAX_URL:
            raise InvalidUrl(f"the URL has {size} bytes, {_MAX_URL} are allowed")
        return self._memory.text(start, size)

    def method(self) -> str:
        start, size = self._method
        self._memory.require(start, size)
        if size > _MAX_CHUNK:
            raise InvalidMethod(f"the method has {size} bytes")
        return self._memory.text(start, size)

    def body(self) -> bytes:
        start, size = self._body
        self._memory.require(start, size)
        if size > self._limits.http_request:
            what = f"the request has {size} bytes, limits.http_request are {self._limits.http_request}"
            raise RequestFailed(what, limit="http_request")
        return self._memory.read(start, size)

    def headers(self) -> str:
        start, size = self._headers
        self._memory.require(start, size)
        if size > self._limits.http_headers:
            what = f"the headers have {size} bytes, limits.http_headers are {self._limits.http_headers}"
            raise RequestFailed(what, limit="http_headers")
        return self._memory.text(start, size)


def _req(memory: _HttpMemory, session: OutboundSession, context: ExecutionContext, *arguments: int) -> None:
    *where, status_at, handle_at = arguments
    status, handle = session.request(_Parts(memory, context, tuple(where)), context)
    try:
        memory.write_u16(status_at, status)
        memory.write_u32(handle_at, handle)
    except _MemoryAccess:
        session.close(handle)  # the guest has not received the handle
        raise


def _close(_memory: _HttpMemory, session: OutboundSession, _context: ExecutionContext, handle: int) -> None:
    session.close(handle)


def _header_get(
    memory: _HttpMemory,
    session: OutboundSession,
    _context: ExecutionContext,
    handle: int,
    name: int,
    name_size: int,
    buffer: int,
    size: int,
    written_at: int,
) -> None:
    session.check_handle(handle)
    if name_size > _MAX_CHUNK:
        raise BufferTooSmall(f"a header's name has {name_size} bytes")
    _give(memory, session.header(handle, memory.text(name, name_size)), buffer, size, written_at)


def _headers_get_all(
    memory: _HttpMemory,
    session: OutboundSession,
    _context: ExecutionContext,
    handle: int,
    buffer: int,
    size: int,
    written_at: int,
) -> None:
    _give(memory, session.headers(handle), buffer, size, written_at)


def _give(memory: _HttpMemory, value: bytes, buffer: int, size: int, written_at: int) -> None:
    if len(value) > size:
        raise BufferTooSmall(f"{len(value)} bytes do not fit in {size}")
    memory.write(buffer, value)
    memory.write_u32(written_at, len(value))


def _body_read(
    memory: _HttpMemory,
    session: OutboundSession,
    _context: ExecutionContext,
    handle: int,
    buffer: int,
    size: int,
    written_at: int,
) -> None:
    session.check_handle(handle)
    memory.check(written_at, 4)
    count = 0
    try:
        while count < size and (piece := session.read(handle, min(size - count, _MAX_CHUNK))):
            memory.write(buffer + count, bytes(piece))
            count += len(piece)
    except BodyFailed:
        if not count:
            raise  # otherwise the guest gets the bytes read so far, and the error at its next read
    memory.write_u32(written_at, count)


def _host(function: _Function) -> HostFunction:
    def call(context: ExecutionContext, *arguments: int) -> int:
        memory = context.memory
        session = context.invocation.outbound
        if session is None:
            return DestinationNotAllowed.code  # a guest that runs at start-up
        if memory is None:
            return _MEMORY_NOT_FOUND
        try:
            function(_HttpMemory(memory), session, context, *arguments)
        except OutboundError as error:
            return error.code
        return _OK

    return call


EXPERIMENTAL_HTTP = tuple(
    HostImport(MODULE, name, "i" * parameters, _host(function), failed=BodyFailed.code)
    for name, function, parameters in (
        ("req", _req, 10),
        ("close", _close, 1),
        ("header_get", _header_get, 6),
        ("headers_get_all", _headers_get_all, 4),
        ("body_read", _body_read, 4),
    )
)
"""The import module. It is linked for every module, whether `allowed_hosts` permits calls or not."""
