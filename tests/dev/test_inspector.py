"""The inspector's API, in this process."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import guests
from tests.support.config import guest
from tests.support.development import Recorded, recorded
from tests.support.recordings import recording
from wagi_gateway.dev.export import ServedConfiguration
from wagi_gateway.dev.inspector import Inspector, _edited
from wagi_gateway.dev.modules import Modules

HOST = "127.0.0.1:3001"
Api = Callable[..., Awaitable[httpx.Response]]


def use(directory: Path, test: Callable[[Api, Recorded], Awaitable[None]]) -> None:
    """Runs `test` with the API of a gateway that has answered /hello once."""

    async def main() -> None:
        async with recorded(directory, guest("/hello", "hello"), hello=guests.HELLO) as one:
            await one.client.ask("/hello?a=1")
            rebuilt: list[int] = []

            async def rebuild() -> None:
                rebuilt.append(1)

            inspector = Inspector(
                one.gateway,
                Modules(directory, one.gateway.builds),
                config=ServedConfiguration(directory / "modules.toml"),
                address=("127.0.0.1", 1),
                origin="http://127.0.0.1:3000",
                rebuild=rebuild,
            )
            transport = httpx.ASGITransport(inspector.app([HOST], "t"))
            headers = {"x-inspector-token": "t"}
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}", headers=headers) as client:
                await test(client.request, one)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/", 200, "<!doctype html>"),
        ("/app.js", 200, "import"),
        ("/style.css", 200, "color-scheme"),
        ("/icon.svg", 200, "<svg"),
        ("/__init__.py", 404, ""),
        ("/api/invocations", 200, '"/hello"'),
        ("/api/invocations/1", 200, "QUERY_STRING"),
        ("/api/invocations/9", 404, "not kept"),
        ("/api/invocations/" + "9" * 5000, 404, "not kept"),
        ("/api/invocations/x", 404, "not kept"),
        ("/api/invocations/1/copy/curl", 200, "curl -sS"),
        ("/api/invocations/1/copy/run", 200, "wagi-gateway run"),
        ("/api/invocations/1/copy/test", 200, "#!/bin/sh"),
        ("/api/invocations/1/copy/pytest", 200, "def test_get_hello_a_1("),
        ("/api/invocations/1/copy/else", 404, ""),
        ("/api/har", 200, '"1.2"'),
        ("/api/har?numbers=7", 200, '"entries": []'),
        ("/api/modules", 200, "hello.wat"),
    ],
)
def test_a_path(tmp_path: Path, path: str, status: int, words: str) -> None:
    async def test(api: Api, _one: Recorded) -> None:
        response = await api("GET", path)
        assert response.status_code == status
        assert words in response.text
        assert "default-src 'self'" in response.headers["content-security-policy"]

    use(tmp_path, test)


def test_clear_and_rebuild(tmp_path: Path) -> None:
    async def test(api: Api, one: Recorded) -> None:
        assert (await api("POST", "/api/rebuild")).status_code == 204
        assert (await api("DELETE", "/api/invocations")).status_code == 204
        assert list(one.gateway.history) == []

    use(tmp_path, test)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"no json", 400, "not JSON"),
        (b"[]", 400, "not an object"),
        (bytes(3 * 1024 * 1024), 413, "larger"),
        (b'{"body": "!"}', 409, "base64"),
        ('{"body": "é"}'.encode(), 409, "base64"),
        (b"[" * 100_000, 400, "not JSON"),
        (b'{"client": "fe80::1%a\\r\\nx: y"}', 409, "client"),
        (b'{"headers": {"a": 1}}', 409, "pairs"),
        (b'{"method": "A B"}', 409, "method"),
        (b"{}", 409, "could not be sent"),
        (b'{"rebuild": true}', 409, "could not be sent"),
        (b'{"target": "/y", "headers": [["a", "b"]], "client": "192.0.2.1"}', 409, "could not be sent"),
    ],
)
def test_a_resend_that_fails_says_why(tmp_path: Path, content: bytes, status: int, words: str) -> None:
    async def test(api: Api, _one: Recorded) -> None:
        response = await api("POST", "/api/invocations/1/resend", content=content)
        assert (response.status_code, words in response.text) == (status, True), response.text

    use(tmp_path, test)


def test_a_copy_of_what_was_not_kept(tmp_path: Path) -> None:
    async def test(api: Api, one: Recorded) -> None:
        one.last.body.feed(bytes(2 * 1024 * 1024))
        response = await api("GET", "/api/invocations/1/copy/curl")
        assert response.status_code == 409

    use(tmp_path, test)


def test_streams_are_bounded(tmp_path: Path) -> None:
    async def test(api: Api, one: Recorded) -> None:
        for _ in range(16):
            one.gateway.history._subscribers.add(asyncio.Queue())
        assert (await api("GET", "/api/events")).status_code == 503

    use(tmp_path, test)


def test_a_document_of_an_invocation(tmp_path: Path) -> None:
    async def test(api: Api, _one: Recorded) -> None:
        found: dict[str, Any] = (await api("GET", "/api/invocations/1")).json()
        assert base64.b64decode(found["stdout"]["base64"]).endswith(b"hello world\n")
        assert found["argv"]["items"] == ["/hello", "a=1"]
        assert [line["fate"] for line in found["parsed"]["lines"]] == ["kept"]

    use(tmp_path, test)


def test_a_page_that_leaves_leaves_no_task(tmp_path: Path) -> None:
    async def test(_api: Api, one: Recorded) -> None:
        inspector = Inspector.__new__(Inspector)
        inspector._history, inspector.is_closing = one.gateway.history, asyncio.Event()
        before = asyncio.all_tasks()
        stream = inspector._stream()
        assert "hello" in await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
        assert one.gateway.history.subscribers == 0

    use(tmp_path, test)


def test_edited_text_is_sent_as_utf_8() -> None:
    edited = _edited(recording(), {"target": "/é?x=\ud800", "headers": [["x-own", "€"]]})
    assert edited.head().startswith("GET /é?x=? HTTP/1.1\r\nhost: localhost\r\nx-own: €\r\n".encode())
