"""`wasi_experimental_http`, the import module through which guests call out: its functions, and the guest's memory.

Every parameter and result is an i32; a result of 0 is success, any other a number of `outbound.errors`. Integers are
written little-endian. Source: wasi-experimental-http 0.10, which modules in the field were compiled against.
"""

from __future__ import annotations

import functools
import logging
import struct
from collections.abc import Callable

import wasmtime

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
from ..outbound.session import Session
from .invocation import Invocation, current

MODULE = "wasi_experimental_http"

_OK, _MEMORY_NOT_FOUND, _MEMORY_ACCESS = 0, 2, 3
_MAX_URL = 64 * 1024
_PIECE = 64 * 1024
_MANY = 1024
"""Bytes a read has to move to be no mere call of the host."""

logger = logging.getLogger("wagi_gateway")


class _MemoryAccess(OutboundError):
    code = _MEMORY_ACCESS


class _Memory:
    """A guest's linear memory during one call of the host."""

    __slots__ = ("_caller", "_memory", "_size")

    def __init__(self, caller: wasmtime.Caller, memory: wasmtime.Memory) -> None:
        self._caller = caller
        self._memory = memory
        self._size = memory.data_len(caller)

    def read(self, start: int, size: int) -> bytes:
        """Raises BufferTooSmall where the memory ends before."""
        if start + size > self._size:
            raise BufferTooSmall("an address lies outside the guest's memory")
        return bytes(self._memory.read(self._caller, start, start + size))

    def text(self, start: int, size: int) -> str:
        """Raises BufferTooSmall, NotUtf8."""
        try:
            return self.read(start, size).decode()
        except UnicodeDecodeError:
            raise NotUtf8("a text is not UTF-8") from None

    def check(self, start: int, size: int) -> None:
        """Raises _MemoryAccess where nothing can be written."""
        if start + size > self._size:
            raise _MemoryAccess("an address lies outside the guest's memory")

    def write(self, start: int, data: bytes | memoryview) -> None:
        """Raises _MemoryAccess."""
        self.check(start, len(data))
        if data:  # wasmtime refuses to write nothing at the very end
            self._memory.write(self._caller, bytes(data), start)

    def write_u16(self, start: int, value: int) -> None:
        """Raises _MemoryAccess."""
        self.write(start, struct.pack("<H", value))

    def write_u32(self, start: int, value: int) -> None:
        """Raises _MemoryAccess."""
        self.write(start, struct.pack("<I", value))


_Function = Callable[..., None]


class _Parts:
    """The parts of a call in the guest's memory."""

    def __init__(self, memory: _Memory, invocation: Invocation, where: tuple[int, ...]) -> None:
        self._memory = memory
        self._limits = invocation.limits
        self._url, self._method, self._headers, self._body = zip(where[::2], where[1::2], strict=True)

    def url(self) -> str:
        start, size = self._url
        if size > _MAX_URL:
            self._memory.read(start, 0)
            raise InvalidUrl(f"the URL has {size} bytes, {_MAX_URL} are allowed")
        return self._memory.text(start, size)

    def method(self) -> str:
        start, size = self._method
        if size > _PIECE:
            raise InvalidMethod(f"the method has {size} bytes")
        return self._memory.text(start, size)

    def body(self) -> bytes:
        start, size = self._body
        if size > self._limits.http_request:
            raise RequestFailed(f"the request has {size} bytes, limits.http_request are {self._limits.http_request}")
        return self._memory.read(start, size)

    def headers(self) -> str:
        start, size = self._headers
        if size > self._limits.http_headers:
            raise RequestFailed(f"the headers have {size} bytes, limits.http_headers are {self._limits.http_headers}")
        return self._memory.text(start, size)


def _req(memory: _Memory, session: Session, invocation: Invocation, *arguments: int) -> None:
    *where, status_at, handle_at = arguments
    status, handle = session.request(_Parts(memory, invocation, tuple(where)), invocation)
    try:
        memory.write_u16(status_at, status)
        memory.write_u32(handle_at, handle)
    except _MemoryAccess:
        session.close(handle)  # nobody knows its number
        raise


def _close(_memory: _Memory, session: Session, _invocation: Invocation, handle: int) -> None:
    session.close(handle)


def _header_get(
    memory: _Memory,
    session: Session,
    _invocation: Invocation,
    handle: int,
    name: int,
    name_size: int,
    buffer: int,
    size: int,
    written_at: int,
) -> None:
    if name_size > _PIECE:
        raise BufferTooSmall(f"a header's name has {name_size} bytes")
    _give(memory, session.header(handle, memory.text(name, name_size)), buffer, size, written_at)


def _headers_get_all(
    memory: _Memory, session: Session, _invocation: Invocation, handle: int, buffer: int, size: int, written_at: int
) -> None:
    _give(memory, session.headers(handle), buffer, size, written_at)


def _give(memory: _Memory, value: bytes, buffer: int, size: int, written_at: int) -> None:
    if len(value) > size:
        raise BufferTooSmall(f"{len(value)} bytes do not fit in {size}")
    memory.write(buffer, value)
    memory.write_u32(written_at, len(value))


def _body_read(
    memory: _Memory, session: Session, invocation: Invocation, handle: int, buffer: int, size: int, written_at: int
) -> None:
    session.require(handle)
    memory.check(written_at, 4)
    count = 0
    try:
        while count < size and (piece := session.read(handle, min(size - count, _PIECE))):
            memory.write(buffer + count, piece)
            count += len(piece)
    except BodyFailed:
        if not count:
            raise  # else the guest first gets what came, and this with its next read
    memory.write_u32(written_at, count)
    if count >= _MANY:
        invocation.forgive_host_call()


_FUNCTIONS: dict[str, tuple[_Function, int]] = {
    "req": (_req, 10),
    "close": (_close, 1),
    "header_get": (_header_get, 6),
    "headers_get_all": (_headers_get_all, 4),
    "body_read": (_body_read, 4),
}


def define_calls(linker: wasmtime.Linker) -> None:
    """Adds the import module, so that modules which may call out can be loaded whether or not they are allowed to."""
    i32 = wasmtime.ValType.i32()
    for name, (function, count) in _FUNCTIONS.items():
        function_type = wasmtime.FuncType([i32] * count, [i32])
        linker.define_func(MODULE, name, function_type, functools.partial(_call, function), access_caller=True)


def _call(function: _Function, caller: wasmtime.Caller, *arguments: int) -> int:
    """Runs a function for the guest on this thread; never raises, because what a host function raises ends in a
    variable that all threads share."""
    invocation = current.invocation
    try:
        if invocation is None:
            return DestinationNotAllowed.code
        invocation.count_host_call()
        memory = caller.get("memory")
        if invocation.outbound is None:
            return DestinationNotAllowed.code  # a guest that runs at start-up
        if not isinstance(memory, wasmtime.Memory):
            return _MEMORY_NOT_FOUND
        unsigned = (argument & 0xFFFFFFFF for argument in arguments)
        function(_Memory(caller, memory), invocation.outbound, invocation, *unsigned)
    except OutboundError as error:
        return error.code
    except Exception:
        logger.exception("an outbound call failed in the gateway")
        return BodyFailed.code
    return _OK
