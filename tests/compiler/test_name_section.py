"""Function names are bounded, as they stand in a module and as wasmtime demangles them."""

from __future__ import annotations

import pytest
import wasmtime

from wagi_gateway.compiler.binary import leb128
from wagi_gateway.compiler.name_section import bound_names

EMPTY = b"\0asm\1\0\0\0"


def named(*sizes: int, other: int = 0) -> bytes:
    """A module with functions that have names of these sizes, and a local variable with one."""
    functions = "".join(f"(func ${number}{'n' * (size - 1)})" for number, size in enumerate(sizes))
    local = f"(func (local $l{'o' * other} i32))" if other else ""
    return bytes(wasmtime.wat2wasm(f"(module {functions} {local})"))


def custom(name: bytes, content: bytes) -> bytes:
    body = leb128(len(name)) + name + content
    return b"\0" + leb128(len(body)) + body


@pytest.mark.parametrize(
    "data",
    [b"", EMPTY, EMPTY + b"\0", named(1, 1024), named(5, other=5000), EMPTY + custom(b"x", b"n" * 9999)],
    ids="nothing|empty|malformed|short names|a local variable|another section".split("|"),
)
def test_what_stays(data: bytes) -> None:
    assert bound_names(data) is data


@pytest.mark.parametrize(
    "section",
    [
        custom(b"name", b"\1" + leb128(1030) + b"\1\0" + leb128(1026) + b"n" * 1026),
        custom(b"name", b"\1\x7f"),
        custom(b"name", b"\1\2\1\0"),
        custom(b"name", b"\1\3\0\0\0"),
    ],
    ids="long name|cut off|no size|another size".split("|"),
)
def test_what_is_dropped(section: bytes) -> None:
    other = custom(b"x", b"y")
    assert bound_names(EMPTY + other + section + other + section) == EMPTY + other + other


def test_a_module_is_as_it_was_without_its_names() -> None:
    data = named(2000, 3)
    dropped = bound_names(data)
    wasmtime.Module.validate(wasmtime.Engine(), dropped)
    assert len(dropped) < len(data) - 2000
    assert data.startswith(dropped)


def doubling(levels: int) -> str:
    """A name of C++ whose last parameter's type has twice as many parts for each level."""
    name = "_Z1f1PI1aS0_E"
    for number in range(1, levels + 1):
        name += f"S_IS{number:X}_S{number:X}_E"
    return name


def backtrace(module: bytes) -> str:
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    function = wasmtime.Instance(store, wasmtime.Module(engine, module), []).exports(store)["f"]
    assert isinstance(function, wasmtime.Func)
    with pytest.raises(wasmtime.Trap) as trap:
        function(store)
    return trap.value.message


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("_ZN3foo3barEi", "foo::bar(int)"),
        (doubling(2), "f(P<a, a>, P<P<a, a>, P<a, a> >, P<P<P<a, a>, P<a, a> >, P<P<a, a>, P<a, a> > >)"),
        (doubling(12), "?" + doubling(12)[1:]),
        (doubling(12).removeprefix("_Z1f"), "?" + doubling(12)[5:]),
        ("_RNvCs4fqI2P2rA04_4main3run", "main[317d481089b8c8fe]::run"),
        ("_RNvB" + "B0_" * 11, "?RNvB" + "B0_" * 11),
    ],
    ids="plain|few references|C++|a type|Rust|Rust references".split("|"),
)
def test_a_name_with_many_references_is_not_demangled(name: str, shown: str) -> None:
    module = bytes(wasmtime.wat2wasm(f'(module $m (func $"{name}" (export "f") unreachable))'))
    assert f"m!{shown}\n" in backtrace(bound_names(module))


@pytest.mark.parametrize("section", [b".debug_str", b".debug_info"])
def test_references_in_debugging_information_are_replaced(section: bytes) -> None:
    few, many = doubling(2).encode(), doubling(12).encode()
    data = EMPTY + custom(section, few + b"\0" + many + b"\0" + few)
    bounded = bound_names(data)
    assert len(bounded) == len(data)
    assert bounded.count(few) == 2
    assert many not in bounded
    assert bounded[data.index(many) :].startswith(b"_Z1f1PI1a?0_E?_I?1_?1_E")
