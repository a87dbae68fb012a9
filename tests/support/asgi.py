"""An ASGI client in the application's process, which calls the application as a server does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Scope

TIMEOUT = 20.0
"""The timeout of a request in seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    at_once: bool
    """Whether the request was answered in one step of the event loop."""
    is_whole: bool


def scope(path: str, *, method: str = "GET", query: str = "", version: str = "1.1", length: int = 0) -> Scope:
    """A request as a server passes it to the application; `length` is the Content-Length."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "http_version": version,
        "scheme": "http",
        "headers": [(b"host", b"localhost"), *([(b"content-length", b"%d" % length)] if length else [])],
        "client": ("127.0.0.1", 9),
        "server": ("127.0.0.1", 80),
    }


class Client:
    """Sends requests to an ASGI application, and records whether one step of the event loop completed the response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def ask(
        self,
        target: str,
        *,
        method: str = "GET",
        body: bytes = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
        version: str = "1.1",
        leaves: bool = False,
    ) -> Answer:
        """The response to a request; a client that `leaves` has disconnected when the application next receives."""
        path, _, query = target.partition("?")
        given = scope(path, method=method, query=query, version=version, length=len(body))
        given["headers"] += headers
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}] if body else []
        sent: list[Message] = []

        async def receive() -> Message:
            if waiting:
                return waiting.pop()
            if not leaves:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        task = asyncio.ensure_future(self.app(given, receive, send))
        await asyncio.sleep(0)
        at_once = task.done()
        await asyncio.wait_for(task, TIMEOUT)
        start, *rest = sent or [{"status": 0, "headers": ()}]
        return Answer(
            start["status"],
            dict(start["headers"]),
            b"".join(message["body"] for message in rest),
            at_once,
            bool(rest) and not rest[-1]["more_body"],
        )

    async def ask_until_inline(self, target: str, **given: str) -> Answer:
        """Repeats a request until one step of the event loop completes the response; returns that response."""
        while not (answer := await self.ask(target, **given)).at_once:  # type: ignore[arg-type]
            pass
        return answer
