"""The layout of an argument vector or an environment in a guest's memory (WASI preview 1)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagi_gateway.sandbox.string_array import StringArray

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)


@pytest.mark.parametrize(
    ("strings", "block", "pointers"),
    [
        ([], b"", []),
        ([b""], b"\0", [1000]),
        ([b"", b""], b"\0\0", [1000, 1001]),
        ([b"A=b", b"", b"\xff"], b"A=b\0\0\xff\0", [1000, 1004, 1005]),
    ],
    ids=["none", "an empty one", "two empty ones", "three"],
)
def test_the_layout(strings: list[bytes], block: bytes, pointers: list[int]) -> None:
    array = StringArray(strings)
    assert (len(array), array.block) == (len(strings), block)
    assert array.pointers(1000) == struct.pack(f"<{len(pointers)}I", *pointers)


def test_a_block_at_the_end_of_the_address_space() -> None:
    assert StringArray([b"x"]).pointers(2**32 - 1) == b"\xff" * 4


@given(st.lists(st.binary(max_size=40).filter(lambda string: b"\0" not in string), max_size=40), st.integers(0, 2**31))
def test_each_pointer_finds_its_string(strings: list[bytes], start: int) -> None:
    array = StringArray(strings)
    pointers = [pointer for (pointer,) in struct.iter_unpack("<I", array.pointers(start))]
    found = [array.block[pointer - start : array.block.index(b"\0", pointer - start)] for pointer in pointers]
    assert found == strings
