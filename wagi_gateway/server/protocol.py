"""uvicorn's HTTP protocol with bounds that uvicorn lacks: on the size and time of a request's head, on pipelining, on
connections and requests, and on the time a client takes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import re
import sys
import termios
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..cgi.environ import MAX_ENVIRON
from ..cgi.request import MAX_TARGET
from .addresses import canonical
from .request_line import RequestLine
from .response_writer import ResponseWriter
from .uvicorn_config import UvicornConfig

MAX_HEAD = MAX_TARGET + MAX_ENVIRON
"""Bytes of an incomplete request head, or of incomplete trailers, that are accepted."""

_LINGER = 2.0
"""Seconds between the answer to a head that is too large and the close: a client that still sends would get a reset."""
_CLOSE_DELAY = 0.5
"""Seconds that an idle connection stays open during a shutdown: a request may be on its way."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 32\r\nconnection: close\r\n\r\n"
    b"Request Header Fields Too Large\n"
)
_INVALID = "Invalid HTTP request received."
_NOT_HTTP = "the request line is not METHOD TARGET HTTP/1.1"
_FRAMING = (b"content-length", b"transfer-encoding")
_EMPTY_PATH = re.compile(rb"https?://[^/?#]*(?![^?#])", re.IGNORECASE)


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose incomplete head, or trailers, exceed MAX_HEAD bytes or take longer than `head_time`.

    The parser itself has no bound: it keeps an incomplete field of any size.

    A pipelined request closes the connection after the response under way, as RFC 9112 section 9.3.2 permits. uvicorn
    would pause reading until then, and so miss that the client of a long request has disconnected.
    """

    def __init__(self, config: UvicornConfig, *arguments: Any, **keywords: Any) -> None:
        super().__init__(config, *arguments, **keywords)
        self._settings = config
        self._head_time = config.head_time
        self._send_timeout = config.send_timeout
        self._requests_left = config.keep_alive_requests
        self._is_admitted = False
        self._discards_input = False
        """Whether input is discarded until the connection is closed."""
        self._is_shutting_down = False
        # Reading
        self._line = RequestLine()
        self._is_pipelined = False
        """Whether the message began in the input that ended the previous one; only the parser checks its line then. A
        client that has its response may send the next request while the rest of the body is read."""
        self._in_head = True
        self._unfinished = 0
        """Bytes received since the last complete head, piece of a body or message."""
        self._head_timer: asyncio.TimerHandle | None = None
        # Writing
        self._unsent = 0
        """Bytes in the write buffers at the last check; 0 if they may have been replaced by others since."""
        self._send_timer: asyncio.TimerHandle | None = None

    # Callbacks of the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the timers."""
        super().connection_made(transport)
        self.client, self.server = canonical(self.client), canonical(self.server)
        self._writer = ResponseWriter(transport, self.loop)
        self._start_head_timer()
        if self.server is None or self.server[1] is None:  # a UNIX socket; TCP_USER_TIMEOUT bounds TCP connections
            self._send_timer = self.loop.call_later(self._send_timeout, self._check_sending)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timers."""
        self._stop_head_timer()
        if self._send_timer is not None:
            self._send_timer.cancel()
        self._settings.idle.pop(self, None)
        self._settings.admitted -= self._is_admitted
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """The write buffer has drained: the client receives."""
        self._unsent = 0
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parses input, and checks the size of its incomplete rest."""
        if self._discards_input:
            return
        self._unfinished += len(data)
        self._settings.idle.pop(self, None)
        self._unset_keepalive_if_required()
        is_line = self._in_head and not (self._line.is_complete or self._is_pipelined)
        if is_line and self._line.is_refused(data):
            self._refuse(_NOT_HTTP)
            return
        self._parse(data)
        if self._unfinished > MAX_HEAD and not self.transport.is_closing():
            self.logger.warning("A request's head or trailers are larger than %d bytes.", MAX_HEAD)
            if self._in_head and self._is_idle():
                self._refuse_head()
            else:
                self.transport.close()
        elif self._in_head and self._unfinished and self._head_timer is None and self._is_idle():
            self._start_head_timer()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(str(error))

    def _refuse(self, reason: str) -> None:
        """Answers input that is no HTTP request, and logs the client and the reason."""
        fields = {"client": self.client[0] if self.client else "-", "reason": reason}
        self.logger.warning(_INVALID, extra={"fields": fields})
        self.send_400_response(_INVALID)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Reads the body of a request that asks for an upgrade, which a server may ignore (RFC 9110 section 7.8).

        The parser would take the body for data of the other protocol, or, in a later call, for a request. A new parser
        reads it after a head that only has the framing fields of the request.
        """
        framing = [b"%s: %s\r\n" % field for field in self.scope["headers"] if field[0] in _FRAMING]
        self.parser = httptools.HttpRequestParser(_SkipHead(self))
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._parse(b"POST / HTTP/1.1\r\n%s\r\n" % b"".join(framing))
        if not (self._discards_input or self.transport.is_closing()):
            self._parse(rest)

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """Starts the head of a request."""
        self._is_pipelined = not self._line.is_begun
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Starts the request, unless the connection already has one under way."""
        self._unfinished = 0
        self._in_head = False
        self._stop_head_timer()
        if not self._is_idle() and not self._is_response_sent():
            self._discard_input()
            return
        if self._is_pipelined and self.parser.get_http_version() != "1.1":
            # Its line was not checked, and RTSP/1.0 and ICE/1.0 pass for HTTP/1.0.
            self._refuse(_NOT_HTTP)
            self._discards_input = True
            return
        if not self._is_admitted:
            self._admit()
        # uvicorn cannot read a target in absolute form that has no path.
        if not self.url.startswith(b"/") and (absolute := _EMPTY_PATH.match(self.url)):
            self.url = absolute[0] + b"/" + self.url[absolute.end() :]
        super().on_headers_complete()
        if self.cycle:  # there is none yet if the first request becomes a WebSocket connection
            self._writer.begin()
            self.cycle.transport = self._writer  # type: ignore[assignment]  # of which it calls the writer's methods alone
        self.headers = []  # fields from here on are trailers, which stay apart (RFC 9110 section 6.5.1)
        if not self.url.startswith(b"/") or b"#" in self.url:  # uvicorn's raw_path lacks the authority and the fragment
            self.scope["raw_path"] = self.url.partition(b"?")[0]
        self._requests_left -= 1
        if self.cycle and (self._is_shutting_down or not self._requests_left):
            self._close_after_response()

    def _admit(self) -> None:
        """Counts the connection, in the place of the one that is idle for longest if there are too many; or has it
        refused.

        uvicorn's own bound, `limit_concurrency`, also refuses requests on connections that were open before the bound
        was reached. Requests of clients that have disconnected count as connections.
        """
        settings = self._settings
        while settings.idle and settings.admitted >= settings.max_connections:
            settings.close_longest_idle()
        if max(settings.admitted, len(self.tasks)) < settings.max_connections:
            self._is_admitted = True
            settings.admitted += 1
        else:
            self.app = settings.refuse

    def close_if_idle(self) -> None:
        """Closes the connection, which no longer counts, unless it has a request under way, or bytes that were not
        received at one of its ends."""
        is_waiting = self._is_idle() and self._in_head and not self._unfinished
        if is_waiting and not (self.transport.get_write_buffer_size() or _queued(self.transport, termios.FIONREAD)):
            self._settings.admitted -= self._is_admitted
            self._is_admitted = False
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        """Hands a piece of the body on."""
        self._unfinished = 0
        if not self._discards_input:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends the request's body; the next head follows."""
        if self.parser.should_upgrade():  # the parser reports the end of the head as the end of the message
            return
        self._unfinished = 0
        self._in_head = True
        self._line.reset()
        if not self._discards_input:
            super().on_message_complete()
            self._note_idle()

    # Callbacks of the response and of the server

    def on_response_complete(self) -> None:
        """Gives an unfinished request `head_time` to end: its rest is read, so that the client reads the response."""
        self._writer.flush()
        super().on_response_complete()
        self._note_idle()
        if not self._in_head or self._unfinished:
            self._start_head_timer()
        if self._is_shutting_down:
            self._close_soon()

    def _note_idle(self) -> None:
        """Notes the end of a request and its response, whichever is later."""
        if self._in_head and self._is_admitted and self._is_idle():
            self._settings.idle[self] = None

    def shutdown(self) -> None:
        """Closes the connection after the response under way, which says so, or soon if there is none.

        uvicorn closes an idle connection at once, and a request on its way is lost.
        """
        self._is_shutting_down = True
        if self._is_idle():
            self._close_soon()
        elif not self._has_response_started():
            self._close_after_response()

    def send_400_response(self, msg: str) -> None:
        """Answers input that cannot be parsed, unless the response to the previous request is under way."""
        if self._is_idle() or (self._is_body_incomplete() and not self._has_response_started()):
            super().send_400_response(msg)
        else:
            self._discard_input()

    def _discard_input(self) -> None:
        """Discards input from now on, and closes the connection after the response under way."""
        self._discards_input = True
        self._close_after_response()

    def _refuse_head(self) -> None:
        """Answers a head that is too large. An immediate close would reset the connection, and the answer be lost."""
        self._discards_input = True
        self.transport.write(_TOO_LARGE)
        if self.transport.can_write_eof():  # TLS cannot
            self.transport.write_eof()
        self.loop.call_later(_LINGER, self.transport.close)

    def _close_soon(self) -> None:
        def close() -> None:
            if self._is_idle():
                self.transport.close()

        self.loop.call_later(_CLOSE_DELAY, close)

    # Timers

    def _check_sending(self) -> None:
        """Aborts a connection whose client has received nothing since the last check.

        Equal sizes of the write buffers mean that only while the application writes nothing: while uvicorn has paused
        it, or after the response.
        """
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            unsent += _queued(self.transport, termios.TIOCOUTQ)
        if unsent and unsent == self._unsent:
            self.transport.abort()
            return
        self._unsent = unsent if self._is_writing_paused() or self._is_idle() else 0
        self._send_timer = self.loop.call_later(self._send_timeout, self._check_sending)

    def _start_head_timer(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(self._head_time, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    # uvicorn's state of the request under way (uvicorn.protocols.http.httptools_impl.RequestResponseCycle)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _has_response_started(self) -> bool:
        return self.cycle.response_started

    def _is_response_sent(self) -> bool:
        """Whether the client has a whole response of known length: uvicorn completes it with the application's last
        message, and would let the next request wait for that."""
        cycle = self.cycle
        return self._has_response_started() and cycle.chunked_encoding is False and not cycle.expected_content_length

    def _is_body_incomplete(self) -> bool:
        return self.cycle.more_body

    def _is_writing_paused(self) -> bool:
        return self.flow.write_paused

    def _close_after_response(self) -> None:
        self.cycle.keep_alive = False


class _SkipHead:
    """Forwards a parser's callbacks to the protocol, but for the first head."""

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


def _queued(transport: asyncio.Transport, request: int) -> int:
    """Bytes in the kernel's buffers: with TIOCOUTQ those that the peer of a UNIX socket has not read, with FIONREAD
    those that are received and not read (ioctl_tty(2))."""
    count = bytearray(4)
    with contextlib.suppress(OSError, AttributeError, ValueError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), request, count)
    return int.from_bytes(count, sys.byteorder)
