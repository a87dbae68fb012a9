"""The imports and exports of a module with their types, read from its bytes.

wasmtime's C API ends the process when a type is requested for which it has no notation: `v128`, references other than
`funcref` and `externref`, table limits of more than 32 bits. So no type is requested from it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from ..errors import MAX_PROBLEMS, Problem
from .binary import FUNCTION, MAX_ITEMS, TYPE, Malformed, Reader, SizeLimits, sections

_IMPORT, _TABLE, _MEMORY, _GLOBAL, _EXPORT, _TAG = 2, 4, 5, 6, 7, 13
_KINDS = 5
"""Functions, tables, memories, globals and tags, by the byte of an import or export."""
_REC, _SUB, _SUB_FINAL, _FUNC, _STRUCT, _ARRAY = 0x4E, 0x50, 0x4F, 0x60, 0x5F, 0x5E
_TABLE_WITH_EXPRESSION = 0x40
_MAX_SUPERTYPES = 1
_MAX_32_BITS = 0xFFFF_FFFF
_MAX_READ_IMPORTS, _MAX_READ_EXPORTS = 10_000, 100_000
"""More of them take seconds and hundreds of megabytes to read."""

_DESCRIBED = frozenset(("i32", "i64", "f32", "f64", "funcref", "externref"))
"""The value types of wasmtime's C API."""


class FunctionType(NamedTuple):
    """The type of a function, with value types in the text format."""

    parameters: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"func ({', '.join(self.parameters)}) -> ({', '.join(self.results)})"


class TableType(NamedTuple):
    """The type of a table."""

    element: str
    limits: SizeLimits

    def __str__(self) -> str:
        return "table"


class MemoryType(NamedTuple):
    """The type of a memory."""

    limits: SizeLimits

    def __str__(self) -> str:
        return "memory"


class GlobalType(NamedTuple):
    """The type of a global variable."""

    value: str

    def __str__(self) -> str:
        return "global"


class TagType(NamedTuple):
    """The type of an exception's tag. wasmtime's C API does not look into it."""

    function: int

    def __str__(self) -> str:
        return "tag"


ExternType = FunctionType | TableType | MemoryType | GlobalType | TagType


class Import(NamedTuple):
    """An import of a module."""

    module: str
    name: str
    type: ExternType


class Export(NamedTuple):
    """An export of a module."""

    name: str
    type: ExternType


class Externs(NamedTuple):
    """The imports and exports of a module."""

    imports: tuple[Import, ...]
    exports: tuple[Export, ...]
    has_shared_memory: bool
    """Whether a memory, exported or not, is shared."""

    @classmethod
    def read(cls, module: bytes) -> Externs:
        """Reads a module in the binary format. Raises Malformed."""
        spaces = IndexSpaces.read(module)
        is_shared = any(memory.limits.is_shared for memory in spaces.memories)
        return cls(tuple(spaces.imports), tuple(spaces.exports), is_shared)

    def undescribed(self) -> list[Problem]:
        """The imports and exports with types that wasmtime's C API cannot describe, a hundred at most."""
        return list(islice(self._undescribed(), MAX_PROBLEMS))

    def _undescribed(self) -> Iterator[Problem]:
        for wanted in self.imports:
            if what := _undescribed(wanted.type):
                advice = "no host function has it, so build the module without this import"
                yield _problem(f"import {wanted.module}.{wanted.name}", what, advice)
        for export in self.exports:
            if what := _undescribed(export.type):
                yield _problem(f"export {export.name}", what, "build the module without this export")


def _problem(where: str, what: str, advice: str) -> Problem:
    return Problem("", f"{where}: has {what}, which wasmtime's C API cannot describe; {advice}")


def _undescribed(kind: ExternType) -> str | None:
    """The part of a type that wasmtime's C API cannot describe, or None."""
    values: tuple[str, ...] = ()
    if isinstance(kind, FunctionType):
        values = kind.parameters + kind.results
    elif isinstance(kind, GlobalType):
        values = (kind.value,)
    elif isinstance(kind, TableType):
        if max(kind.limits.minimum, kind.limits.maximum or 0) > _MAX_32_BITS:
            return "limits of more than 32 bits"
        values = (kind.element,)
    strange = next((value for value in values if value not in _DESCRIBED), None)
    return f"type {strange}" if strange else None


class IndexSpaces:
    """The index spaces of a module, filled section by section (core specification, section 2.5.1)."""

    def __init__(self) -> None:
        self._module = b""
        self.types = array("Q")
        """Where the parameters of each function type begin; 0 for structures and arrays."""
        self._signatures: dict[int, FunctionType] = {}
        self._global_types: dict[str, GlobalType] = {}
        self.functions = array("L")
        """The type index of each function."""
        self._tables: list[TableType] = []
        self.memories: list[MemoryType] = []
        self._globals: list[GlobalType] = []
        self._tags: list[TagType] = []
        self.imports: list[Import] = []
        self.exports: list[Export] = []

    @classmethod
    def read(cls, module: bytes) -> IndexSpaces:
        """Reads the index spaces of a module in the binary format. Raises Malformed."""
        spaces = cls()
        spaces._read(module)
        return spaces

    def has_only_function_types(self) -> bool:
        """Whether the module has no type of structures or arrays."""
        return 0 not in self.types

    def has_tags(self) -> bool:
        """Whether the module has tags of exceptions."""
        return bool(self._tags)

    def _read(self, module: bytes) -> None:
        self._module = module
        steps = {
            TYPE: self._read_types,
            _IMPORT: self._read_imports,
            FUNCTION: self._read_functions,
            _TABLE: self._read_tables,
            _MEMORY: self._read_memories,
            _GLOBAL: self._read_globals,
            _EXPORT: self._read_exports,
            _TAG: self._read_tags,
        }
        for section, reader in sections(module):
            if step := steps.get(section):
                step(reader)

    def _read_types(self, reader: Reader) -> None:
        for _ in range(reader.count()):
            first = reader.byte()
            if first != _REC:
                self._read_type(reader, first)
                continue
            for _ in range(reader.count()):
                self._read_type(reader, reader.byte())

    def _read_type(self, reader: Reader, first: int) -> None:
        if len(self.types) >= MAX_ITEMS:
            raise Malformed("there are too many types")
        if first in (_SUB, _SUB_FINAL):
            for _ in range(reader.count(_MAX_SUPERTYPES)):
                reader.number()
            first = reader.byte()
        self.types.append(reader.position if first == _FUNC else 0)
        if first == _FUNC:
            reader.skip_value_types()
            reader.skip_value_types()
        elif first in (_STRUCT, _ARRAY):
            reader.skip_fields(is_array=first == _ARRAY)
        else:
            raise Malformed(f"0x{first:02x} is no type")

    def _read_imports(self, reader: Reader) -> None:
        for _ in range(_count(reader, "imports", _MAX_READ_IMPORTS)):
            module, name, kind = reader.name(), reader.name(), reader.byte()
            self.imports.append(Import(module, name, self._read_import(kind, reader)))

    def _read_import(self, kind: int, reader: Reader) -> ExternType:
        match kind:
            case 0:
                self.functions.append(reader.number())
                return self._function_type(self.functions[-1])
            case 1:
                self._tables.append(TableType(reader.value_type(), reader.limits()))
                return self._tables[-1]
            case 2:
                self.memories.append(MemoryType(reader.limits()))
                return self.memories[-1]
            case 3:
                self._globals.append(self._global_type(reader))
                return self._globals[-1]
            case 4:
                self._tags.append(_tag_type(reader))
                return self._tags[-1]
        raise Malformed(f"0x{kind:02x} is no kind of import")

    def _read_functions(self, reader: Reader) -> None:
        for _ in range(reader.count()):
            self.functions.append(reader.number())

    def _read_tables(self, reader: Reader) -> None:
        for _ in range(reader.count()):
            has_expression = reader.peek() == _TABLE_WITH_EXPRESSION
            if has_expression:
                reader.skip(2)
            self._tables.append(TableType(reader.value_type(), reader.limits()))
            if has_expression:
                reader.skip_expression()

    def _read_memories(self, reader: Reader) -> None:
        self.memories += [MemoryType(reader.limits()) for _ in range(reader.count())]

    def _read_globals(self, reader: Reader) -> None:
        for _ in range(reader.count()):
            self._globals.append(self._global_type(reader))
            reader.skip_expression()

    def _read_tags(self, reader: Reader) -> None:
        self._tags += [_tag_type(reader) for _ in range(reader.count())]

    def _read_exports(self, reader: Reader) -> None:
        for _ in range(_count(reader, "exports", _MAX_READ_EXPORTS)):
            name, kind, index = reader.name(), reader.byte(), reader.number()
            self.exports.append(Export(name, self._export_type(kind, index)))

    def _export_type(self, kind: int, index: int) -> ExternType:
        spaces = (self.functions, self._tables, self.memories, self._globals, self._tags)
        if kind >= _KINDS or index >= len(spaces[kind]):
            raise Malformed("an export names nothing")
        found = spaces[kind][index]
        return self._function_type(found) if isinstance(found, int) else found

    def _global_type(self, reader: Reader) -> GlobalType:
        """The type of a global; one object for each value type, because a module may have a million globals."""
        value = reader.value_type()
        reader.skip(1)  # whether it is mutable
        return self._global_types.setdefault(value, GlobalType(value))

    def _function_type(self, index: int) -> FunctionType:
        if index not in self._signatures:
            if index >= len(self.types) or not self.types[index]:
                raise Malformed("a function has no type")
            reader = Reader(self._module, self.types[index], len(self._module))
            self._signatures[index] = FunctionType(reader.value_types(), reader.value_types())
        return self._signatures[index]


def _count(reader: Reader, what: str, most: int) -> int:
    count = reader.count()
    if count > most:
        raise Malformed(f"{count} {what} are more than {most}")
    return count


def _tag_type(reader: Reader) -> TagType:
    reader.skip(1)  # the attribute: an exception
    return TagType(reader.number())
