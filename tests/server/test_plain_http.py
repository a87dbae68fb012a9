"""HTTP requests without TLS on a socket that speaks TLS."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from wagi_gateway.server.plain_http import is_plain_http, refuse


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", True),
        (b"p", True),
        (b"\x16\x03\x01", False),
        (b"\x80\x2e", False),
        (b" GET /", False),
        (b"\xe9", False),
        (b"", False),
    ],
    ids=repr,
)
def test_the_first_byte_decides_and_stays(data: bytes, expected: bool) -> None:
    async def run() -> tuple[bool, bytes]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.sendall(data)
            theirs.shutdown(socket.SHUT_WR)
            return await is_plain_http(ours), ours.recv(100)

    assert asyncio.run(run()) == (expected, data)


def test_the_answer_is_nginx_s_sentence(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> bytes:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 50_000)
            theirs.shutdown(socket.SHUT_WR)
            await refuse(ours)
            return theirs.recv(1000)

    with caplog.at_level(logging.WARNING):
        head, _, body = asyncio.run(run()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert body == b"The plain HTTP request was sent to HTTPS port\n"
    assert "Invalid HTTP request received." in caplog.text


def test_a_client_that_has_gone_is_no_error() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        theirs.close()
        with ours:
            ours.setblocking(False)
            await refuse(ours)

    asyncio.run(run())
