"""Request lines that are one of HTTP/1.1 or HTTP/1.0, and others."""

from __future__ import annotations

import pytest

from wagi_gateway.server.request_line import RequestLine

LINES = {
    b"GET / HTTP/1.1": False,
    b"GET / HTTP/1.0": False,
    b"M-SEARCH * HTTP/1.1": False,
    b"OPTIONS /x RTSP/1.0": True,
    b"GET /x RTSP/1.0": True,
    b"SOURCE /x ICE/1.0": True,
    b"GET /x ICY/1.1": True,
    b"GET /x HTTP/3.0": True,
    b"GET /x HTTP/2.0": True,
    b"GET /x HTTP/0.9": True,
    b"GET /x HTTP/1.2": True,
    b"GET /x HTTP/1.10": True,
    b"GET /x HTTP/11": True,
    b"GET /x http/1.1": True,
    b"GET /x xHTTP/1.1": True,
    b"GET /x": True,
    b"GET": True,
    b"GET /x HTTP/1.1 ": True,
    b"GET /x HTTP/ 1.1": True,
    b"GET  /x HTTP/1.1": True,
    b"GET /x  HTTP/1.1": True,
    b"GET /x y HTTP/1.1": True,
    b" GET /x HTTP/1.1": True,
    b"GET HTTP/1.1": True,
}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("before", [b"", b"\r\n", b"\n\r\n"], ids=["", "CRLF", "LF CRLF"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_line_in_pieces(line: bytes, before: bytes, size: int) -> None:
    data = before + line + b"\r\nHost: h RTSP/1.0\r\n\r\n"
    request_line = RequestLine()
    for start in range(0, len(data), size):
        is_refused = request_line.is_refused(data[start : start + size])
        if request_line.is_complete:
            break
        assert not is_refused
    assert (is_refused, request_line.is_complete) == (LINES[line], True)


def test_a_bare_line_feed_ends_no_line_of_http() -> None:
    assert RequestLine().is_refused(b"GET / HTTP/1.1\nHost: h\n\n")


def test_the_next_message_has_a_line_of_its_own() -> None:
    line = RequestLine()
    assert not line.is_begun
    assert not line.is_refused(b"\r\n")
    assert not line.is_begun
    assert not line.is_refused(b"GET /")
    assert line.is_begun
    assert not line.is_refused(b" HTTP/1.1\r\n")
    line.reset()
    assert not line.is_begun
    assert line.is_refused(b"GET / RTSP/1.0\r\n")
