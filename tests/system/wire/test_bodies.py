"""docs/spec/cgi.md A3: request bodies, their framing, and standard input."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.conftest import Server, wait_until
from tests.support import guests

from ...support.env_guest import COPY, CT
from ...support.http_client import assert_no_guest, connected, exchange, message
from .bodies import AMBIGUOUS, BODIES, CHUNKS, MIB, chunked, post
from .conftest import Route

ROUTES = (
    Route("/small", options="limits = { body = 1000 }"),
    Route("/ignores", guests.says(CT + b"\nok")),
    Route("/copy", COPY),
)


SMUGGLED = message("GET /e/smuggled HTTP/1.1", "Host: h")

# A second request follows each, and must not be answered, because its start is ambiguous.


@pytest.mark.parametrize(("head", "body"), [pytest.param(head, body, id=name) for name, head, body in AMBIGUOUS])
def test_ambiguous_framing(site: Server, head: tuple[str, ...], body: bytes) -> None:
    before = site.log.count("/e/smuggled")
    with connected(site.address) as connection:
        answer = connection.ask(message(*head, body=body + SMUGGLED))
        # RFC 9112 section 6.1 allows 501 for an unknown coding
        assert answer.status == 400 or (answer.status == 501 and b"Transfer-Encoding" in message(*head))
        assert connection.ends()
    assert_no_guest(site, answer)
    assert site.log.count("/e/smuggled") == before


def test_q05_declared_over_limit(site: Server) -> None:
    with connected(site.address) as connection:
        answer = connection.ask(message("POST /small HTTP/1.1", "Host: h", "Content-Length: 1001"))
    assert answer.status == 413
    assert_no_guest(site, answer)


def test_q05_chunked_over_limit(site: Server) -> None:
    answer = exchange(site, chunked("/small", b"a" * 600, b"b" * 600))
    assert answer.status == 413
    assert_no_guest(site, answer)


@pytest.mark.parametrize("size", [999, 1000])
def test_q05_within_limit(site: Server, size: int) -> None:
    assert exchange(site, post("/small", b"a" * size)).seen.stdin == b"a" * size


def test_q06_guest_that_reads_nothing(site: Server) -> None:
    answer = exchange(site, post("/ignores", b"a" * MIB))
    assert (answer.status, answer.body) == (200, b"ok")


@pytest.mark.parametrize(("request_", "body"), [pytest.param(request, body, id=name) for name, request, body in BODIES])
def test_stdin(site: Server, request_: bytes, body: bytes) -> None:
    seen = exchange(site, request_).seen
    assert (seen.stdin, seen["CONTENT_LENGTH"]) == (body, b"%d" % len(body))
    assert not {b"HTTP_CONTENT_LENGTH", b"HTTP_TRANSFER_ENCODING", b"HTTP_X_T"} & set(seen.environ)


def test_e28_trailer_does_not_change_a_variable(site: Server) -> None:
    request = chunked("/x", b"abc").replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n", 1)
    trailers = b"X-Forwarded-For: evil\r\nHost: evil\r\nContent-Type: evil/evil\r\n\r\n"
    seen = exchange(site, request.removesuffix(b"\r\n") + trailers).seen
    assert seen["HTTP_X_FORWARDED_FOR"] == b"1.1.1.1"
    assert not [name for name, value in seen.environ.items() if b"evil" in value]


def test_q08_continue(site: Server) -> None:
    with connected(site.address) as connection:
        connection.send(message("POST /x HTTP/1.1", "Host: h", "Content-Length: 5", "Expect: 100-continue"))
        assert connection.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.send(b"12345")
        answer = connection.answer()
        assert (answer.interim, answer.seen.stdin) == ((), b"12345")
        connection.check_next(answer)


UPGRADE = ("Connection: Upgrade", "Upgrade: h2c")


@pytest.mark.parametrize("framing", [("Content-Length: 3", b"abc"), ("Transfer-Encoding: chunked", CHUNKS)])
@pytest.mark.parametrize("is_in_pieces", [False, True])
def test_a_body_after_an_upgrade_that_is_not_offered(
    site: Server, framing: tuple[str, bytes], *, is_in_pieces: bool
) -> None:
    field, body = framing
    expect = ("Expect: 100-continue",) if is_in_pieces else ()
    with connected(site.address) as connection:
        connection.send(message("POST /x HTTP/1.1", "Host: h", *UPGRADE, field, *expect))
        if is_in_pieces:
            assert connection.socket.recv(100).startswith(b"HTTP/1.1 100 ")  # so the head was read without the body
        connection.send(body)
        answer = connection.answer()
        assert answer.seen.stdin == b"abc"
        connection.check_next(answer)


def test_no_request_is_smuggled_behind_an_upgrade(site: Server) -> None:
    before = site.log.count("/e/smuggled")
    with connected(site.address) as connection:
        length = f"Content-Length: {len(SMUGGLED)}"
        connection.send(message("POST /x HTTP/1.1", "Host: h", *UPGRADE, length, "Expect: 100-continue"))
        assert connection.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.send(SMUGGLED)
        answer = connection.answer()
        assert answer.seen.stdin == SMUGGLED
        connection.check_next(answer)
    assert site.log.count("/e/smuggled") == before


def test_many_upgrades_at_once(site: Server) -> None:
    request = message("GET /x HTTP/1.1", "Host: h", *UPGRADE)
    with connected(site.address) as connection:
        assert connection.ask(request * 1000).status == 200


def test_q08_no_continue_over_limit(site: Server) -> None:
    with connected(site.address) as connection:
        head = message("POST /small HTTP/1.1", "Host: h", "Content-Length: 5000", "Expect: 100-continue")
        answer = connection.ask(head)
    assert (answer.status, answer.interim) == (413, ())
    assert_no_guest(site, answer)


def test_q10_bytes_with_a_content_encoding(site: Server) -> None:
    body = bytes(range(256)) * 64
    seen = exchange(site, post("/x", body, "Content-Encoding: gzip")).seen
    assert seen.stdin == body
    assert (seen["CONTENT_LENGTH"], seen["HTTP_CONTENT_ENCODING"]) == (b"%d" % len(body), b"gzip")


def test_q11_eight_mebibytes_there_and_back(site: Server) -> None:
    body = bytes(range(251)) * (8 * MIB // 251)
    answer = exchange(site, post("/copy", body))
    assert answer.body == body


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(message("POST /e/aborted HTTP/1.1", "Host: h", "Content-Length: 9", body=b"1234"), id="length"),
        pytest.param(chunked("/e/aborted", b"1234").removesuffix(b"0\r\n\r\n"), id="chunked"),
    ],
)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_b03_aborted_upload(site: Server, beginning: bytes, how: str) -> None:
    before = site.log.count("/e/aborted")
    with connected(site.address) as connection:
        connection.send(beginning)
        if how == "reset":
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: site.log.count("/e/aborted") > before, message=lambda: site.log[-2000:])
    line = [line for line in site.log.splitlines() if "/e/aborted" in line][-1]
    assert "status=499" in line
    assert "guest_ms=" not in line
