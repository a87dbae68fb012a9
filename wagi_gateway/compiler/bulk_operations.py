"""Bulk operations that an epoch can interrupt: memory.fill and memory.copy become calls of functions that use chunks.

wasmtime checks the epoch after a bulk operation, not within, and memory.fill of 4 GiB takes many seconds. So a module
is rewritten before it is compiled. The functions are appended, so that no index moves. A call has as many bytes as the
instruction that it replaces, so that no offset in the code section moves, to which debugging information refers; unless
the index needs more, in modules of more than 16,384 functions.
"""

from __future__ import annotations

from typing import NamedTuple

from .binary import CODE, FUNCTION, MAX_ITEMS, TYPE, Malformed, Reader, leb128
from .chunked_functions import ChunkedFunction, MemoryOperand, chunked_copy, chunked_fill
from .externs import IndexSpaces
from .instructions import POSSIBLE_BULK_OPERATION, BulkOpcode, BulkOperation, find_bulk_operations
from .vectors import Elements, append_elements, rewrite_bodies

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
        bodies = rewrite_bodies(self._data, POSSIBLE_BULK_OPERATION, self._rewrite_body)
        if bodies is None:
            return Rewritten(self._data, self._is_complete)
        if len(self._functions) + max(len(self._spaces.functions), len(self._spaces.types)) > MAX_ITEMS:
            raise Malformed("no function can be added")
        return Rewritten(self._with_functions(bodies), self._is_complete)

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
        count, first = len(self._functions), len(self._spaces.types)
        added = {
            TYPE: [function.type for function in self._functions],
            FUNCTION: [leb128(first + number) for number in range(count)],
            CODE: [function.code for function in self._functions],
        }
        elements = {section: Elements(count, b"".join(encoded)) for section, encoded in added.items()}
        return append_elements(self._data, elements | {CODE: elements[CODE]._replace(before=bodies)})


def _call(function: int, size: int) -> bytes:
    """A call of at least `size` bytes."""
    call = _CALL + leb128(function, least=min(size - len(_CALL), _MAX_INDEX))
    return call.ljust(size, _NOP)
