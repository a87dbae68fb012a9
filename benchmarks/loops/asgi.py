"""Requests to an application in this process, as an ASGI server would call it.

    python -P benchmarks/loops/asgi.py modules.toml COUNT

prints the microseconds of processor time of one of COUNT requests. It is run by its path with the Python of a checkout,
whose package answers: this file imports nothing of this project but `create_app`, and that by its own name.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.types import Message, Scope

HEADERS = (
    (b"host", b"localhost:3000"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br"),
)
"""The header fields of a browser."""
PATH = "/hello"
_WARM_UP = 200


class AsgiLoop:
    """A loop of calls of an application."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
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
        "http_version": "1.1",
        "server": ("127.0.0.1", 3000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "root_path": "",
        "headers": list(HEADERS),
        "method": "GET",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
    }


async def measure(app: Starlette, count: int) -> float:
    """Microseconds of processor time for a request."""
    loop = AsgiLoop(app)
    async with loop.serving():
        await loop.run(_WARM_UP)
        begin = time.process_time()
        await loop.run(count)
        return (time.process_time() - begin) / count * 1e6


def main() -> None:
    """Prints the cost of a request."""
    import uvloop

    from wagi_gateway.app import create_app

    print(uvloop.run(measure(create_app(sys.argv[1]), int(sys.argv[2]))))


if __name__ == "__main__":
    main()
