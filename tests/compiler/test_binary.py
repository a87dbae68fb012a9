"""The size of the largest function, in written modules and in compiled samples."""

from __future__ import annotations

import pytest
import wasmtime

from tests.conftest import ROOT
from wagi_gateway.compiler.binary import largest_function


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ("", 0),
        ("(memory 1)", 0),
        ("(func)", 2),  # no locals, end
        ("(func) (func (nop) (nop)) (func (nop))", 4),
        (f"(func {'(nop)' * 300}) (func)", 302),
        (f"(func {'(nop)' * 140_000})", 140_002),
    ],
    ids="nothing|no function|empty|the second of three|two bytes of size|three bytes of size".split("|"),
)
def test_the_largest_function(fields: str, size: int) -> None:
    assert largest_function(bytes(wasmtime.wat2wasm(f"(module {fields})"))) == size


@pytest.mark.parametrize("module", ["c/env.wasm", "rust/log.wasm", "assemblyscript/routes.wasm"])
def test_what_compilers_make_is_short(module: str) -> None:
    data = (ROOT / "samples" / module).read_bytes()
    assert 100 < largest_function(data) < 64 * 1024
