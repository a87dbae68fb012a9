"""A reader and a rewriter of the binary format of components, without recursion and with bounded counts.

Source: the component model, Binary.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .binary import COMPONENT, CUSTOM, Malformed, Reader, Section, leb128, read_section

_CORE_MODULE, _NESTED_COMPONENT, _IMPORT, _EXPORT = 1, 4, 10, 11
_MAX_SECTIONS = 20_000
"""Sections of a component and those within. Compilers write some hundred; to read this many takes a tenth of a
second."""
_MAX_NAMES = 1000
"""Imports or exports of one component."""
_TOO_MANY_NAMES = f"it has more than {_MAX_NAMES} imports or exports"
_MAX_DEPTH = 32
"""Components within components."""
_CORE_SORT = 0
_SORTS = {1: "func", 2: "value", 3: "type", 4: "component", 5: "instance"}
_CORE_MODULE_SORT = 0x11
_MODULE_TYPE, _FUNC, _VALUE, _TYPE, _COMPONENT, _INSTANCE = range(6)


class ComponentExterns(NamedTuple):
    """The names of a component's imports and exports, such as `wasi:cli/run@0.2.0`, each with its kind."""

    imports: tuple[tuple[str, str], ...]
    exports: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, component: bytes) -> ComponentExterns:
        """Reads a component in the binary format. Raises Malformed."""
        imports: list[tuple[str, str]] = []
        exports: list[tuple[str, str]] = []
        for section in _sections(component, 0, len(component)):
            reader = Reader(component, section.content, section.end)
            if section.id == _IMPORT:
                imports += [_read_import(reader) for _ in range(_count_names(reader))]
            elif section.id == _EXPORT:
                exports += [_read_export(reader) for _ in range(_count_names(reader))]
            if max(len(imports), len(exports)) > _MAX_NAMES:
                raise Malformed(_TOO_MANY_NAMES)
        return cls(tuple(imports), tuple(exports))


def top_sections(component: bytes) -> Iterator[Section]:
    """The sections of a component, but the custom ones; not of components within. Raises Malformed."""
    return _sections(component, 0, len(component))


def find_modules(component: bytes) -> Iterator[tuple[int, int]]:
    """The begin and end of each core module of a component, at any depth. Raises Malformed."""
    pending, budget = [(0, len(component), 0)], _budget()
    while pending:
        begin, end, depth = pending.pop()
        for section in _sections(component, begin, end, depth, budget):
            if section.id == _CORE_MODULE:
                yield section.content, section.end
            elif section.id == _NESTED_COMPONENT:
                pending.append((section.content, section.end, depth + 1))


def rewrite_modules(component: bytes, rewrite: Callable[[bytes], bytes]) -> bytes:
    """The component with each of its core modules, at any depth, rewritten. Raises Malformed."""
    return _rewrite(component, 0, len(component), rewrite, 0, _budget())


def _budget() -> Iterator[int]:
    """The numbers of the sections that may be read."""
    return iter(range(_MAX_SECTIONS))


def _sections(
    component: bytes, begin: int, end: int, depth: int = 0, budget: Iterator[int] | None = None
) -> Iterator[Section]:
    """The sections of a component that lies at these positions, `depth` components deep. Raises Malformed."""
    if depth > _MAX_DEPTH:
        raise Malformed(f"components are nested deeper than {_MAX_DEPTH}")
    if not component.startswith(COMPONENT, begin, end):
        raise Malformed("the magic number or version is not that of a component")
    whole = Reader(component, begin + len(COMPONENT), end)
    for _ in budget or _budget():
        if whole.is_at_end():
            return
        section = read_section(whole)
        if section.id != CUSTOM:
            yield section
    raise Malformed(f"it has more than {_MAX_SECTIONS} sections")


def _rewrite(
    component: bytes, begin: int, end: int, rewrite: Callable[[bytes], bytes], depth: int, budget: Iterator[int]
) -> bytes:
    pieces = []
    copied = begin
    for section in _sections(component, begin, end, depth, budget):
        if section.id == _CORE_MODULE:
            content = rewrite(component[section.content : section.end])
        elif section.id == _NESTED_COMPONENT:
            content = _rewrite(component, section.content, section.end, rewrite, depth + 1, budget)
        else:
            continue
        pieces += [component[copied : section.begin], bytes([section.id]), leb128(len(content)), content]
        copied = section.end
    pieces.append(component[copied:end])
    return b"".join(pieces)


def _count_names(reader: Reader) -> int:
    """The number of imports or exports of a section. Raises Malformed before they are read."""
    count = reader.count()
    if count > _MAX_NAMES:
        raise Malformed(_TOO_MANY_NAMES)
    return count


def _read_import(reader: Reader) -> tuple[str, str]:
    return _read_name(reader), _read_type(reader)


def _read_export(reader: Reader) -> tuple[str, str]:
    name = _read_name(reader)
    sort = reader.byte()
    kind = "core module" if sort == _CORE_SORT and reader.byte() == _CORE_MODULE_SORT else _SORTS.get(sort)
    if kind is None:
        raise Malformed("an export has an unknown kind")
    reader.number()
    if reader.byte():  # the type is ascribed
        _read_type(reader)
    return name, kind


def _read_name(reader: Reader) -> str:
    form = reader.byte()
    name = reader.name()
    if form > 1:  # further names of an import or export, of a later version of the format
        raise Malformed("the form of a name is unknown")
    return name


def _read_type(reader: Reader) -> str:
    """Skips the type of an import or export, and returns its kind."""
    kind = reader.byte()
    if kind == _MODULE_TYPE:
        if reader.byte() != _CORE_MODULE_SORT:
            raise Malformed("a type is unknown")
        reader.number()
        return "core module"
    if kind in (_FUNC, _COMPONENT, _INSTANCE):
        reader.number()
        return {_FUNC: "func", _COMPONENT: "component", _INSTANCE: "instance"}[kind]
    if kind == _TYPE:
        if reader.byte() == 0:  # (eq i), else (sub resource)
            reader.number()
        return "type"
    if kind == _VALUE:
        raise Malformed("values are imported or exported, which wasmtime does not know")
    raise Malformed("a type is unknown")
