"""The bounds of BoundedProtocol, on an event loop of its own; tests/system/wire has complete requests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from wagi_gateway.server.protocol import MAX_HEAD, BoundedProtocol
from wagi_gateway.server.uvicorn_config import UvicornConfig


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(scope["method"].encode() + b" " + scope["raw_path"] + b" " + body)(scope, receive, send)


def config_of(app: ASGIApp, **settings: Any) -> UvicornConfig:
    options = {"head_time": 30.0, "send_timeout": 30.0, "keep_alive_requests": 1000} | settings
    return UvicornConfig(app, **options, lifespan="off", ws="none", log_config=None, access_log=False)


async def listening(app: ASGIApp, **settings: Any) -> asyncio.Server:
    """A server of the protocol on the running loop."""
    config, state = config_of(app, **settings), ServerState()
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0)


def exchange(*pieces: bytes, **settings: Any) -> bytes:
    """All bytes of the server until it closes the connection. A piece is sent once the previous one is answered."""

    async def run() -> bytes:
        async with await listening(echo, **settings) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            received = b""
            for number, data in enumerate(pieces):
                if number:
                    received += await reader.read(1)
                writer.write(data)
            try:
                return received + await asyncio.wait_for(reader.read(), 20)
            finally:
                writer.close()

    return asyncio.run(run())


CLOSE = b"Host: h\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(b"GET /a HTTP/1.1\r\n" + CLOSE + b"\r\n", b"GET /a ", id="origin form"),
        pytest.param(b"GET http://h HTTP/1.1\r\n" + CLOSE + b"\r\n", b"GET http://h/ ", id="absolute form, no path"),
        pytest.param(b"GET /a#b HTTP/1.1\r\n" + CLOSE + b"\r\n", b"GET /a#b ", id="fragment"),
        pytest.param(
            b"POST /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n"
            b"Content-Length: 3\r\n\r\nabc",
            b"POST /a abc",
            id="upgrade",
        ),
        pytest.param(
            b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
            b"POST /a abc",
            id="trailers",
        ),
    ],
)
def test_requests(request_: bytes, expected: bytes) -> None:
    answer = exchange(request_)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.partition(b"\r\n\r\n")[2] == expected


def test_head_and_body_of_a_response_are_one_write() -> None:
    async def run() -> list[bytes]:
        written: list[bytes] = []

        class Transport(asyncio.Transport):
            def write(self, data: bytes | bytearray | memoryview) -> None:
                written.append(bytes(data))

            def is_closing(self) -> bool:
                return False

        protocol = BoundedProtocol(config_of(echo), ServerState(), {})
        protocol.connection_made(Transport())
        protocol.data_received(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        await asyncio.gather(*protocol.tasks)
        return written

    (response,) = asyncio.run(run())
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert response.endswith(b"\r\n\r\nGET /a ")


@pytest.mark.parametrize(
    ("data", "settings", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * MAX_HEAD, {}, b"431", id="head too large"),
        pytest.param(b"nonsense\r\n\r\n", {}, b"400", id="no HTTP"),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n", {"max_connections": 0}, b"503", id="too many connections"
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost:", {"head_time": 0.01}, b"", id="head too slow"),
    ],
)
def test_refusals(data: bytes, settings: dict[str, Any], status: bytes) -> None:
    answer = exchange(data, **settings)
    assert answer[9:12] == status
    assert not answer or b"connection: close\r\n" in answer


@pytest.mark.usefixtures("propagating_loggers")
@pytest.mark.parametrize(
    ("head", "reason"),
    [
        pytest.param(b"FOO /x HTTP/1.1", "Invalid method encountered", id="method"),
        pytest.param(b"GET /caf\xc3\xa9 HTTP/1.1", "Invalid char in url path", id="raw UTF-8"),
        pytest.param(b"OPTIONS /x RTSP/1.0", "the request line is not METHOD TARGET HTTP/1.1", id="RTSP"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : h", "Invalid header token", id="field"),
    ],
)
def test_the_log_says_who_was_refused_and_why(caplog: pytest.LogCaptureFixture, head: bytes, reason: str) -> None:
    assert exchange(head + b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    (record,) = (record for record in caplog.records if record.name == "uvicorn.error")
    assert vars(record)["fields"] == {"client": "127.0.0.1", "reason": reason}


def test_a_request_that_begins_in_the_input_of_the_previous_one_is_answered() -> None:
    answer = exchange(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGE", b"T /b HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2


@pytest.mark.parametrize("line", [b"OPTIONS /b RTSP/1.0", b"SOURCE /b ICE/1.0", b"GET /b HTTP/2.0", b"GET /b HTTP/1.0"])
def test_a_request_of_another_protocol_that_begins_there_is_refused(line: bytes) -> None:
    """The parser checks its line alone, and takes all of these for HTTP."""
    answer = exchange(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n" + line[:2], line[2:] + b"\r\nHost: h\r\n\r\n")
    assert (answer.count(b"HTTP/1.1 200 OK\r\n"), answer.count(b"HTTP/1.1 400 ")) == (1, 1)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_last_request_of_a_connection_closes_it(count: int) -> None:
    """The requests are pipelined, so that the second one is always discarded."""
    answer = exchange(3 * b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", keep_alive_requests=count)
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"connection: close\r\n" in answer


KEPT = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
UNFINISHED = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"


class Client(NamedTuple):
    """A connection that stays open."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def status(self, data: bytes) -> bytes:
        """Sends the data, and reads one response."""
        self.writer.write(data)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length
        await self.reader.readexactly(int(length[1]))
        return head[9:12]


def with_clients(
    count: int, scenario: Callable[..., Awaitable[None]], app: ASGIApp = echo, *, max_connections: int
) -> None:
    """Runs a scenario with the connections of `count` clients."""

    async def run() -> None:
        async with await listening(app, max_connections=max_connections) as server:
            address = server.sockets[0].getsockname()
            clients = [Client(*await asyncio.open_connection(*address)) for _ in range(count)]
            try:
                await asyncio.wait_for(scenario(*clients), 20)
            finally:
                for client in clients:
                    client.writer.close()

    asyncio.run(run())


def test_the_connection_that_is_idle_for_longest_makes_room() -> None:
    """Otherwise as many idle connections as `max_connections` keep everybody else out for `keep_alive`."""

    async def scenario(first: Client, second: Client, third: Client) -> None:
        for client in (first, second, first, third):
            assert await client.status(KEPT) == b"200"
        assert await second.reader.read() == b""
        for client in (first, third):
            assert await client.status(KEPT) == b"200"

    with_clients(3, scenario, max_connections=2)


@pytest.mark.parametrize(
    ("begun", "rest"), [(UNFINISHED, b"x"), (KEPT[:2], KEPT[2:])], ids=["a request under way", "a request that begins"]
)
def test_a_connection_that_is_not_idle_makes_no_room(begun: bytes, rest: bytes) -> None:
    async def scenario(first: Client, second: Client) -> None:
        assert await first.status(KEPT) == b"200"
        first.writer.write(begun)
        await first.writer.drain()
        assert await second.status(KEPT) == b"503"
        assert await second.reader.read() == b""
        assert await first.status(rest) == b"200"

    with_clients(2, scenario, max_connections=1)


def test_a_client_that_has_not_read_its_response_makes_no_room() -> None:
    body = b"x" * 2**24

    async def scenario(first: Client, second: Client) -> None:
        first.writer.write(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        assert await first.reader.readexactly(12) == b"HTTP/1.1 200"
        assert await second.status(KEPT) == b"503"
        await first.reader.readuntil(b"\r\n\r\n")
        assert await first.reader.readexactly(len(body) + 8) == b"POST /a " + body

    with_clients(2, scenario, max_connections=1)


def test_a_connection_is_idle_once_its_body_has_come_too() -> None:
    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("early")(scope, receive, send)

    async def scenario(first: Client, second: Client, third: Client) -> None:
        assert await first.status(UNFINISHED) == b"200"
        assert await second.status(KEPT) == b"503"
        first.writer.write(b"x")
        await first.writer.drain()
        while await third.status(KEPT) == b"503":
            third = Client(*await asyncio.open_connection(*third.writer.get_extra_info("peername")))
        assert await first.reader.read() == b""
        third.writer.close()

    with_clients(3, scenario, early, max_connections=1)
