"""The pool: a connection with bytes left over is not used again (RFC 9112 section 9.2)."""

from __future__ import annotations

import httpcore2
import pytest

from wagi_gateway.outbound.pool import Pool

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SURPLUS = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "is_kept"),
    [
        pytest.param(OK, True, id="nothing"),
        pytest.param(CHUNKED, True, id="nothing-after-chunks"),
        pytest.param(OK + SURPLUS, False, id="response"),
        pytest.param(OK + b"\r\n", False, id="line"),
        pytest.param(OK + b"\0", False, id="byte"),
        pytest.param(CHUNKED + SURPLUS, False, id="response-after-chunks"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n" + SURPLUS, False, id="response-after-204"),
    ],
)
def test_a_connection_with_bytes_left_over_is_closed(data: bytes, is_kept: bool) -> None:
    with Pool(network_backend=httpcore2.MockBackend([data, OK])) as pool:
        for _ in range(2):
            assert pool.request("GET", "http://name.test/").content in (b"ok", b"")
            assert [connection.is_idle() for connection in pool.connections] == [True] * is_kept
