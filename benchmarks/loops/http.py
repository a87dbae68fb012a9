"""Requests to the HTTP protocol in this process: all that a server does for them but the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from uvicorn.server import ServerState

from wagi_gateway.app import Application, create_app
from wagi_gateway.config.settings import ServerConfig
from wagi_gateway.server.protocol import BoundedProtocol
from wagi_gateway.server.uvicorn_config import worker_config

from .request import REQUEST, load_hello

_HEAD = b"\r\n".join(
    [b"GET %s HTTP/1.1" % REQUEST.raw_path, *(b"%s: %s" % field for field in REQUEST.headers), b"\r\n"]
)


class HttpLoop:
    """A loop of requests on one connection, each in a turn of the event loop of its own, which a guest answers."""

    def __init__(self, guest: Path) -> None:
        """Called on the running loop."""
        self._app: Application = create_app(load_hello(guest))
        config = worker_config(ServerConfig())
        config.app, config.factory, config.lifespan, config.keep_alive_requests = self._app, False, "off", 10**9
        state = ServerState()
        state.default_headers = [(b"date", b"Tue, 01 Dec 2026 00:00:00 GMT"), (b"server", b"wagi-gateway/0.1.0")]
        self._connection = _Connection()
        self._protocol = BoundedProtocol(config, state, {})

    def serving(self) -> AbstractAsyncContextManager[object]:
        """The time in which `run` may be called."""
        return self._app.router.lifespan_context(self._app)

    async def run(self, count: int) -> None:
        """Sends so many requests, each once the one before is answered."""
        if self._connection.answered is None:
            self._protocol.connection_made(self._connection)
        loop = asyncio.get_running_loop()
        for _ in range(count):
            self._connection.answered = loop.create_future()
            self._protocol.data_received(_HEAD)
            await self._connection.answered


class _Connection(asyncio.Transport):
    """A transport that expects each response in one write."""

    def __init__(self) -> None:
        super().__init__()
        self.answered: asyncio.Future[None] | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": REQUEST.client, "sockname": REQUEST.server}.get(name, default)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        head = next(iter(list_of_data))
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        assert self.answered
        self.answered.set_result(None)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass
