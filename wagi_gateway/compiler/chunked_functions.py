"""Functions in the binary format that do the work of memory.fill and memory.copy in chunks.

A function has the parameters of its instruction: destination, value or source, size. In the text format:

    (if (i32.gt_u (local.get $size) (i32.const CHUNK))
     (then (if IN_BOUNDS (then LOOP))))
    (memory.fill (local.get $destination) (local.get $value) (local.get $size))

The loop, whose header has an epoch check, leaves at most one chunk to the last line. Out of bounds, the last line traps
before anything is written, as the instruction does.
"""

from __future__ import annotations

from typing import NamedTuple

from .binary import leb128

CHUNK = 1 << 18
"""Bytes that are filled or copied between two epoch checks. Fresh memory takes 0.1 to 1 ms for them."""


class ChunkedFunction(NamedTuple):
    """A function to append to a module: its type, and its entry of the code section."""

    type: bytes
    code: bytes


class MemoryOperand(NamedTuple):
    """A memory: its index, as an immediate of instructions, and whether its addresses are i64."""

    immediate: bytes
    is_64: bool


class _Address(NamedTuple):
    """The type of addresses or sizes, and its instructions."""

    type: bytes
    const: bytes
    add: bytes
    sub: bytes
    gt_u: bytes
    to_i64: bytes


_I32 = _Address(type=b"\x7f", const=b"\x41", add=b"\x6a", sub=b"\x6b", gt_u=b"\x4b", to_i64=b"\xad")
_I64 = _Address(type=b"\x7e", const=b"\x42", add=b"\x7c", sub=b"\x7d", gt_u=b"\x56", to_i64=b"")

_DESTINATION, _SECOND, _SIZE = b"\0", b"\1", b"\2"
"""The parameters, which are locals."""
_GET, _SET = b"\x20", b"\x21"
_LOOP, _IF, _ELSE, _END, _REPEAT_IF = b"\x03\x40", b"\x04\x40", b"\x05", b"\x0b", b"\x0d\0"
_PAGES_TO_BYTES = b"\x42\x10\x86"  # i64.const 16, i64.shl
_I32_AND = b"\x71"
_OPERANDS = _GET + _DESTINATION + _GET + _SECOND


def chunked_fill(memory: MemoryOperand) -> ChunkedFunction:
    """The function that does memory.fill."""
    address = _address(memory.is_64)
    fill = b"\xfc\x0b" + memory.immediate
    loop = _forward(fill, address, ((_DESTINATION, address),))
    return _function(
        (address.type, _I32.type, address.type),
        _chunked(fill, loop, _is_in_bounds(_DESTINATION, memory, address), address),
    )


def chunked_copy(destination: MemoryOperand, source: MemoryOperand) -> ChunkedFunction:
    """The function that does memory.copy, from the end if the destination is above the source, as they may overlap."""
    to, of = _address(destination.is_64), _address(source.is_64)
    size = _address(destination.is_64 and source.is_64)
    copy = b"\xfc\x0a" + destination.immediate + source.immediate
    loop = _forward(copy, size, ((_DESTINATION, to), (_SECOND, of)))
    if to == of:
        loop = _OPERANDS + to.gt_u + _IF + _backward(copy, size) + _ELSE + loop + _END
    in_bounds = (
        _is_in_bounds(_DESTINATION, destination, size) + _is_in_bounds(_SECOND, source, size) + b"\x71"
    )  # i32.and
    return _function((to.type, of.type, size.type), _chunked(copy, loop, in_bounds, size))


def _address(is_64: bool) -> _Address:
    return _I64 if is_64 else _I32


def _chunk(kind: _Address) -> bytes:
    """The constant CHUNK, which is the same in signed and unsigned LEB128."""
    return kind.const + leb128(CHUNK)


def _chunked(instruction: bytes, loop: bytes, is_in_bounds: bytes, size: _Address) -> bytes:
    is_large = _GET + _SIZE + _chunk(size) + size.gt_u
    return is_large + _IF + is_in_bounds + _IF + loop + _END + _END + _OPERANDS + _GET + _SIZE + instruction


def _forward(instruction: bytes, size: _Address, moved: tuple[tuple[bytes, _Address], ...]) -> bytes:
    """A loop that moves these parameters up and takes from the size, a chunk each time."""
    step = _OPERANDS + _chunk(size) + instruction
    for parameter, kind in moved:
        step += _GET + parameter + _chunk(kind) + kind.add + _SET + parameter
    return _LOOP + step + _take_chunk(size) + _while_large(size) + _END


def _backward(instruction: bytes, size: _Address) -> bytes:
    """A loop that takes a chunk from the size each time and works behind the rest."""
    ends = b"".join(_GET + parameter + _GET + _SIZE + size.add for parameter in (_DESTINATION, _SECOND))
    return _LOOP + _take_chunk(size) + ends + _chunk(size) + instruction + _while_large(size) + _END


def _take_chunk(size: _Address) -> bytes:
    return _GET + _SIZE + _chunk(size) + size.sub + _SET + _SIZE


def _while_large(size: _Address) -> bytes:
    return _GET + _SIZE + _chunk(size) + size.gt_u + _REPEAT_IF


def _is_in_bounds(begin: bytes, memory: MemoryOperand, size: _Address) -> bytes:
    """Whether size <= bytes of memory and begin <= bytes of memory - size, in i64, where neither overflows."""
    address = _address(memory.is_64)
    le_u, sub = b"\x58", b"\x7d"
    all_bytes = b"\x3f" + memory.immediate + address.to_i64 + _PAGES_TO_BYTES
    count = _GET + _SIZE + size.to_i64
    return count + all_bytes + le_u + _GET + begin + address.to_i64 + all_bytes + count + sub + le_u + _I32_AND


def _function(parameters: tuple[bytes, ...], instructions: bytes) -> ChunkedFunction:
    body = b"\0" + instructions + _END  # no locals
    return ChunkedFunction(
        type=b"\x60" + leb128(len(parameters)) + b"".join(parameters) + b"\0",
        code=leb128(len(body)) + body,
    )
