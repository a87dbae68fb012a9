"""A module in binary form, and what the module imports and exports; for commands that do not run it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import wasmtime

from ..errors import Problem, StartupError
from .binary import COMPONENT, MAGIC, MODULE, Malformed
from .compilation import one_line
from .component_binary import ComponentExterns
from .externs import Externs


class Interface(NamedTuple):
    """The imports and exports of a module, each with its name and type: `env.log  func (i32) -> ()`; of a component,
    each with its name and kind: `wasi:cli/run@0.2.6  instance`."""

    imports: list[str]
    exports: list[str]


def assemble(name: str, data: bytes, *, is_text: bool) -> bytes:
    """The binary form of a module, which is validated; a component is not. `is_text` allows the text format.

    Raises StartupError, with `name` as the place.
    """
    with _translated(name):
        if is_text and not data.startswith(MAGIC):
            data = bytes(wasmtime.wat2wasm(data))
        if data.startswith(MODULE):
            wasmtime.Module.validate(wasmtime.Engine(), data)
    return data


def read_interface(name: str, data: bytes) -> Interface:
    """Validates a module, not a component, and lists its imports and exports.

    Raises StartupError, with `name` as the place.
    """
    with _translated(name):
        if not data.startswith(MAGIC):
            data = bytes(wasmtime.wat2wasm(data))
        if not data.startswith(COMPONENT):
            wasmtime.Module.validate(wasmtime.Engine(), data)
    try:
        if data.startswith(COMPONENT):
            interfaces = ComponentExterns.read(data)
            return Interface(*([f"{name}  {kind}" for name, kind in names] for names in interfaces))
        externs = Externs.read(data)
    except Malformed as malformed:
        raise StartupError(Problem(name, f"cannot be read: {malformed}")) from None
    if problems := externs.undescribed():
        raise StartupError(*(Problem(name, problem.what) for problem in problems))
    return Interface(
        [f"{wanted.module}.{wanted.name}  {wanted.type}" for wanted in externs.imports],
        [f"{export.name}  {export.type}" for export in externs.exports],
    )


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turns wasmtime's error about a module into a StartupError."""
    try:
        yield
    except wasmtime.WasmtimeError as error:
        raise StartupError(Problem(name, f"is no module: {one_line(str(error))}")) from None
