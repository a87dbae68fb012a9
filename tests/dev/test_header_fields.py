"""What becomes of each line of a header block: the gateway's parser decides, this module explains."""

from __future__ import annotations

import pytest

from wagi_gateway.cgi import response
from wagi_gateway.dev.header_fields import parse_output

OWN = sorted(response._HOP_BY_HOP | response._GATEWAY_OWN)


@pytest.mark.parametrize(
    ("line", "fate", "words"),
    [
        (b"x-own: 1", "kept", ""),
        (b"Content-Type: text/html", "kept", ""),
        (b"location: /x", "kept", ""),
        (b"Status: 404 Nope", "kept", ""),
        (b"x-empty:", "dropped", "no value"),
        (b"content-type:", "dropped", "no value"),
        (b"Status: abc", "error", "is not a code"),
        (b"Content_Type text", "error", "colon"),
        (b"transfer-encoding: chunked", "error", "Transfer-Encoding"),
        (b"x y: 1", "error", "not a field name"),
        (b"x: \x01", "error", "control"),
        (b"proxy-x: 1", "dropped", "proxy"),
        (b"x-accel-redirect: /x", "dropped", "nginx"),
        *((name + b": 1", "dropped", "gateway") for name in OWN),
    ],
)
def test_a_line(line: bytes, fate: str, words: str) -> None:
    [found] = parse_output(line + b"\n\nbody", 1000).lines
    assert found.fate == fate
    assert words in found.reason


def test_a_front_end_field_is_kept_where_it_is_allowed() -> None:
    [found] = parse_output(b"x-accel-expires: 1\n\n", 1000, front_end_headers=True).lines
    assert found.fate == "kept"


@pytest.mark.parametrize(
    ("output", "body", "error", "at"),
    [
        (b"content-type: a/b\n\nbody", 19, "", None),
        (b"content-type: a/b\r\n\r\nbody", 21, "", None),
        (b"\nbody", 1, "empty line", 0),
        (b"", None, "printed nothing", None),
        (b"content-type: a/b\nHello\n\n", 25, "colon", 18),
        (b"Hello, world\n", None, "", 0),
        (b"x: 1\n\n", 6, "Content-Type", 4),
        (b"content-type: a/b\nx y: 1\n\n", 26, "not a field name", 19),
        (b"x" * 2000, None, "longer than 1000", 1000),
    ],
)
def test_an_output(output: bytes, body: int | None, error: str, at: int | None) -> None:
    parsed = parse_output(output, 1000)
    assert (parsed.body, parsed.error_at) == (body, at)
    assert error in parsed.error
    assert bool(parsed.error) == (not output.startswith(b"content-type: a/b\n\n") and b"\r\n\r\n" not in output)


def test_the_number_of_lines_is_bounded() -> None:
    assert len(parse_output(b"a: 1\n" * 5000, 100_000).lines) == 300
