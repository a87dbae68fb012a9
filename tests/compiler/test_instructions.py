"""The instructions of a function body, each form that wasmtime accepts."""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from wagi_gateway.compiler.binary import MODULE, Malformed, Reader, leb128
from wagi_gateway.compiler.engine import create_plain_engine
from wagi_gateway.compiler.instructions import BulkOpcode, BulkOperation, find_bulk_operations

ENGINE = create_plain_engine()

# Immediates are 6 where possible: the byte is no instruction, so that immediates are not taken for instructions.
IMMEDIATES = [
    b"",
    *(b"\6" * count for count in (1, 2, 3, 4, 8, 16)),
    *(bytes([alignment, 6]) for alignment in range(4)),
    *(bytes([alignment | 0x40, 6, 6]) for alignment in range(4)),
    *(bytes([alignment | 0x80, 0, 0x86, 0]) for alignment in range(4)),
    *(bytes([alignment | 0xC0, 0, 0x86, 0, 6]) for alignment in range(4)),
    b"\0\6\1",  # a lane
    b"\x40\6\6\1",
    b"\0",  # atomic.fence, an empty vector
    b"\7",  # the block with a result
    b"\3\7\x6e\x6c",  # br_on_cast of two nullable types
    b"\3\x87\0\x6e\x6c",
    b"\x6e",  # a heap type
    b"\1\x7f",  # select with types
    b"\x81\0\x63\6",
    b"\1\x64\x86\0",
    *(bytes([count]) + b"\6" * (count + 1) for count in (1, 2, 3, 4, 5)),  # br_table
    b"\x85\x80\0" + b"\x86\0" * 6,
    *(block + b"\x0b" for block in (b"\x40", b"\x7f", b"\6", b"\x86\0", b"\x63\x6e", b"\x63\6", b"\x64\x86\0")),
    *(
        b"\x40" + clauses + b"\x0b"
        for clauses in (b"\0", b"\1\2\6", b"\1\0\6\6", b"\2\2\6\3\6", b"\3\1\6\x86\0\2\6\3\6")
    ),
    b"\x63\6\x81\0\2\6\0\x0b",
]
FUNCTION = b"\x60\0\0"
STRUCT = b"\x5f\7" + b"\x7f\1" * 7
PACKED_STRUCT = b"\x5f\7" + b"\x78\1" * 7
ARRAYS = [b"\x5e" + element + b"\1" for element in (b"\x78", b"\x7f", b"\x70")]

SINGLE = {*range(0x05), 0x08, *range(0x0A, 0x0E), *range(0x0E, 0x16), 0x1A, 0x1B, 0x1C, 0x1F, *range(0x20, 0x27)} | {
    *range(0x28, 0xC5),
    *range(0xD0, 0xD7),
}
PREFIXED = {
    0xFB: {*range(31)},
    0xFC: {*range(18), *range(19, 23)},
    0xFD: {*range(0x114)}
    - {0x9A, 0xA2, 0xA5, 0xA6, 0xAF, 0xB0, 0xB2, 0xB3, 0xB4, 0xBB, 0xC2, 0xC5, 0xC6}
    - {0xCF, 0xD0, 0xD2, 0xD3, 0xD4, 0xE2, 0xEE},
    0xFE: {*range(4), *range(16, 79)},
}
"""The instructions of wasmtime; 0x9A and others are not assigned."""


def section(identifier: int, elements: list[bytes]) -> bytes:
    content = leb128(len(elements)) + b"".join(elements)
    return bytes([identifier]) + leb128(len(content)) + content


def module(instructions: bytes, type_6: bytes = FUNCTION) -> bytes:
    """A module with a function of these instructions in unreachable code; indices up to 6 are valid, and label 7."""
    blocks = b"\2\x6e" + b"\2\x40" * 7 + b"\0" + instructions + b"\x0b" * 7 + b"\0\x0b\x1a"
    code = b"\2\7\x7f\7\x7b" + blocks + b"\x0b"
    return b"".join(
        (
            MODULE,
            section(1, [FUNCTION] * 6 + [type_6]),
            section(3, [b"\0"] * 8),
            section(4, [b"\x70\0\1"] * 7),
            section(5, [b"\0\1"] * 7),
            section(13, [b"\0\0"] * 7),
            section(6, [b"\x7f\1\x41\0\x0b"] * 7),
            section(9, [b"\1\0\0"] * 6 + [b"\3\0\1\0"]),
            b"\x0c\1\7",
            section(10, [b"\2\0\x0b"] * 7 + [leb128(len(code)) + code]),
            section(11, [b"\1\1x"] * 7),
        )
    )


def is_valid(data: bytes) -> bool:
    try:
        wasmtime.Module.validate(ENGINE, data)
    except wasmtime.WasmtimeError:
        return False
    return True


def opcodes(prefix: int | None) -> dict[int, list[bytes]]:
    """The encodings of each opcode."""
    if prefix is None:
        return {opcode: [bytes([opcode])] for opcode in range(min(PREFIXED))}
    return {
        opcode: [bytes([prefix]) + leb128(opcode, least=least) for least in (1, 4)]
        for opcode in range(max(PREFIXED[prefix]) + 20)
    }


@functools.cache
def forms(prefix: int | None) -> dict[int, list[bytes]]:
    """The forms of each instruction that wasmtime accepts."""
    types = [FUNCTION, STRUCT, PACKED_STRUCT, *ARRAYS] if prefix == 0xFB else [FUNCTION]
    return {
        opcode: found
        for opcode, encodings in opcodes(prefix).items()
        if (
            found := [
                encoding + immediates
                for encoding in encodings
                for immediates in IMMEDIATES
                if any(is_valid(module(encoding + immediates + PADDING, kind)) for kind in types)
            ]
        )
    }


class Found(NamedTuple):
    """A bulk operation and its position in a function body."""

    operation: BulkOperation
    begin: int
    end: int


def read(instructions: bytes) -> list[Found]:
    body = b"\0" + instructions
    found = find_bulk_operations(Reader(body, 0, len(body)))
    return [Found(BulkOperation.read(match.group()), *match.span()) for match in found]


FILL = b"\xfc\x0b\6"
PADDING = b"\0" * 20
"""unreachable, for forms with fewer immediates than the instruction has."""


@pytest.mark.parametrize("prefix", [None, *PREFIXED], ids=lambda prefix: f"{prefix:02x}" if prefix else "none")
def test_every_instruction_of_wasmtime_is_read_to_its_end(prefix: int | None) -> None:
    known = forms(prefix)
    assert known.keys() == (PREFIXED[prefix] if prefix else SINGLE)
    for form in itertools.chain(*known.values()):
        instructions = form + PADDING + FILL + PADDING
        begin = len(form + PADDING) + 1
        expected = Found(BulkOperation(BulkOpcode.MEMORY_FILL, (6,)), begin, begin + len(FILL))
        assert read(instructions)[-1] == expected, form.hex()


@given(st.data())
def test_instructions_one_after_the_other(data: st.DataObject) -> None:
    known = [FILL, *(form for prefix in (None, *PREFIXED) for found in forms(prefix).values() for form in found)]
    pieces = [form + PADDING for form in data.draw(st.lists(st.sampled_from(known), max_size=600))]
    expected = []
    position = 0
    for piece in pieces:
        expected += [found._replace(begin=found.begin + position, end=found.end + position) for found in read(piece)]
        position += len(piece)
    assert read(b"".join(pieces)) == expected


@pytest.mark.parametrize(
    ("constant", "is_small"),
    [
        (b"\x41\0", True),
        (b"\x41\x3f", True),
        (b"\x41\x7f", False),
        (b"\x41\xff\7", True),
        (b"\x41\x80\x08", False),
        (b"\x41\x80\x80\x08", False),
        (b"\x42\xff\7", True),
        (b"\x42\x80\x08", False),
        (b"\x41\0\x20\0", False),
        (b"\x41\0\x01", False),
        (b"\x41\x80\0\x1a\x41\x80\x10", False),
    ],
    ids="0|63|-1|1023|1024|padded|i64 1023|i64 1024|local after it|nop after it|another before".split("|"),
)
@pytest.mark.parametrize("operation", [FILL, b"\xfc\x0a\6\6", b"\xfc\x8b\0\6"], ids=["fill", "copy", "padded fill"])
def test_an_operation_of_a_small_constant_size_is_left_alone(constant: bytes, is_small: bool, operation: bytes) -> None:
    assert len(read(constant + operation + b"\x0b")) == (not is_small)


@pytest.mark.parametrize(
    "instructions",
    [
        b"\6\x40\x0b",
        b"\xc5",
        b"\xe0\0",
        b"\xff",
        b"\xfb\x1f",
        b"\xfc\x12\0",
        b"\xfc\x17",
        b"\xfd\x94\2",
        b"\xfe\x4f\0\0",
        *(
            b"\xfc",
            b"\xfc\x0b",
            b"\xfc\x0a\0",
            b"\x41",
            b"\x41\x80",
            b"\x44\0",
            b"\x0e\5\0",
            b"\x0e\xff\xff\xff\xff\x0f\0",
        ),
        *(b"\xfc\x8b\x80\x80\x80\x80\0\0", b"\x0e\xff\xff\xff\xff\xff\x0f\0", b"\x1f\x40\1\4\0"),
    ],
    ids=bytes.hex,
)
def test_what_is_no_instruction_is_malformed(instructions: bytes) -> None:
    with pytest.raises(Malformed):
        read(FILL + instructions)


@pytest.mark.parametrize(
    "locals_", [b"\1\5\x70", b"\2\0\x7b\x80\0\x64\x86\0", b"\x83\0" + b"\0\x7f" * 3], ids=bytes.hex
)
def test_locals_are_skipped(locals_: bytes) -> None:
    body = locals_ + FILL + b"\x0b"
    (found,) = find_bulk_operations(Reader(body, 0, len(body)))
    assert found.start() == len(locals_)
