"""uvicorn's HTTP protocol with the bounds it leaves open: size and time of a request's head."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import math
import re
import sys
import termios
import time
from typing import Any

import httptools
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..cgi.environ import MAX_ENVIRON
from ..cgi.request import MAX_TARGET

logger = logging.getLogger("wagi_gateway")

MAX_HEAD = MAX_TARGET + MAX_ENVIRON
"""Bytes of a head, or of a body's trailers, that may be waiting for their end."""

_LINGER = 2.0
"""Seconds in which a client may read the answer to a head that was too large."""
_LAST_REQUEST = 0.5
"""Seconds that an idle connection stays open at the end of a worker: a request may be on its way."""
_WARN = 60.0
"""Seconds between two warnings that there are too many connections."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 32\r\nconnection: close\r\n\r\n"
    b"Request Header Fields Too Large\n"
)

_TOO_MANY = PlainTextResponse(
    "Service Unavailable: too many connections\n", 503, {"connection": "close", "retry-after": "1"}
)
_INVALID = "Invalid HTTP request received."
_FRAMING = (b"content-length", b"transfer-encoding")
_EMPTY_PATH = re.compile(rb"https?://[^/?#]*(?![^?#])", re.IGNORECASE)


class UvicornConfig(uvicorn.Config):
    """uvicorn's configuration and what it has no word for; durations in seconds."""

    def __init__(
        self,
        *arguments: Any,
        head_time: float,
        send_timeout: float,
        keep_alive_requests: int,
        max_connections: float = math.inf,
        is_secure: bool = False,
        **keywords: Any,
    ) -> None:
        keywords["http"] = BoundedProtocol
        super().__init__(*arguments, **keywords)
        self.head_time = head_time
        self.send_timeout = send_timeout
        self.keep_alive_requests = keep_alive_requests
        self.max_connections = max_connections
        self.is_secure = is_secure
        self.admitted = 0
        """Connections that have sent a request and are open."""
        self.refused = 0
        """Those that were answered with 503 because of `max_connections`."""
        self._warn_at = 0.0

    async def refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application of a connection that is one too many; the answer closes it."""
        self.refused += 1
        if time.monotonic() >= self._warn_at:
            self._warn_at = time.monotonic() + _WARN
            what = "server.max_connections = %s: new connections get 503; raise it, or find out who holds the others"
            logger.warning(what, self.max_connections)
        await _TOO_MANY(scope, receive, send)


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose next head, or trailers, grow beyond MAX_HEAD or take longer than `head_time`.

    The parser itself keeps whatever an unfinished field sends, for as long as it is sent.

    A pipelined request closes the connection after the answer that is under way, as a server may (RFC 9112 section
    9.3.2): uvicorn would stop reading until then, and so not see that the client of a long request has gone.
    """

    def __init__(self, config: UvicornConfig, *arguments: Any, **keywords: Any) -> None:
        super().__init__(config, *arguments, **keywords)
        self._head_time = config.head_time
        self._requests_left = config.keep_alive_requests
        self._settings = config
        self._is_admitted = False
        self._send_timeout = config.send_timeout
        self._send_timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        """Bytes that waited for the client when this was looked at; 0 if others may have come since."""
        self._unfinished = 0
        """Bytes received since something was complete: a head, a piece of a body, a message."""
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_deaf = False
        """Whether a request came before the last one was answered; what comes now is read and thrown away."""
        self._is_ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A head is awaited."""
        super().connection_made(transport)
        self._start_head_timer()
        if self.server is None or self.server[1] is None:  # the system itself drops a TCP connection in time
            self._send_timer = self.loop.call_later(self._send_timeout, self._check_sending)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._stop_head_timer()
        if self._send_timer is not None:
            self._send_timer.cancel()
        self._settings.admitted -= self._is_admitted
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """The client has taken what was sent."""
        self._unsent = 0
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parses what has arrived, and looks at what of it has no end yet."""
        if self._is_deaf:
            return
        self._unfinished += len(data)
        self._unset_keepalive_if_required()
        self._parse(data)
        if self._unfinished > MAX_HEAD and not self.transport.is_closing():
            self.logger.warning("A request's head or trailers are larger than %d bytes.", MAX_HEAD)
            if self._in_head and self._is_idle():
                self._refuse()
            else:
                self.transport.close()
        elif self._in_head and self._unfinished and self._head_timer is None and self._is_idle():
            self._start_head_timer()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.logger.warning(_INVALID)
            self.send_400_response(_INVALID)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Reads on after the head of a request that asks for an upgrade: nobody offers one (RFC 9110 section 7.8), so
        its body follows as ever. The parser takes that for the other protocol, and for a request if it comes later."""
        framing = [b"%s: %s\r\n" % field for field in self.scope["headers"] if field[0] in _FRAMING]
        self.parser = httptools.HttpRequestParser(_AfterHead(self))
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._parse(b"POST / HTTP/1.1\r\n%s\r\n" % b"".join(framing))
        if not (self._is_deaf or self.transport.is_closing()):
            self._parse(rest)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._unfinished = 0
        self._in_head = False
        self._stop_head_timer()
        if not self._is_idle() and not self._is_all_sent():
            self._ignore_the_rest()
            return
        if not self._is_admitted:
            self._admit()
        # uvicorn cannot read a target in absolute form without a path.
        if not self.url.startswith(b"/") and (absolute := _EMPTY_PATH.match(self.url)):
            self.url = absolute[0] + b"/" + self.url[absolute.end() :]
        super().on_headers_complete()
        self.headers = []  # what is added now are trailers, and no fields of the head (RFC 9110 section 6.5.1)
        if not self.url.startswith(b"/") or b"#" in self.url:  # uvicorn leaves out the authority and the fragment
            self.scope["raw_path"] = self.url.partition(b"?")[0]
        self._requests_left -= 1
        if self._is_ending or not self._requests_left:
            self.cycle.keep_alive = False

    def _admit(self) -> None:
        """uvicorn's own bound also refuses what comes on connections that were there before it was reached. Requests
        whose clients have left count as well."""
        if max(self._settings.admitted, len(self.tasks)) < self._settings.max_connections:
            self._is_admitted = True
            self._settings.admitted += 1
        else:
            self.app = self._settings.refuse

    def on_body(self, body: bytes) -> None:
        """A piece of the body is there."""
        self._unfinished = 0
        if not self._is_deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The next thing is another head."""
        if self.parser.should_upgrade():  # the end of the head, and of nothing else
            return
        self._unfinished = 0
        self._in_head = True
        if not self._is_deaf:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """What is left of a body that was refused is thrown away, for a while, so that the client reads the answer."""
        super().on_response_complete()
        if not self._in_head or self._unfinished:
            self._start_head_timer()
        if self._is_ending:
            self._close_soon()

    def shutdown(self) -> None:
        """Ends the connection with an answer that says so: a client that is not told may just be sending a request.

        uvicorn closes an idle connection at once, and what is on its way then is lost.
        """
        self._is_ending = True
        if self._is_idle():
            self._close_soon()
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed is answered; but not in the middle of the answer to the request before it."""
        is_in_body = not self._is_idle() and self.cycle.more_body and not self.cycle.response_started
        if self._is_idle() or is_in_body:
            super().send_400_response(msg)
        else:
            self._ignore_the_rest()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _is_all_sent(self) -> bool:
        """Whether the client has its whole answer, although the request's end is still awaited: uvicorn lets the next
        request wait for that."""
        return (
            self.cycle.response_started
            and self.cycle.chunked_encoding is False
            and not self.cycle.expected_content_length
        )

    def _ignore_the_rest(self) -> None:
        """Closes the connection after the answer that is under way; until then what comes is thrown away."""
        self._is_deaf = True
        self.cycle.keep_alive = False

    def _refuse(self) -> None:
        """Answers a head that is too large. Closing at once would reset the connection, and the answer be lost."""
        self._is_deaf = True
        self.transport.write(_TOO_LARGE)
        if self.transport.can_write_eof():  # not in TLS
            self.transport.write_eof()
        self.loop.call_later(_LINGER, self.transport.close)

    def _close_soon(self) -> None:
        def close() -> None:
            if self._is_idle():
                self.transport.close()

        self.loop.call_later(_LAST_REQUEST, close)

    def _check_sending(self) -> None:
        """Drops a connection whose client has taken nothing since the last look; nothing is written in between while
        the application waits for the client, or has answered."""
        waiting = self.transport.get_write_buffer_size()
        if waiting:
            waiting += _unread(self.transport)
        if waiting and waiting == self._unsent:
            self.transport.abort()
            return
        self._unsent = waiting if self.flow.write_paused or self._is_idle() else 0
        self._send_timer = self.loop.call_later(self._send_timeout, self._check_sending)

    def _start_head_timer(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(self._head_time, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _AfterHead:
    """Hands on everything that a parser finds but for the first head, which is known."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self._is_past = False
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if self._is_past:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_past:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_past:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_past:
            self._protocol.on_headers_complete()
        self._is_past = True


def _unread(transport: asyncio.Transport) -> int:
    """Bytes that the system holds for the peer of a UNIX socket."""
    count = bytearray(4)
    with contextlib.suppress(OSError, AttributeError, ValueError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)
