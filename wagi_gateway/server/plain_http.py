"""The answer to an HTTP request without TLS on a socket that speaks TLS, in nginx's words."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

from .addresses import canonical

logger = logging.getLogger("wagi_gateway")

_SENTENCE = "The plain HTTP request was sent to HTTPS port"
_LINGER = 2.0
"""Seconds between the answer and the close: a client that still sends would get a reset, and lose the answer."""
_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s\n"
) % (len(_SENTENCE) + 1, _SENTENCE.encode())


async def is_plain_http(connection: socket.socket) -> bool:
    """Whether a client's first byte, which stays unread, is a letter, as of an HTTP method. Raises OSError.

    A TLS record begins with 22 (RFC 8446 section 5.1).
    """
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, _set, readable)
    try:
        await readable
        return connection.recv(1, socket.MSG_PEEK).isalpha()
    finally:
        loop.remove_reader(connection)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def refuse(connection: socket.socket) -> None:
    """Answers with 400, and logs the client; the caller closes the connection."""
    with contextlib.suppress(OSError, TimeoutError):
        client = canonical(connection.getpeername()[:2]) if connection.family != socket.AF_UNIX else None
        fields = {"client": client[0] if client else "-", "reason": _SENTENCE}
        logger.warning("Invalid HTTP request received.", extra={"fields": fields})
        connection.send(_ANSWER)
        connection.shutdown(socket.SHUT_WR)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_LINGER):
            while await loop.sock_recv(connection, 65536):
                pass
