"""The binary format of components."""

from __future__ import annotations

import pytest
import wasmtime

from wagi_gateway.compiler.binary import COMPONENT, MODULE, Malformed
from wagi_gateway.compiler.component_binary import ComponentExterns, find_modules, rewrite_modules

WAT = """(component
 (type $t (instance (export "f" (func))))
 (import "a:b/c@1.2.3" (instance (type $t)))
 (import "f" (func $f (param "x" u32)))
 (import "r" (type $r (sub resource)))
 (import "e" (type (eq $r)))
 (import "m" (core module (export "g" (func))))
 (import "n" (component (export "h" (func))))
 (core module $own)
 (component $inner (core module (func (export "x"))) (component (core module (func (export "y")))))
 (export "own" (core module $own))
 (export "inner" (component $inner))
 (export "g" (func $f) (func (param "x" u32)))
 (export "s" (type $r)))"""


def test_imports_and_exports_have_names_and_kinds() -> None:
    assert ComponentExterns.read(bytes(wasmtime.wat2wasm(WAT))) == (
        (
            ("a:b/c@1.2.3", "instance"),
            ("f", "func"),
            ("r", "type"),
            ("e", "type"),
            ("m", "core module"),
            ("n", "component"),
        ),
        (("own", "core module"), ("inner", "component"), ("g", "func"), ("s", "type")),
    )


def test_core_modules_at_any_depth_are_found_and_rewritten() -> None:
    data = bytes(wasmtime.wat2wasm(WAT))
    modules = [data[begin:end] for begin, end in find_modules(data)]
    assert len(modules) == 3
    assert all(module.startswith(MODULE) for module in modules)
    assert rewrite_modules(data, lambda module: module) == data
    custom = b"\0\x03\1xy"
    rewritten = rewrite_modules(data, lambda module: module + custom)
    assert [rewritten[begin:end] for begin, end in find_modules(rewritten)] == [module + custom for module in modules]
    assert len(rewritten) == len(data) + 3 * len(custom)


def section(number: int, content: bytes) -> bytes:
    return bytes([number, len(content)]) + content


def nested(depth: int) -> bytes:
    component = COMPONENT
    for _ in range(depth):
        size = len(component)
        component = COMPONENT + bytes([4, size & 0x7F | 0x80, size >> 7]) + component
    return component


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (MODULE, "the magic number"),
        (COMPONENT + b"\x0a", "the bytes end"),
        (COMPONENT + b"\x0a\x05\0", "the bytes end"),
        (COMPONENT + section(10, b"\1\2\1a"), "the form of a name"),
        (COMPONENT + section(10, b"\1\0\1a\2\0\0"), "values"),
        (COMPONENT + section(10, b"\1\0\1a\7\0"), "a type is unknown"),
        (COMPONENT + section(10, b"\1\0\1a\0\0\0"), "a type is unknown"),
        (COMPONENT + section(11, b"\1\0\1a\7\0\0"), "unknown kind"),
        (COMPONENT + section(11, b"\1\0\1a\0\0\0\0"), "unknown kind"),
        (COMPONENT + b"\0\0" * 20_001, "sections"),
        (COMPONENT + section(10, b"\x14" + b"\0\1a\1\0" * 20) * 51, "more than 1000 imports"),
        (COMPONENT + b"\x0a\xec\x2e" + b"\xe9\x07" + b"\0\1a\7\0" * 1200, "more than 1000 imports"),
    ],
    ids="module|size|end|name|value|import|core import|export|core export|sections|imports|imports at once".split("|"),
)
def test_what_cannot_be_read(data: bytes, what: str) -> None:
    with pytest.raises(Malformed, match=what):
        ComponentExterns.read(data)


def test_the_depth_is_bounded() -> None:
    assert rewrite_modules(nested(32), bytes)
    assert not list(find_modules(nested(32)))
    for read in (lambda data: rewrite_modules(data, bytes), lambda data: list(find_modules(data))):
        with pytest.raises(Malformed, match="nested deeper than 32"):
            read(nested(33))


def test_the_sections_of_all_nested_components_together_are_bounded() -> None:
    many = section(4, COMPONENT + b"\x07\0" * 50)
    assert not list(find_modules(COMPONENT + many * 300))
    for read in (lambda data: rewrite_modules(data, bytes), lambda data: list(find_modules(data))):
        with pytest.raises(Malformed, match="more than 20000 sections"):
            read(COMPONENT + many * 500)
