"""uvicorn's HTTP protocol with the bounds it leaves open: size and time of a request's head."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .cgi.environ import MAX_ENVIRON, MAX_TARGET

MAX_HEAD = MAX_TARGET + MAX_ENVIRON
"""Bytes of a head, or of a body's trailers, that may be waiting for their end."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 32\r\nconnection: close\r\n\r\n"
    b"Request Header Fields Too Large\n"
)


class Config(uvicorn.Config):
    """uvicorn's configuration and the one thing it has no word for."""

    def __init__(self, *arguments: Any, head_time: float, **keywords: Any) -> None:
        keywords["http"] = BoundedProtocol
        super().__init__(*arguments, **keywords)
        self.head_time = head_time


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose next head, or trailers, grow beyond MAX_HEAD or take longer than `head_time`.

    The parser itself keeps whatever an unfinished field sends, for as long as it is sent.
    """

    def __init__(self, config: Config, *arguments: Any, **keywords: Any) -> None:
        super().__init__(config, *arguments, **keywords)
        self._head_time = config.head_time
        self._unfinished = 0
        """Bytes received since something was complete: a head, a piece of a body, a message."""
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A head is awaited."""
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what has arrived, and looks at what of it has no end yet."""
        self._unfinished += len(data)
        super().data_received(data)
        if self._unfinished > MAX_HEAD and not self.transport.is_closing():
            self.logger.warning("A request's head or trailers are larger than %d bytes.", MAX_HEAD)
            if self._in_head and (self.cycle is None or self.cycle.response_complete):
                self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._in_head and self._unfinished and self._head_timer is None:
            self._start_head_timer()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._unfinished = 0
        self._in_head = False
        self._stop_head_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body is there."""
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The next thing is another head."""
        self._unfinished = 0
        self._in_head = True
        super().on_message_complete()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._head_time, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
