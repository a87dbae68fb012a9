"""The guard of the inspector: names, sites, token, and fields of every response."""

from __future__ import annotations

import asyncio
import time

import pytest
from starlette.types import Message, Receive, Scope, Send

from wagi_gateway.dev.guard import InspectorGuard

GOOD = {"host": "127.0.0.1:3001", "x-inspector-token": "secret"}


async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def ask(path: str, headers: dict[str, str], method: str = "GET") -> tuple[int, dict[bytes, bytes]]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": fields}
    guard = InspectorGuard(inner, hosts=["127.0.0.1:3001", "localhost:3001"], token="secret")
    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("path", "change", "status"),
    [
        pytest.param("/api/x", {}, 200, id="token"),
        pytest.param("/api/x", {"host": "localhost:3001"}, 200, id="localhost"),
        pytest.param(
            "/api/x", {"origin": "http://127.0.0.1:3001", "sec-fetch-site": "same-origin"}, 200, id="own-page"
        ),
        pytest.param("/", {"x-inspector-token": ""}, 200, id="page-needs-no-token"),
        pytest.param(
            "/", {"sec-fetch-site": "same-site", "sec-fetch-dest": "document"}, 200, id="link-of-an-error-page"
        ),
        pytest.param("/api/x", {"x-inspector-token": "secres"}, 403, id="another-token"),
        pytest.param("/api/x", {"x-inspector-token": ""}, 403, id="no-token"),
        pytest.param("/api/x", {"x-inspector-token": "sécret"}, 403, id="no-ascii"),
        pytest.param("/", {"host": "evil.example"}, 403, id="rebinding"),
        pytest.param("/", {"host": "127.0.0.1"}, 403, id="no-port"),
        pytest.param("/", {"host": "127.0.0.1:3000"}, 403, id="another-port"),
        pytest.param("/api/x", {"origin": "http://127.0.0.1:3000"}, 403, id="a-guest's-page"),
        pytest.param("/api/x", {"origin": "null"}, 403, id="sandboxed-frame"),
        pytest.param("/api/x", {"sec-fetch-site": "cross-site"}, 403, id="cross-site"),
        pytest.param(
            "/app.js", {"sec-fetch-site": "same-site", "sec-fetch-dest": "script"}, 403, id="same-site-script"
        ),
        pytest.param(
            "/api/x", {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}, 403, id="navigation-to-the-api"
        ),
    ],
)
def test_an_answer(path: str, change: dict[str, str], status: int) -> None:
    found, headers = ask(path, {**GOOD, **change})
    assert found == status
    assert b"default-src 'self'; img-src 'self' data:;" in headers[b"content-security-policy"]
    assert headers[b"x-frame-options"] == b"DENY"
    assert b"access-control-allow-origin" not in headers


def redeem(guard: InspectorGuard, code: str, **headers: str) -> tuple[int, bytes]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    fields = {"host": "127.0.0.1:3001", "x-inspector-code": code, **headers}
    encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
    scope = {"type": "http", "method": "GET", "path": "/api/token", "headers": encoded}
    asyncio.run(guard(scope, lambda: asyncio.sleep(0, {}), send))
    return sent[0]["status"], sent[1]["body"]


def test_a_code_gives_the_token_once(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = InspectorGuard(inner, hosts=["127.0.0.1:3001"], token="secret")
    assert redeem(guard, "")[0] == 403
    code = guard.code()
    assert redeem(guard, code, origin="http://evil.example")[0] == 403
    assert redeem(guard, code, host="evil.example")[0] == 403
    assert redeem(guard, code) == (200, b"secret")
    assert redeem(guard, code)[0] == 403
    code = guard.code()
    assert redeem(guard, f"{code}x")[0] == 403
    assert redeem(guard, code)[0] == 403  # one attempt for each code
    code = guard.code()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert redeem(guard, code)[0] == 403


def test_a_socket_that_is_no_request_gets_nothing() -> None:
    async def forbidden(*_: object) -> Message:
        raise AssertionError

    guard = InspectorGuard(inner, hosts=[], token="x")
    asyncio.run(guard({"type": "websocket"}, forbidden, forbidden))  # type: ignore[arg-type]
