"""Requests to the gateway in this process, as an ASGI server would call it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from starlette.types import Message, Scope

from wagi_gateway.app import Application, create_app

from .request import REQUEST, load_hello


class AsgiLoop:
    """A loop of calls of the application for REQUEST, which a guest answers."""

    def __init__(self, guest: Path) -> None:
        """Without access log."""
        logging.getLogger("wagi_gateway.access").disabled = True
        self._app: Application = create_app(load_hello(guest))
        self._status = 0
        self._is_received = False

    def serving(self) -> AbstractAsyncContextManager[object]:
        """The time in which `run` may be called."""
        return self._app.router.lifespan_context(self._app)

    async def run(self, count: int) -> None:
        """Calls the application so many times."""
        for _ in range(count):
            self._status, self._is_received = 0, False
            await self._app(_scope(), self._receive, self._send)
            assert self._status == 200

    async def _send(self, message: Message) -> None:
        self._status = message.get("status", self._status)

    async def _receive(self) -> Message:
        if self._is_received:  # the client waits for the response
            await asyncio.get_running_loop().create_future()
        self._is_received = True
        return {"type": "http.request", "body": b"", "more_body": False}


def _scope() -> Scope:
    return {
        "type": "http",
        "http_version": REQUEST.http_version,
        "server": REQUEST.server,
        "client": REQUEST.client,
        "scheme": REQUEST.scheme,
        "root_path": "",
        "headers": list(REQUEST.headers),
        "method": REQUEST.method,
        "path": REQUEST.raw_path.decode(),
        "raw_path": REQUEST.raw_path,
        "query_string": REQUEST.query,
    }
