"""Requests that are sent again: one well-formed HTTP/1.1 request each."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.recordings import head, recording
from wagi_gateway.dev.capture import MAX_CAPTURE
from wagi_gateway.dev.recorder import Resent
from wagi_gateway.dev.resend import CannotResend, ResentRequest, resend

GOOD = {"parent": 1, "method": "GET", "target": "/", "headers": (), "body": b""}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "GET /x"}, "method"),
        ({"method": ""}, "method"),
        ({"target": "x"}, "path"),
        ({"target": "/a b"}, "path"),
        ({"target": "/a\r\nx: 1"}, "path"),
        ({"target": "/#a"}, "path"),
        ({"target": "/" + "a" * 9000}, "path"),
        ({"headers": (("a b", "1"),)}, "header"),
        ({"headers": (("a", "1\r\nb: 2"),)}, "header"),
        ({"headers": (("", "1"),)}, "header"),
        ({"headers": (("a", "€"),)}, "header"),
        ({"headers": (("a", "1"),) * 300}, "more than 200"),
        ({"body": bytes(MAX_CAPTURE + 1)}, "body"),
        ({"client": "nobody"}, "IP address"),
        ({"client": "fe80::1%a\r\nb"}, "IP address"),
    ],
)
def test_what_is_no_request_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(CannotResend, match=words):
        ResentRequest(**{**GOOD, **change})  # type: ignore[arg-type]


def test_a_recording_is_sent_as_it_was() -> None:
    fields = [(b"x-own", b"\xe9"), (b"transfer-encoding", b"chunked"), (b"connection", b"keep-alive")]
    one = ResentRequest.of(recording(head("POST", b"/x?q", fields), body=b"hi"))
    assert one.head() == (
        b"POST /x?q HTTP/1.1\r\nhost: localhost:3000\r\nx-own: \xe9\r\ncontent-length: 2\r\nconnection: close\r\n\r\n"
    )
    assert one.client == "127.0.0.1"


def test_a_request_without_host_gets_one() -> None:
    assert b"host: localhost" in ResentRequest(**GOOD).head()  # type: ignore[arg-type]


def test_a_body_that_was_not_kept_is_not_sent() -> None:
    with pytest.raises(CannotResend, match="kept"):
        ResentRequest.of(recording(body=bytes(MAX_CAPTURE + 1)))


def exchange(answer: bytes) -> tuple[int, bytes, list[tuple[tuple[str, int], Resent]]]:
    """Status, request as received, and what was expected of the connection."""
    received: list[bytes] = []
    expected: list[tuple[tuple[str, int], Resent]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        assert expected[0][0] == writer.get_extra_info("peername")
        writer.write(answer)
        writer.close()

    async def main() -> int:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            return await resend(ResentRequest(**GOOD), address, lambda *one: expected.append(one))  # type: ignore[arg-type]

    return asyncio.run(main()), received[0], expected


def test_the_connection_is_announced_before_the_request() -> None:
    status, received, expected = exchange(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert status == 204
    assert received.startswith(b"GET / HTTP/1.1\r\n")
    assert expected[0][1] == Resent(1, None)


def test_a_connection_without_a_response() -> None:
    with pytest.raises(CannotResend, match="without a response"):
        exchange(b"")


def test_no_listener() -> None:
    with pytest.raises(CannotResend, match="could not be sent"):
        asyncio.run(resend(ResentRequest(**GOOD), ("127.0.0.1", 1), lambda *_: None))  # type: ignore[arg-type]
