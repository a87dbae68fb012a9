"""Modules of strangers: their imports and exports as wasmtime sees them."""

from __future__ import annotations

import wasmtime

from tests.support.modules import DISABLED, LOADED, UNDESCRIBED, binary
from wagi_gateway.compiler.binary import Malformed, largest_function
from wagi_gateway.compiler.bulk_operations import make_interruptible
from wagi_gateway.compiler.externs import Externs, FunctionType

_UNDESCRIBED = [fields for fields, *_ in UNDESCRIBED.values()]
_BULK = "(memory 1) (func (param i32) (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))"
SEEDS = tuple(binary(fields) for fields in (*_UNDESCRIBED, *LOADED.values(), *DISABLED.values(), _BULK))
FOUND = (  # a module with code and no section of functions
    bytes.fromhex("0061736d0100000001050160017f007b0302010005030100010a0d010b00410041012000fc0b000b"),
)
WORDS = (b"\x7b", b"\x7f", b"\x63", b"\x64", b"\x70", b"\x6f", b"\x60", b"\x0b", b"\x80", b"\xff\xff\xff\xff\x0f")
_ENGINE = wasmtime.Engine()


def check(data: bytes) -> None:
    """What wasmtime validates can be read, and has wasmtime's imports and exports unless a type would end it.

    It stays valid when its bulk operations are split, and what is not valid does not become so.
    """
    assert _is_valid(make_interruptible(data).data) == _is_valid(data)
    try:
        externs = Externs.read(data)
        largest_function(data)
    except Malformed:
        assert not _is_valid(data)
        return
    if _is_valid(data) and not externs.undescribed():
        module = _compile(data)
        if module:
            for own, theirs in zip(externs.imports, module.imports, strict=True):
                assert (own.module, own.name, _type(own.type)) == (theirs.module, theirs.name, _type(theirs.type))
            exports = [(export.name, _type(export.type)) for export in externs.exports]
            assert exports == [(export.name, _type(export.type)) for export in module.exports]


def _is_valid(data: bytes) -> bool:
    try:
        wasmtime.Module.validate(_ENGINE, data)
    except wasmtime.WasmtimeError:
        return False
    return True


def _compile(data: bytes) -> wasmtime.Module | None:
    try:
        return wasmtime.Module(_ENGINE, data)
    except wasmtime.WasmtimeError:  # valid, and more than the compiler takes
        return None


def _type(kind: object) -> str:
    if isinstance(kind, FunctionType):
        return f"{kind}".replace("externref", "anyref")  # wasmtime-py's name for it
    if isinstance(kind, wasmtime.FuncType):
        parameters, results = ([str(value) for value in values] for values in (kind.params, kind.results))
        return f"func ({', '.join(parameters)}) -> ({', '.join(results)})"
    return type(kind).__name__
