"""Open responses: framing, bounds, and the release of the connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import nullcontext

import httpcore2
import pytest

from wagi_gateway.outbound.errors import RequestFailed
from wagi_gateway.outbound.response import OpenResponse
from wagi_gateway.outbound.stream import Stream

MAX_SIZE = 100_000


class Body:
    """A body in pieces that records its close."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    def close(self) -> None:
        self.is_closed = True


def opened(body: Body, *headers: tuple[bytes, bytes], status: int = 200, is_head: bool = False) -> OpenResponse:
    """A response with a body of at most MAX_SIZE bytes, before `prepare`."""
    response = httpcore2.Response(status, headers=[*headers], content=body)
    return OpenResponse(response, MAX_SIZE, is_head=is_head)


def length(size: int) -> tuple[bytes, bytes]:
    """The field Content-Length."""
    return b"Content-Length", b"%d" % size


def read(response: OpenResponse, size: int) -> list[bytes]:
    """Reads the pieces of the body to the end."""
    pieces = []
    while piece := bytes(response.read(size)):
        pieces.append(piece)
    return pieces


def test_header_names_are_in_lower_case_and_the_first_counts() -> None:
    response = opened(Body(), (b"X-Own", b"1"), (b"x-own", b"2"))
    assert response.headers == [(b"x-own", b"1"), (b"x-own", b"2")]
    assert response.value(b"x-own") == b"1"
    assert response.value(b"other") is None


@pytest.mark.parametrize(
    ("headers", "ends"), [((length(6),), True), ((), False), ((length(70_000),), False)], ids=["small", "none", "large"]
)
def test_a_small_body_is_read_with_its_head(headers: tuple[tuple[bytes, bytes], ...], ends: bool) -> None:
    body = Body(b"abc", b"def")
    response = opened(body, *headers)
    response.prepare()
    assert (response.has_ended, body.is_closed, response.received) == (ends, ends, 6 if ends else 0)
    assert b"".join(read(response, 100)) == b"abcdef"


@pytest.mark.parametrize(
    ("status", "is_head"), [(200, True), (204, False), (304, False)], ids=["head", "no-content", "not-modified"]
)
def test_a_response_without_a_body_frees_its_connection(status: int, is_head: bool) -> None:
    body = Body()
    response = opened(body, length(5), status=status, is_head=is_head)
    response.prepare()
    assert body.is_closed
    assert read(response, 100) == []


@pytest.mark.parametrize(("size", "pieces"), [(2, [b"ab", b"c", b"de"]), (100, [b"abc", b"de"])], ids=["two", "many"])
def test_a_read_has_at_most_as_many_bytes(size: int, pieces: list[bytes]) -> None:
    response = opened(Body(b"abc", b"", b"de"))
    response.prepare()
    assert read(response, size) == pieces
    assert response.has_ended


def test_the_last_byte_of_a_known_length_frees_the_connection() -> None:
    body = Body(b"x" * 70_000, b"y")
    response = opened(body, length(70_001))
    response.prepare()
    assert len(response.read(100_000)) == 70_000
    assert not body.is_closed
    assert bytes(response.read(1)) == b"y"
    assert body.is_closed


def test_a_length_over_the_bound_is_refused_before_it_is_read() -> None:
    with pytest.raises(RequestFailed, match=r"has 100001 bytes, limits\.http_response are 100000") as raised:
        opened(Body(), length(MAX_SIZE + 1)).prepare()
    assert raised.value.limit == "http_response"


@pytest.mark.parametrize("headers", [(), ((b"content-length", b"x"),)], ids=["none", "malformed"])
def test_a_body_over_the_bound_ends_with_an_error(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    response = opened(Body(b"x" * MAX_SIZE, b"y"), *headers)
    response.prepare()
    assert len(response.read(MAX_SIZE)) == MAX_SIZE
    with pytest.raises(RequestFailed, match=r"more than limits\.http_response \(100000 bytes\)"):
        response.read(1)


def test_a_closed_response_has_nothing_to_read() -> None:
    body = Body(b"abc")
    response = opened(body)
    response.prepare()
    response.close()
    assert body.is_closed
    assert read(response, 10) == []


@pytest.mark.parametrize(
    ("value", "location"),
    [
        (b"/a", "/a"),
        (b"", ""),
        (b"/caf\xe9", "/caf%E9"),
        (b"/caf\xc3\xa9", "/caf%C3%A9"),
        (b"/%E9%2f%zz%", "/%E9%2f%zz%"),
        (b"?q=\xff#\x80", "?q=%FF#%80"),
        (b"http://b\xc3\xbccher.test/", "http://b%C3%BCcher.test/"),
        (b"/a b\t\"<>\\^`{|}~!$&'()*+,;=:@[]", "/a b\t\"<>\\^`{|}~!$&'()*+,;=:@[]"),
    ],
)
def test_a_location_is_percent_encoded(value: bytes, location: str) -> None:
    for status in (301, 302, 303, 307, 308):
        assert opened(Body(), (b"Location", value), status=status).location() == location


@pytest.mark.parametrize("status", [200, 201, 300, 304, 305, 306, 399])
def test_other_statuses_have_no_location(status: int) -> None:
    assert opened(Body(), (b"location", b"/a"), (b"location", b"/b"), status=status).location() is None


def test_several_locations() -> None:
    assert opened(Body(), (b"location", b"/a"), (b"Location", b"/a"), status=302).location() == "/a"
    assert opened(Body(), status=302).location() is None
    with pytest.raises(RequestFailed, match="several Location fields"):
        opened(Body(), (b"location", b"/a"), (b"location", b"/b"), status=302).location()


@pytest.mark.parametrize(("count", "is_refused"), [(256, False), (257, True)])
def test_the_number_of_header_fields_is_bounded(count: int, is_refused: bool) -> None:
    response = opened(Body(), *[(b"a", b"b")] * count)
    with pytest.raises(RequestFailed, match="257 header fields") if is_refused else nullcontext():
        response.check_head(count * 6)


def test_the_size_of_a_header_section_is_bounded() -> None:
    response = opened(Body(), (b"a", b"b"))
    response.check_head(6)
    with pytest.raises(RequestFailed, match=r"limits\.http_headers") as raised:
        response.check_head(5)
    assert raised.value.limit == "http_headers"


def test_transfer_encoding_overrides_content_length() -> None:
    """RFC 9112 section 6.3; the connection is not used again."""
    one, other = socket.socketpair()
    with one, other:
        stream = Stream(one)
        fields = [length(3), (b"Transfer-Encoding", b"chunked")]
        body = Body(b"abc", b"def")
        raw = httpcore2.Response(200, headers=fields, content=body, extensions={"network_stream": stream})
        response = OpenResponse(raw, MAX_SIZE, is_head=False)
        response.prepare()
        assert read(response, 100) == [b"abc", b"def"]
        assert response.headers == [(b"transfer-encoding", b"chunked")]
        assert not stream.is_reusable
