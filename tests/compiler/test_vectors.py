"""Sections with further elements, and function bodies in the place of others."""

from __future__ import annotations

import re

import pytest
import wasmtime

from tests.support.modules import binary
from wagi_gateway.compiler.binary import CODE, FUNCTION, TYPE, Malformed, Reader, find_sections
from wagi_gateway.compiler.engine import create_plain_engine
from wagi_gateway.compiler.vectors import Elements, append_elements, rewrite_bodies

MODULE = binary('(func (export "f") (result i32) (i32.const 7)) (func (nop))')
NOTHING = b"\2\0\x0b"
"""The entry of a function that does nothing, with its size."""
ANY = re.compile(b"")


def code(module: bytes) -> bytes:
    (section,) = (section for section in find_sections(module) if section.id == CODE)
    return module[section.content + 1 : section.end]


def test_elements_are_appended() -> None:
    module = append_elements(MODULE, {FUNCTION: Elements(2, b"\1\1"), CODE: Elements(2, NOTHING * 2)})
    wasmtime.Module.validate(create_plain_engine(), module)
    assert code(module) == code(MODULE) + NOTHING * 2


def test_elements_take_the_place_of_others() -> None:
    before = b"\4\0\x41\5\x0b" + NOTHING
    module = append_elements(MODULE, {FUNCTION: Elements(1, b"\1"), CODE: Elements(1, NOTHING, before)})
    wasmtime.Module.validate(create_plain_engine(), module)
    assert code(module) == before + NOTHING


def test_a_section_that_is_not_there_gets_no_elements() -> None:
    with pytest.raises(Malformed, match="lacks a section"):
        append_elements(binary("(memory 1)"), {TYPE: Elements(1, b"\x60\0\0")})


def test_the_bodies_that_match_are_rewritten() -> None:
    seen = []

    def rewrite(body: Reader) -> bytes | None:
        seen.append(body.position)
        return b"\0\x41\x05\x0b" if len(seen) == 1 else None

    assert rewrite_bodies(MODULE, re.compile(rb"\x41\x07"), rewrite) == b"\4\0\x41\5\x0b" + code(MODULE)[5:]
    assert len(seen) == 1


def test_no_body_that_is_rewritten() -> None:
    assert rewrite_bodies(MODULE, ANY, lambda _: None) is None
    assert rewrite_bodies(binary("(memory 1)"), ANY, lambda _: b"\0\x0b") is None
