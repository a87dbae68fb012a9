"""Live reload: HTML pages get a script, which hears of every change; nothing else changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from tests.support import guests
from tests.support.config import guest
from tests.support.development import recorded
from wagi_gateway.dev.live import EVENTS, SCRIPT, LiveReload, LiveResponse

HTML = (b"content-type", b"text/html; charset=utf-8")


def sent(status: int, *headers: tuple[bytes, bytes]) -> tuple[bytes, bytes | None]:
    """The body that is sent in the place of `ab`, and its Content-Length."""
    response = LiveResponse(b"+")
    messages: list[Message] = [
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.body", "body": b"b"},
    ]
    start, *rest = map(response, messages)
    return b"".join(message["body"] for message in rest), dict(start["headers"]).get(b"content-length")


@pytest.mark.parametrize(
    ("status", "headers", "body", "length"),
    [
        pytest.param(200, [HTML], b"ab+", None, id="page"),
        pytest.param(500, [HTML, (b"content-length", b"2")], b"ab+", b"3", id="length"),
        pytest.param(206, [HTML, (b"content-length", b"2")], b"ab", b"2", id="part"),
        pytest.param(204, [HTML], b"ab", None, id="no-content"),
        pytest.param(304, [HTML, (b"content-length", b"2")], b"ab", b"2", id="not-modified"),
        pytest.param(200, [HTML, (b"content-encoding", b"gzip")], b"ab", None, id="encoded"),
        pytest.param(200, [(b"content-type", b"text/plain")], b"ab", None, id="text"),
        pytest.param(200, [], b"ab", None, id="no-type"),
    ],
)
def test_a_response(status: int, headers: list[tuple[bytes, bytes]], body: bytes, length: bytes | None) -> None:
    assert sent(status, *headers) == (body, length)


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        (SCRIPT, "GET", {}, 200),
        (SCRIPT, "GET", {"sec-fetch-site": "same-origin"}, 200),
        (SCRIPT, "GET", {"sec-fetch-site": "cross-site"}, 403),
        (EVENTS, "GET", {"sec-fetch-site": "same-site"}, 403),
        (EVENTS, "POST", {}, 403),
    ],
)
def test_an_answer(path: str, method: str, headers: dict[str, str], status: int) -> None:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(LiveReload().answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
            return await client.request(method, path, headers=headers)

    response = asyncio.run(main())
    assert response.status_code == status
    assert "access-control-allow-origin" not in response.headers


def test_streams_hear_of_changes_and_are_bounded() -> None:
    async def main() -> None:
        live = LiveReload()
        first = live.version
        streams = [live._events() for _ in range(32)]
        assert {await anext(stream) for stream in streams} == {f"data: {first}\n\n"}
        transport = httpx.ASGITransport(live.answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
            assert (await client.get(EVENTS)).status_code == 503
        waiting = asyncio.ensure_future(anext(streams[0]))
        await asyncio.sleep(0)
        live.change()
        assert await waiting == f"data: {live.version}\n\n"
        assert live.version != first
        live.is_closing.set()
        assert [line async for line in streams[1]] == [f"data: {live.version}\n\n"]
        for stream in streams:
            await stream.aclose()
        async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
            assert (await client.get(EVENTS)).status_code == 200

    asyncio.run(main())


def test_a_page_that_leaves_leaves_no_task() -> None:
    async def main() -> None:
        live = LiveReload()
        before = asyncio.all_tasks()
        for _ in range(3):
            stream = live._events()
            await anext(stream)
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before

    asyncio.run(main())


@pytest.mark.parametrize("is_live", [True, False])
def test_the_recording_has_what_the_guest_printed(tmp_path: Path, is_live: bool) -> None:
    page = b"content-type: text/html\n\n<p>x</p>"

    async def main() -> None:
        async with recorded(tmp_path, guest("/page", "page"), page=guests.says(page)) as one:
            one.gateway.is_live = is_live
            answer = await one.client.ask("/page")
            assert (SCRIPT.encode() in answer.body) == is_live
            # A busy machine streams the response, without a length.
            assert int(answer.headers.get(b"content-length", len(answer.body))) == len(answer.body)
            assert one.last.sent == len(b"<p>x</p>")
            assert (await one.client.ask("/page", method="HEAD")).body == b""
            transport = httpx.ASGITransport(one.gateway)
            async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
                assert (await client.get(SCRIPT)).status_code == 200
            assert len(list(one.gateway.history)) == 2

    asyncio.run(main())
