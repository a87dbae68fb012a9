"""A module in binary form, and what the module imports and exports; for commands that do not run it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import wasmtime

from ..errors import Problem, StartupError

# WebAssembly core specification, section 5.5.16, and the component model's Binary.md: the magic number and version.
_MODULE, _COMPONENT = b"\0asm\1\0\0\0", b"\0asm\r\0\1\0"
_MAGIC = _MODULE[:4]


class Interface(NamedTuple):
    """The imports and exports of a module, each with its name and type: `env.log  func (i32) -> ()`."""

    imports: list[str]
    exports: list[str]


def assemble(name: str, data: bytes, *, is_text: bool) -> bytes:
    """The binary form of a module, which is validated; a component is not. `is_text` allows the text format.

    Raises StartupError, with `name` as the place.
    """
    with _translated(name):
        if is_text and not data.startswith(_MAGIC):
            data = bytes(wasmtime.wat2wasm(data))
        if data.startswith(_MODULE):
            wasmtime.Module.validate(wasmtime.Engine(), data)
    return data


def read_interface(name: str, data: bytes) -> Interface:
    """Compiles a module and lists its imports and exports. Raises StartupError, with `name` as the place."""
    if data.startswith(_COMPONENT):
        raise StartupError(Problem(name, "is a component (WASI preview 2), not a module"))
    with _translated(name):
        module = wasmtime.Module(wasmtime.Engine(), data)
    return Interface(
        [f"{one.module}.{one.name}  {_type(one.type)}" for one in module.imports],
        [f"{one.name}  {_type(one.type)}" for one in module.exports],
    )


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turns wasmtime's error about a module into a StartupError."""
    try:
        yield
    except wasmtime.WasmtimeError as error:
        raise StartupError(Problem(name, f"is no module: {str(error).splitlines()[0]}")) from None


def _type(kind: object) -> str:
    if isinstance(kind, wasmtime.FuncType):
        parameters, results = ([str(value) for value in values] for values in (kind.params, kind.results))
        return f"func ({', '.join(parameters)}) -> ({', '.join(results)})"
    return type(kind).__name__.removesuffix("Type").lower()
