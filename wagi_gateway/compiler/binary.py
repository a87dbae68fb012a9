"""A reader of the WebAssembly binary format (core specification, chapter 5), without recursion and with bounded counts.

Values are those of WebAssembly 3.0. Types of proposals that wasmtime has disabled are malformed here, as in wasmtime.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"\0asm"
MODULE = MAGIC + b"\1\0\0\0"
"""Magic number and version of a core module (section 5.5.16)."""
COMPONENT = MAGIC + b"\x0d\0\1\0"
"""Magic number, version and layer of a component (Binary.md of the component model)."""

TYPE, FUNCTION, CODE = 1, 3, 10
"""The ids of sections."""

# wasmtime's limits (wasmparser, limits.rs); a module beyond them is malformed there, too.
MAX_ITEMS = 1_000_000
"""Types, imports, functions, globals, exports or tags."""
_MAX_NAME = 100_000
_MAX_VALUES = 1000
_MAX_FIELDS = 10_000


class Malformed(Exception):
    """The bytes are no module that this reader knows; wasmtime's message says more."""


class SizeLimits(NamedTuple):
    """The limits of a memory or table."""

    minimum: int
    maximum: int | None
    is_shared: bool
    is_64: bool
    """Whether addresses are `i64`."""


_NUMBERS = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}
_HEAP_TYPES = {
    0x75: "nocont",
    0x74: "noexn",
    0x73: "nofunc",
    0x72: "noextern",
    0x71: "none",
    0x70: "func",
    0x6F: "extern",
    0x6E: "any",
    0x6D: "eq",
    0x6C: "i31",
    0x6B: "struct",
    0x6A: "array",
    0x69: "exn",
    0x68: "cont",
}
_REF, _REF_NULL = 0x64, 0x63

LEB128 = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
"""A number of any size (section 5.2.2), as a regular expression."""
VALUE_TYPE = rb"(?:[\x68-\x75\x7b-\x7f]|[\x63\x64]" + LEB128 + rb")"
"""A value type (section 5.3.5), as a regular expression."""
_FIELD_TYPE = rb"(?:" + VALUE_TYPE + rb"|[\x77\x78])[\x00\x01]"
_EXPRESSION = re.compile(
    rb"(?:[\x41\x42\x23\xd0\xd2]%(leb)s"  # i32.const, i64.const, global.get, ref.null, ref.func
    rb"|\x43.{4}|\x44.{8}"  # f32.const, f64.const
    rb"|[\x6a-\x6c\x7c-\x7e]"  # add, sub, mul
    rb"|\xfd(?:\x0c|\x8c\x80{0,3}\x00).{16}"  # v128.const
    rb"|\xfb(?:(?:[\x00\x01\x06\x07]|[\x80\x81\x86\x87]\x80{0,3}\x00)%(leb)s"  # struct.new, array.new; _default
    rb"|(?:\x08|\x88\x80{0,3}\x00)%(leb)s%(leb)s"  # array.new_fixed
    rb"|[\x1a-\x1c]|[\x9a-\x9c]\x80{0,3}\x00)"  # any.convert_extern, extern.convert_any, ref.i31
    rb"){0,1024}+(\x0b)?" % {b"leb": LEB128},
    re.DOTALL,
)
"""Instructions of a constant expression (section 3.4.12), and its end. A match holds the GIL, so their number is
bounded."""

CUSTOM = 0
"""The id of custom sections."""
_SHORT_CUSTOM_SECTIONS = re.compile(
    rb"(?:\x00(?:%b)){0,1024}+" % b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in range(1, 128)),
    re.DOTALL,
)
"""Custom sections; one by one, ten million of them would take half a minute."""


class Reader:
    """A position in the bytes of a section. Every method raises Malformed where the bytes end or make no sense."""

    __slots__ = ("_data", "_end", "position")

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self._data = data
        self._end = end
        self.position = position

    def byte(self) -> int:
        """The next byte."""
        byte = self.peek()
        self.position += 1
        return byte

    def peek(self) -> int:
        """The next byte, which stays the next."""
        if self.position >= self._end:
            raise Malformed("the bytes end too early")
        return self._data[self.position]

    def number(self, bits: int = 32) -> int:
        """An unsigned LEB128 number."""
        number = 0
        for shift in range(0, bits, 7):
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise Malformed(f"a number is longer than {bits} bits")

    def count(self, most: int = MAX_ITEMS) -> int:
        """The length of a vector, whose elements have at least one byte each."""
        count = self.number()
        if count > min(most, self._end - self.position):
            raise Malformed(f"a vector of {count} elements is too long")
        return count

    def name(self) -> str:
        """A name in UTF-8."""
        size = self.count(_MAX_NAME)
        self.position += size
        try:
            return self._data[self.position - size : self.position].decode()
        except UnicodeDecodeError:
            raise Malformed("a name is not UTF-8") from None

    def skip(self, size: int) -> None:
        """Skips bytes."""
        if size > self._end - self.position:
            raise Malformed("the bytes end too early")
        self.position += size

    def value_type(self) -> str:
        """A value type in the text format: `i32`, `funcref`, `(ref null 3)`."""
        byte = self.byte()
        if byte in _NUMBERS:
            return _NUMBERS[byte]
        if byte in _HEAP_TYPES:
            return _reference(_HEAP_TYPES[byte], is_nullable=True)
        if byte in (_REF, _REF_NULL):
            return _reference(self._heap_type(), is_nullable=byte == _REF_NULL)
        raise Malformed(f"0x{byte:02x} is no value type")

    def _heap_type(self) -> str:
        if self.peek() in _HEAP_TYPES:
            return _HEAP_TYPES[self.byte()]
        return str(self.number(33))

    def value_types(self) -> tuple[str, ...]:
        """A vector of value types."""
        return tuple(self.value_type() for _ in range(self.count(_MAX_VALUES)))

    def skip_value_types(self) -> None:
        """Skips a vector of value types."""
        self.skip_vector(VALUE_TYPE, self.count(_MAX_VALUES))

    def skip_fields(self, *, is_array: bool) -> None:
        """Skips the field types of a structure, or the one of an array."""
        self.skip_vector(_FIELD_TYPE, 1 if is_array else self.count(_MAX_FIELDS))

    def skip_expression(self) -> None:
        """Skips a constant expression."""
        begin = -1
        while self.position != begin:
            begin = self.position
            found = self.match(_EXPRESSION)
            if found and found[1]:
                return
        raise Malformed("a constant expression cannot be read")

    def skip_custom_sections(self) -> None:
        """Skips custom sections of less than 128 bytes."""
        begin = -1
        while self.position != begin:
            begin = self.position
            self.skip_match(_SHORT_CUSTOM_SECTIONS)

    def limits(self) -> SizeLimits:
        """The limits of a memory or table."""
        flags = self.byte()
        if flags > 0x0F:
            raise Malformed(f"0x{flags:02x} are no limits")
        bits = 64 if flags & 4 else 32
        limits = SizeLimits(
            self.number(bits), self.number(bits) if flags & 1 else None, is_shared=bool(flags & 2), is_64=bits == 64
        )
        if flags & 8:
            self.number()  # the page size
        return limits

    def skip_vector(self, element: bytes, count: int) -> None:
        """Skips elements that each match a regular expression."""
        if count > self._end - self.position:
            raise Malformed(f"a vector of {count} elements is too long")
        while count:
            # A pattern for each power of two: a pattern for each count would have to be compiled.
            power = count.bit_length() - 1
            self.skip_match(_repeated(element, 1 << power))
            count -= 1 << power

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Skips what a regular expression matches here, if it does."""
        found = pattern.match(self._data, self.position, self._end)
        if found:
            self.position = found.end()
        return found

    def skip_match(self, pattern: re.Pattern[bytes]) -> None:
        """Skips what a regular expression matches here."""
        if not self.match(pattern):
            raise Malformed("types or instructions cannot be read")

    def is_at_end(self) -> bool:
        """Whether no byte is left."""
        return self.position >= self._end


def leb128(number: int, *, least: int = 1) -> bytes:
    """An unsigned number in LEB128, padded to `least` bytes."""
    octets = bytearray()
    while number > 0x7F or len(octets) + 1 < least:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*octets, number))


def _reference(heap_type: str, *, is_nullable: bool) -> str:
    if is_nullable and heap_type in ("func", "extern"):
        return f"{heap_type}ref"
    return f"(ref null {heap_type})" if is_nullable else f"(ref {heap_type})"


@functools.lru_cache(maxsize=256)
def _repeated(pattern: bytes, count: int) -> re.Pattern[bytes]:
    return re.compile(b"(?:%b){%d}+" % (pattern, count))


class Section(NamedTuple):
    """A section of a module: the positions of its id, of its content and of its end."""

    id: int
    begin: int
    content: int
    end: int


def read_section(reader: Reader) -> Section:
    """The section that begins at the reader's position, which is behind the section then. Raises Malformed."""
    begin, identifier, size = reader.position, reader.byte(), reader.number()
    content = reader.position
    reader.skip(size)
    return Section(identifier, begin, content, reader.position)


def find_sections(module: bytes) -> Iterator[Section]:
    """The sections of a module but the custom ones. Raises Malformed."""
    if not module.startswith(MODULE):
        raise Malformed("the magic number or version is not that of a module")
    whole = Reader(module, len(MODULE), len(module))
    seen = set()
    while not whole.is_at_end():
        section = read_section(whole)
        if section.id != CUSTOM:
            if section.id in seen:
                raise Malformed(f"section {section.id} appears twice")
            seen.add(section.id)
            yield section
        whole.skip_custom_sections()


def sections(module: bytes) -> Iterator[tuple[int, Reader]]:
    """The sections of a module but the custom ones, each as its id and a reader of its content. Raises Malformed."""
    for section in find_sections(module):
        yield section.id, Reader(module, section.content, section.end)


def largest_function(module: bytes) -> int:
    """The size of the largest function body, in bytes; 0 without functions. Raises Malformed."""
    largest = 0
    for section, reader in sections(module):
        if section == CODE:
            for _ in range(reader.count()):
                size = reader.number()
                reader.skip(size)
                largest = max(largest, size)
    return largest
