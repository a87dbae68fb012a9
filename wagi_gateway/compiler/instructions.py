"""The instructions of a function body (core specification, section 5.4), read for the bulk operations among them.

The encodings are those of WebAssembly 3.0 with threads and wide arithmetic. Runs of other instructions are skipped by
one regular expression. No group in it has a possessive quantifier, which CPython before 3.11.5 matches wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from .binary import LEB128, VALUE_TYPE, Malformed, Reader


class BulkOpcode(IntEnum):
    """The bulk operations: the opcodes after 0xFC (section 5.4)."""

    MEMORY_INIT = 8
    MEMORY_COPY = 10
    MEMORY_FILL = 11
    TABLE_INIT = 12
    TABLE_COPY = 14
    TABLE_GROW = 15
    TABLE_FILL = 17


_IMMEDIATES = {
    BulkOpcode.MEMORY_INIT: 2,
    BulkOpcode.MEMORY_COPY: 2,
    BulkOpcode.MEMORY_FILL: 1,
    BulkOpcode.TABLE_INIT: 2,
    BulkOpcode.TABLE_COPY: 2,
    BulkOpcode.TABLE_GROW: 1,
    BulkOpcode.TABLE_FILL: 1,
}


class BulkOperation(NamedTuple):
    """A bulk instruction."""

    opcode: BulkOpcode
    immediates: tuple[int, ...]
    """Indices of memories, tables or segments in the order of the binary format."""

    @classmethod
    def read(cls, instruction: bytes) -> BulkOperation:
        """Reads an instruction that `find_bulk_operations` has found. Raises Malformed."""
        reader = Reader(instruction, 1, len(instruction))
        opcode = BulkOpcode(reader.number())
        return cls(opcode, tuple(reader.number() for _ in range(_IMMEDIATES[opcode])))


def find_bulk_operations(body: Reader) -> Iterator[re.Match[bytes]]:
    """The bulk instructions of a function body, which begins with its locals, but for small ones. Raises Malformed.

    Small is a memory.copy or memory.fill that directly follows a constant of less than 1,024: its size.
    """
    body.skip_vector(_LOCALS, body.number())
    while not body.is_at_end():
        begin = body.position
        body.skip_match(_RUN)
        if found := body.match(_BULK_OPERATION):
            yield found
        elif body.position == begin:
            _skip_vector(body)


def _skip_vector(body: Reader) -> None:
    """Skips an instruction that has a vector of immediates."""
    match body.byte():
        case 0x0E:  # br_table
            body.skip_vector(LEB128, body.number() + 1)
        case 0x1C:  # select
            body.skip_vector(VALUE_TYPE, body.number())
        case 0x1F:  # try_table
            body.skip_match(_BLOCK_TYPE)
            body.skip_vector(_NAMED[b"catch"], body.number())
        case opcode:
            raise Malformed(f"the instruction 0x{opcode:02x} is unknown")


def _opcodes(*numbers: int | range) -> bytes:
    """A regular expression for numbers below 16,384 in LEB128, padded ones included."""
    lows: dict[int, list[int]] = {}
    for some in numbers:
        for number in [some] if isinstance(some, int) else some:
            lows.setdefault(number >> 7, []).append(number & 0x7F)
    return b"(?:%b)" % b"|".join(_two_bytes(octets, high) for high, octets in lows.items())


def _two_bytes(lows: list[int], high: int) -> bytes:
    continued = _octets(low | 0x80 for low in lows)
    if high:
        return continued + _opcodes(high)
    return _octets(lows) + b"|" + continued + rb"\x80{0,3}\x00"


def _octets(octets: Iterable[int]) -> bytes:
    return b"[%b]" % b"".join(b"\\x%02x" % octet for octet in octets)


_NAMED = {b"leb": LEB128, b"value_type": VALUE_TYPE}
_NAMED[b"block_type"] = rb"(?:[\x63\x64]%(leb)s|%(leb)s)" % _NAMED
_NAMED[b"catch"] = rb"(?:[\x00\x01]%(leb)s%(leb)s|[\x02\x03]%(leb)s)" % _NAMED
_NAMED[b"memarg"] = rb"(?:(?:[\x00-\x3f]|[\x80-\xbf]%(leb)s)|(?:[\x40-\x7f]|[\xc0-\xff]%(leb)s)%(leb)s)%(leb)s" % _NAMED
"""Alignment, a memory if bit 6 of the alignment is set, offset."""
_LOCALS = LEB128 + VALUE_TYPE
_BLOCK_TYPE = re.compile(_NAMED[b"block_type"])

_SMALL = rb"(?:[\x00-\x3f]|[\x80-\xff][\x00-\x07])"
"""A signed number from 0 to 1,023 in LEB128."""
_FILL_OR_COPY = b"\xfc(?:%b|%b%b)%b" % (
    _opcodes(BulkOpcode.MEMORY_FILL),
    _opcodes(BulkOpcode.MEMORY_COPY),
    LEB128,
    LEB128,
)

_PLAIN = (
    rb"[\x08\x0c\x0d\x10\x12\x14\x15\x20-\x26\x3f\x40\xd0\xd2\xd5\xd6]%(leb)s"
    rb"|[\x00\x01\x05\x0a\x0b\x0f\x1a\x1b\x45-\xc4\xd1\xd3\xd4]"
    rb"|[\x28-\x3e]%(memarg)s"  # loads and stores
    rb"|[\x02-\x04]%(block_type)s"  # block, loop, if
    rb"|[\x11\x13]%(leb)s%(leb)s"  # call_indirect, return_call_indirect
    rb"|\x43.{4}|\x44.{8}"  # f32.const, f64.const
    # br_table, select with a type, try_table
    rb"|\x0e(?:\x00%(leb)s|\x01(?:%(leb)s){2}|\x02(?:%(leb)s){3}|\x03(?:%(leb)s){4})"
    rb"|\x1c\x01%(value_type)s"
    rb"|\x1f%(block_type)s(?:\x00|\x01%(catch)s|\x02%(catch)s%(catch)s)"
) % _NAMED
_CONSTANT = b"[\x41\x42](?:%b(?:%b)?|%b)" % (_SMALL, _FILL_OR_COPY, LEB128)
"""i32.const, i64.const, and a bulk operation of a small size."""
_GARBAGE_COLLECTION = rb"\xfb(?:%b|%b%b|%b%b%b|%b.%b%b%b)" % (
    _opcodes(15, range(26, 31)),
    _opcodes(0, 1, 6, 7, range(11, 15), 16, range(20, 24)),
    LEB128,
    _opcodes(range(2, 6), 8, 9, 10, 17, 18, 19),
    LEB128,
    LEB128,
    _opcodes(24, 25),  # br_on_cast, br_on_cast_fail
    LEB128,
    LEB128,
    LEB128,
)
_NUMERIC_AND_DROP = rb"\xfc(?:%b|%b%b)" % (_opcodes(range(8), range(19, 23)), _opcodes(9, 13, 16), LEB128)
_VECTOR = rb"\xfd(?:%b%b|%b.{16}|%b|%b.|%b%b.)" % (
    _opcodes(range(12), 92, 93),
    _NAMED[b"memarg"],
    _opcodes(12, 13),  # v128.const, i8x16.shuffle
    _opcodes(range(14, 21), range(35, 84), range(94, 276)),
    _opcodes(range(21, 35)),  # extract_lane, replace_lane
    _opcodes(range(84, 92)),  # load_lane, store_lane
    _NAMED[b"memarg"],
)
_ATOMIC = rb"\xfe(?:%b%b|%b\x00)" % (_opcodes(range(3), range(16, 79)), _NAMED[b"memarg"], _opcodes(3))

_RUN = re.compile(
    b"(?:%b){0,256}" % b"|".join((_PLAIN, _CONSTANT, _NUMERIC_AND_DROP, _VECTOR, _ATOMIC, _GARBAGE_COLLECTION)),
    re.DOTALL,
)
"""Instructions that are no bulk operations. Their number is bounded because the memory of a match grows with it."""

POSSIBLE_BULK_OPERATION = re.compile(rb"\xfc" + _opcodes(*BulkOpcode))
"""Bytes without a match have no bulk operation."""
_BULK_OPERATION = re.compile(
    b"\xfc(?:%b)"
    % b"|".join(_opcodes(*(opcode for opcode in BulkOpcode if _IMMEDIATES[opcode] == n)) + LEB128 * n for n in (1, 2))
)
