"""Bulk operations that an epoch can interrupt: memory.fill and memory.copy become calls of functions that use chunks.

wasmtime checks the epoch after a bulk operation, not within, and memory.fill of 4 GiB takes many seconds. So a module
is rewritten before it is compiled. The functions are appended, so that no index moves. A call has as many bytes as the
instruction that it replaces, so that no offset in the code section moves, to which debugging information refers; unless
the index needs more, in modules of more than 16,384 functions.
"""

from __future__ import annotations

from typing import NamedTuple

from .binary import CODE, FUNCTION, MAX_ITEMS, TYPE, Malformed, Reader, Section, find_sections, leb128
from .chunked_functions import ChunkedFunction, MemoryOperand, chunked_copy, chunked_fill
from .externs import IndexSpaces
from .instructions import POSSIBLE_BULK_OPERATION, BulkOpcode, BulkOperation, find_bulk_operations

_CALL, _NOP = b"\x10", b"\x01"
_MAX_INDEX = 5
"""Bytes of a padded index."""


class Rewritten(NamedTuple):
    """A module whose operations on large memories an epoch can interrupt."""

    data: bytes
    is_complete: bool
    """Whether no instruction works for long. Operations on tables, data segments, structures and arrays are not split
    into chunks: a module with such is not complete."""


def make_interruptible(data: bytes) -> Rewritten:
    """Splits memory.fill and memory.copy into chunks. A module without them is returned as the same object.

    So is a module that cannot be read, which wasmtime refuses.
    """
    try:
        return _Module(data).rewrite()
    except Malformed:
        return Rewritten(data, is_complete=False)


class _Module:
    """A module that is rewritten."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._sections = {section.id: section for section in find_sections(data)}
        self._spaces = IndexSpaces.read(data)
        self._calls: dict[bytes, bytes | None] = {}
        """The call for each bulk instruction, or None."""
        self._indices: dict[BulkOperation, int] = {}
        """The index of the function for each operation."""
        self._functions: list[ChunkedFunction] = []
        """The functions to append."""
        # A thrown exception is compared with the catch clauses of all frames, without an epoch check.
        self._is_complete = self._spaces.has_only_function_types() and not self._spaces.has_tags()

    def rewrite(self) -> Rewritten:
        code = self._sections.get(CODE)
        if not code or not POSSIBLE_BULK_OPERATION.search(self._data, code.content, code.end):
            return Rewritten(self._data, self._is_complete)
        bodies = self._rewrite_bodies(Reader(self._data, code.content, code.end))
        if not self._functions:
            return Rewritten(self._data, self._is_complete)
        if not self._sections.keys() >= {TYPE, FUNCTION}:
            raise Malformed("a module with code has no section of types or of functions")
        if len(self._functions) + max(len(self._spaces.functions), len(self._spaces.types)) > MAX_ITEMS:
            raise Malformed("no function can be added")
        return Rewritten(self._with_functions(bodies), self._is_complete)

    def _rewrite_bodies(self, reader: Reader) -> bytes:
        """The function bodies of the code section."""
        pieces = []
        count = reader.number()
        copied = reader.position
        for _ in range(count):
            begin = reader.position
            size = reader.number()
            start = reader.position
            reader.skip(size)
            if not POSSIBLE_BULK_OPERATION.search(self._data, start, reader.position):
                continue
            if body := self._rewrite_body(Reader(self._data, start, reader.position)):
                pieces += [self._data[copied:begin], leb128(len(body), least=start - begin), body]
                copied = reader.position
        return b"".join([*pieces, self._data[copied : reader.position]])

    def _rewrite_body(self, reader: Reader) -> bytes | None:
        """A function body with calls for its bulk operations on memory; None if it has none."""
        pieces = []
        copied = reader.position
        for found in find_bulk_operations(reader):
            instruction = found.group()
            if instruction not in self._calls:
                self._calls[instruction] = self._replace(instruction)
            if call := self._calls[instruction]:
                pieces += [self._data[copied : found.start()], call]
                copied = found.end()
        return b"".join([*pieces, self._data[copied : reader.position]]) if pieces else None

    def _replace(self, instruction: bytes) -> bytes | None:
        """The call for a bulk operation on memory; None for another one."""
        operation = BulkOperation.read(instruction)
        if operation.opcode not in (BulkOpcode.MEMORY_FILL, BulkOpcode.MEMORY_COPY):
            self._is_complete = False
            return None
        return _call(self._function_index(operation), len(instruction))

    def _function_index(self, operation: BulkOperation) -> int:
        """The index of the function that does an operation."""
        if operation not in self._indices:
            chunked = chunked_fill if operation.opcode == BulkOpcode.MEMORY_FILL else chunked_copy
            self._indices[operation] = len(self._spaces.functions) + len(self._functions)
            self._functions.append(chunked(*map(self._memory, operation.immediates)))
        return self._indices[operation]

    def _memory(self, index: int) -> MemoryOperand:
        if index >= len(self._spaces.memories):
            raise Malformed("an instruction names no memory")
        return MemoryOperand(leb128(index), self._spaces.memories[index].limits.is_64)

    def _with_functions(self, bodies: bytes) -> bytes:
        """The module with these bodies, and the functions appended."""
        indices = range(len(self._spaces.types), len(self._spaces.types) + len(self._functions))
        data = self._data
        # The last section first, so that the positions of the others stay valid.
        for section, old, appended in (
            (CODE, bodies, [function.code for function in self._functions]),
            (FUNCTION, None, map(leb128, indices)),
            (TYPE, None, [function.type for function in self._functions]),
        ):
            data = self._with_elements(data, self._sections[section], old, b"".join(appended))
        return data

    def _with_elements(self, data: bytes, section: Section, old: bytes | None, appended: bytes) -> bytes:
        """The module with elements appended to the vector of a section."""
        reader = Reader(self._data, section.content, section.end)
        count = leb128(reader.number() + len(self._functions), least=reader.position - section.content)
        if old is None:
            old = self._data[reader.position : section.end]
        size = leb128(len(count + old + appended), least=section.content - section.begin - 1)
        return b"".join((data[: section.begin + 1], size, count, old, appended, data[section.end :]))


def _call(function: int, size: int) -> bytes:
    """A call of at least `size` bytes."""
    call = _CALL + leb128(function, least=min(size - len(_CALL), _MAX_INDEX))
    return call.ljust(size, _NOP)
