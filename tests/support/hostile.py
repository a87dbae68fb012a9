"""An upstream server that breaks the framing of HTTP/1.1 on purpose, as the query of each request says.

`/alice?framing=chunked&surplus=answer&moment=later` is answered with a body in chunks that names alice, followed, in a
segment of its own, by a whole response that names a stranger.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import h11

from tests.conftest import wait_until
from tests.support.farm import Raw

STRANGER = "stranger"
"""The name in all that no client may get."""


def body_for(name: str) -> bytes:
    """The body of the response to a client."""
    return f"private answer for {name}\n".encode()


def answer_for(name: str) -> bytes:
    """A whole response."""
    body = body_for(name)
    return b"HTTP/1.1 200 OK\r\nx-for: %b\r\ncontent-length: %d\r\n\r\n%b" % (name.encode(), len(body), body)


def _head(name: str, *fields: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, f"x-for: {name}", *fields, "", ""]).encode()


def _sized(name: str, *fields: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    body = body_for(name)
    return _head(name, *(field.format(len(body)) for field in fields), status=status) + body


def _chunked(name: str, size: str = "{:x}", last: str = "0\r\n\r\n", *, fields: tuple[str, ...] = ()) -> bytes:
    body = body_for(name)
    head = _head(name, "transfer-encoding: chunked", *fields)
    return head + size.format(len(body)).encode() + b"\r\n" + body + b"\r\n" + last.encode()


Framing = Callable[[str], bytes]

CLEAN: dict[str, Framing] = {
    "length": answer_for,
    "length-twice": lambda name: _sized(name, "content-length: {0}", "content-length: {0}"),
    "length-list": lambda name: _sized(name, "content-length: {0}, {0}"),
    "length-zeros": lambda name: _sized(name, "content-length: 00{0}"),
    "chunked": _chunked,
    "chunked-zeros": lambda name: _chunked(name, "000{:X}"),
    "chunked-extension": lambda name: _chunked(name, '{:x};a="0;b"'),
    "trailers": lambda name: _chunked(name, last=f"0\r\nx-for: {STRANGER}\r\ncontent-length: 7\r\n\r\n"),
    "1xx": lambda name: b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 3 + answer_for(name),
    "100": lambda name: b"HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\n" + answer_for(name),
    "204": lambda name: _head(name, status="HTTP/1.1 204 No Content"),
    "304": lambda name: _head(name, "content-length: 999", status="HTTP/1.1 304 Not Modified"),
}
"""Framings after which a connection may be used again, unless something follows."""

LAST: dict[str, Framing] = {
    "both-equal": lambda name: _chunked(name, fields=(f"content-length: {len(body_for(name))}",)),
    "both-short": lambda name: _chunked(name, fields=("content-length: 3",)),
    "both-long": lambda name: _chunked(name, fields=("content-length: 999999",)),
    "http-1.0": lambda name: _sized(name, "content-length: {0}", status="HTTP/1.0 200 OK"),
    "http-1.0-keep-alive": lambda name: _sized(
        name, "content-length: {0}", "connection: keep-alive", status="HTTP/1.0 200 OK"
    ),
    "http-2.0": lambda name: _sized(name, "content-length: {0}", status="HTTP/2.0 200 OK"),
    "close": lambda name: _sized(name, "content-length: {0}", "connection: close"),
    "close-in-a-list": lambda name: _sized(name, "content-length: {0}", "connection: keep-alive, CLOSE"),
    "204-body": lambda name: _head(name, status="HTTP/1.1 204 No Content") + body_for(STRANGER),
    "204-answer": lambda name: _head(name, status="HTTP/1.1 204 No Content") + answer_for(STRANGER),
    "304-body": lambda name: _head(name, "content-length: 9", status="HTTP/1.1 304 Not Modified") + b"123456789",
    "304-answer": lambda name: _head(name, status="HTTP/1.1 304 Not Modified") + answer_for(STRANGER),
    "length-short": lambda name: _head(name, "content-length: 7") + body_for(name),
    "chunk-after-the-last": lambda name: _chunked(name, last="0\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
}
"""Framings with an answer, after which a connection may not be used again."""

REFUSED: dict[str, Framing] = {
    "lengths-differ": lambda name: _sized(name, "content-length: {0}", "content-length: 3"),
    "length-list-differs": lambda name: _sized(name, "content-length: {0}, 3"),
    "length-plus": lambda name: _sized(name, "content-length: +{0}"),
    "length-minus": lambda name: _sized(name, "content-length: -1"),
    "length-hex": lambda name: _sized(name, "content-length: 0x{0}"),
    "length-underscore": lambda name: _sized(name, "content-length: 1_0"),
    "length-empty": lambda name: _sized(name, "content-length:"),
    "length-huge": lambda name: _sized(name, f"content-length: {'9' * 5000}"),
    "length-folded": lambda name: _sized(name, "content-length: 3", " {0}"),
    "length-blank-before-colon": lambda name: _sized(name, "content-length : {0}"),
    "chunked-twice": lambda name: _chunked(name, fields=("transfer-encoding: chunked",)),
    "chunked-list": lambda name: _head(name, "transfer-encoding: chunked, chunked") + b"0\r\n\r\n",
    "chunked-unknown": lambda name: _head(name, "transfer-encoding: xchunked") + b"0\r\n\r\n",
    "chunked-gzip": lambda name: _head(name, "transfer-encoding: gzip, chunked") + b"0\r\n\r\n",
    "chunked-vt": lambda name: _head(name, "transfer-encoding: \x0bchunked") + b"0\r\n\r\n",
    "101": lambda name: _head(name, "upgrade: x", "connection: upgrade", status="HTTP/1.1 101 Switching Protocols"),
    "099": lambda name: _sized(name, "content-length: {0}", status="HTTP/1.1 099 No"),
    "http-0.9": lambda name: body_for(name) + b"\n",
}
"""Framings that are no response."""

BROKEN: dict[str, Framing] = {
    f"chunk-{kind}": lambda name, size=size: _chunked(name, size)  # type: ignore[misc]
    for kind, size in {
        "hex-prefix": "0x{:x}",
        "plus": "+{:x}",
        "minus": "-{:x}",
        "underscore": "0_{:x}",
        "two-sizes": "{:x} 5",
        "no-digit": "g",
        "empty": "",
        "21-digits": "0" * 20 + "1",
        "short": "3",
        "line-feed": "{:x};\n",
    }.items()
}
"""Bodies in chunks that break off in an error."""

FRAMINGS = CLEAN | LAST | REFUSED | BROKEN
UNTIL_CLOSE: dict[str, Framing] = {"until-close": _sized}
"""A body that ends with the connection, so that nothing can follow."""

SURPLUS: dict[str, bytes] = {
    "none": b"",
    "answer": answer_for(STRANGER),
    "answers": answer_for(STRANGER) * 3,
    "half": f"HTTP/1.1 200 OK\r\nx-for: {STRANGER}\r\nx-hidden: ".encode(),
    "interim": f"HTTP/1.1 103 Early Hints\r\nx-for: {STRANGER}\r\n\r\n".encode(),
    "body": body_for(STRANGER),
    "last-chunk": b"0\r\n\r\n",
    "line": b"\r\n",
    "byte": b"\0",
    "much": answer_for(STRANGER) * 2000,
}
MOMENTS = ("at-once", "later")
"""With the response, or in a segment of its own while the connection is idle."""
ENDS = ("none", "half", "close", "cut", "reset")
"""End of the connection after the response: of the writing half, of both, without TLS's closure alert, by a reset."""


class Hostile:
    """A server with persistent connections that answers each request as its query says.

    `framing`, `surplus`, `moment` and `end` are names of the tables above; `delay=early` answers before the request's
    body is read.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self.received = 0
        """Requests that have arrived."""
        self._answered = 0

    def __enter__(self) -> Hostile:
        self._raw = Raw(self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    @property
    def url(self) -> str:
        """Scheme, host and port, which is also an entry of `allowed_hosts`."""
        return self._raw.url.replace("http:", "https:") if self._tls else self._raw.url

    @property
    def accepted(self) -> int:
        """Number of connections."""
        return self._raw.accepted

    def wait_until_quiet(self) -> None:
        """Returns once everything is sent that belongs to the requests so far."""
        wait_until(lambda: self._answered == self.received)

    def _serve(self, plain: socket.socket) -> None:
        connection = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
        with connection:
            requests = h11.Connection(h11.SERVER)
            while (request := self._next(requests, connection, h11.Request)) and isinstance(request, h11.Request):
                with self._lock:
                    self.received += 1
                try:
                    is_over = self._answer(connection, requests, request)
                finally:
                    with self._lock:
                        self._answered += 1
                if is_over:
                    break
            while connection.recv(65536):
                pass

    def _next(self, requests: h11.Connection, connection: socket.socket, kind: type) -> object:
        """The next event of a kind; None at the end of the connection."""
        while not isinstance(event := requests.next_event(), kind):
            if event is h11.NEED_DATA:
                data = connection.recv(65536)
                if not data:
                    return None
                requests.receive_data(data)
        return event

    def _answer(self, connection: socket.socket, requests: h11.Connection, request: h11.Request) -> bool:
        """Answers a request; returns whether it was the last of its connection."""
        target = urlsplit(request.target.decode())
        plan = {name: values[0] for name, values in parse_qs(target.query).items()}
        if plan.get("delay") != "early":
            self._next(requests, connection, h11.EndOfMessage)
        answer = (FRAMINGS | UNTIL_CLOSE)[plan.get("framing", "length")](target.path[1:])
        surplus = SURPLUS[plan.get("surplus", "none")]
        if plan.get("moment") == "later":
            connection.sendall(answer)
            connection.sendall(surplus)
        else:
            connection.sendall(answer + surplus)
        if plan.get("delay") == "early" and not self._next(requests, connection, h11.EndOfMessage):
            return True
        requests.send(h11.Response(status_code=204, headers=[]))
        requests.send(h11.EndOfMessage())
        requests.start_next_cycle()
        return self._end(connection, plan.get("end", "none"))

    def _end(self, connection: socket.socket, end: str) -> bool:
        if end == "half" and not isinstance(connection, ssl.SSLSocket):
            connection.shutdown(socket.SHUT_WR)
        elif end in ("half", "close") and isinstance(connection, ssl.SSLSocket):
            _send_closure_alert(connection)
        elif end in ("close", "cut"):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
        elif end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        return end != "none"


def _send_closure_alert(connection: ssl.SSLSocket) -> None:
    """Sends TLS's closure alert, and does not wait for that of the client."""
    connection.setblocking(False)
    try:
        connection.unwrap()
    except (ssl.SSLWantReadError, OSError):
        connection.setblocking(True)
