"""The field lines of a header block: what is wrong with one, and at which byte."""

from __future__ import annotations

import pytest

from wagi_gateway.cgi.environ import MAX_FIELDS
from wagi_gateway.cgi.field_lines import Malformed, first_malformed, offset_of_last, parse_field_line, quote

CT = b"Content-Type: text/plain\n"


@pytest.mark.parametrize(
    ("line", "field"),
    [(b"X-A:b", (b"x-a", b"b")), (b"a: \tb c\t \r", (b"a", b"b c")), (b"a:", (b"a", b""))],
    ids=["short", "blanks and CR", "no value"],
)
def test_a_field_line(line: bytes, field: tuple[bytes, bytes]) -> None:
    assert parse_field_line(line) == field


@pytest.mark.parametrize(
    ("line", "offset"),
    [(b"abc", 0), (b"a b: c", 1), (b": c", 0), (b" a: c", 0), (b"ab: c\x01d", 5), (b"a: \x00", 3)],
)
def test_the_byte_that_is_wrong(line: bytes, offset: int) -> None:
    with pytest.raises(Malformed) as malformed:
        parse_field_line(line)
    assert malformed.value.offset == offset


@pytest.mark.parametrize(
    ("block", "reason", "offset"),
    [
        (b"Hello, world\nthis is my page\n", 'the first line has no colon: "Hello, world"', 0),
        (b"<html>\n", 'the first line has no colon: "<html>"', 0),
        (b"h\xc3\xa9\xff\x1b", 'the first line has no colon: "hé�\\u001b"', 0),
        (b"x" * 99, f'the first line has no colon: "{"x" * 80}"', 0),
        (
            b'<a href="http://h/">',
            'the first line begins with "<a href=\\"http", which is not a field name',
            0,
        ),
        (CT + b"<p>\n", 'line 2 has no colon: "<p>"; the header block ends with an empty line', len(CT)),
        (CT + b"a\xff: b", 'line 2 begins with "a�", which is not a field name', len(CT) + 1),
        (CT + b"a: \x07", 'line 2 has a control character in the value of "a"', len(CT) + 3),
        (
            b"HTTP/1.1 200 OK\r\n",
            "the first line is a status line: NPH output is not supported, print a Status field",
            0,
        ),
    ],
    ids="text|HTML|any bytes|long|HTML with a colon|no empty line|name|value|status line".split("|"),
)
def test_the_first_malformed_line(block: bytes, reason: str, offset: int) -> None:
    error = first_malformed(block)
    assert error
    assert (str(error), error.offset) == (reason, offset)


@pytest.mark.parametrize("block", [b"", CT, CT[:-1], CT + b"\r", b"a: b\n" * MAX_FIELDS + b"bad"])
def test_no_line_is_malformed(block: bytes) -> None:
    assert first_malformed(block) is None


def test_the_offset_of_a_field() -> None:
    block = b"Status: 200\nX: status:\nSTATUS: 404\n"
    assert (offset_of_last(block, b"status"), offset_of_last(block, b"location")) == (23, 0)


def test_a_quotation_is_short_and_one_line() -> None:
    assert quote(b'"\n' + b"x" * 99) == '"\\"\\n' + "x" * 78 + '"'
