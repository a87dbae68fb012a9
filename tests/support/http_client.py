"""A client that sends raw bytes, never half-closes, and checks the syntax and framing of every response."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.conftest import Server, wait_until

from .env_guest import Seen, seen

CLOSED = 0
"""The status that stands for a connection closed without a response."""

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) [\t\x20-\x7e]*")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*))?)")
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)\r\n")


@dataclass(frozen=True, slots=True)
class Answer:
    """One response on the wire."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Names in lower case, in order."""
    body: bytes = b""
    is_complete: bool = True
    """Whether the body is complete by its framing."""
    interim: tuple[int, ...] = ()
    """The statuses of the preceding 1xx responses."""

    def values(self, name: str) -> list[bytes]:
        """Every value of a field, in order."""
        return [value for key, value in self.headers if key == name.encode()]

    def value(self, name: str) -> bytes | None:
        """The value of a field; fails for a repeated field."""
        values = self.values(name)
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None

    @property
    def is_last(self) -> bool:
        """Whether the response has `Connection: close`."""
        return b"close" in (self.value("connection") or b"").lower()

    @property
    def request_id(self) -> str:
        """The gateway's id of the request; empty for a request that the parser refused."""
        return (self.value("x-request-id") or b"").decode()

    @property
    def seen(self) -> Seen:
        """The input of the ENV guest."""
        assert self.status == 200, (self.status, self.body[:200])
        return seen(self.body)


def message(line: str, *fields: str, body: bytes = b"") -> bytes:
    """A request of exactly these lines."""
    return "\r\n".join((line, *fields, "", "")).encode("latin-1") + body


NEXT = message("GET /next HTTP/1.1", "Host: h", "X-Next: 1")


class Connection:
    """One connection and the bytes received so far."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.sent_last = b"GET"
        """The method of the last request."""
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Sends raw bytes; ignores a connection that the server has closed, which the next read reports."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def ask(self, request: bytes) -> Answer:
        """Sends a request and reads the response."""
        self.sent_last = request.partition(b" ")[0]
        self.send(request)
        return self.answer(is_head=self.sent_last == b"HEAD")

    def answer(self, *, is_head: bool = False) -> Answer:
        """Reads one response; fails if the response is malformed."""
        interim: list[int] = []
        while True:
            head = self._read_head()
            if head is None:
                return Answer(CLOSED, interim=tuple(interim))
            status, headers = _parse_head(head)
            if status >= 200:
                break
            interim.append(status)
        body, is_complete = self._read_body(status, headers, is_head=is_head)
        return Answer(status, headers, body, is_complete, tuple(interim))

    def ends(self) -> bool:
        """Whether the server closes the connection without a further byte."""
        return not self._buffer and not self._more()

    def check_next(self, last: Answer) -> None:
        """Fails unless the connection is closed after `Connection: close`, and else serves another request."""
        if last.status == CLOSED:
            return
        if last.is_last:
            assert self.ends(), self._buffer[:200]
            return
        answer = self.ask(NEXT)
        assert answer.seen["HTTP_X_NEXT"] == b"1"

    def _more(self) -> bool:
        try:
            data = self.socket.recv(2**20)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)

    def _read_head(self) -> bytes | None:
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                assert not self._buffer, self._buffer[:200]
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    def _take(self, size: int) -> bytes:
        pieces = [self._buffer]
        missing = size - len(self._buffer)
        while missing > 0:
            self._buffer = b""
            if not self._more():
                break
            pieces.append(self._buffer)
            missing -= len(self._buffer)
        data = b"".join(pieces)
        self._buffer = data[size:]
        return data[:size]

    def _read_body(self, status: int, headers: tuple[tuple[bytes, bytes], ...], *, is_head: bool) -> tuple[bytes, bool]:
        lengths = [value for name, value in headers if name == b"content-length"]
        encodings = [value for name, value in headers if name == b"transfer-encoding"]
        assert len(lengths) + len(encodings) <= 1, f"two framing headers: {headers}"
        assert all(value.isdigit() for value in lengths), headers
        assert encodings in ([], [b"chunked"]), headers
        if status in (204, 304):
            assert not encodings, headers
            assert not lengths or (status == 304 or lengths == [b"0"]), headers
        if is_head or status in (204, 304):
            return b"", True
        if encodings:
            return self._read_chunks()
        if lengths:
            body = self._take(int(lengths[0]))
            return body, len(body) == int(lengths[0])
        return b"".join(iter(lambda: self._take(2**20), b"")), True

    def _read_chunks(self) -> tuple[bytes, bool]:
        pieces: list[bytes] = []
        while True:
            while b"\r\n" not in self._buffer:
                if not self._more():
                    return b"".join(pieces), False
            match = _CHUNK.match(self._buffer)
            assert match, self._buffer[:40]
            self._buffer = self._buffer[match.end() :]
            size = int(match[1], 16)
            piece = self._take(size + 2)
            if len(piece) < size + 2:
                return b"".join(pieces), False
            assert piece.endswith(b"\r\n")
            if not size:
                return b"".join(pieces), True
            pieces.append(piece[:-2])


def _parse_head(head: bytes) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
    line, *fields = head.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    assert match, line
    headers = []
    for field in fields:
        parts = _FIELD.fullmatch(field)
        assert parts, f"not a header field: {field[:200]!r}"
        headers.append((parts[1].lower(), parts[2]))
    names = [name for name, _ in headers]
    for single in (b"date", b"server", b"content-type", b"location", b"content-length"):
        assert names.count(single) <= 1, headers
    return int(match[1]), tuple(headers)


def read_answer(received: bytes) -> Answer:
    """The only response of a connection that the server has closed, with any framing."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor(1) as thread:
        sending = thread.submit(_send_all, theirs, received)
        connection = Connection(ours)
        answer = connection.answer()
        assert connection.ends(), "bytes after the response"
        sending.result()
        return answer


def _send_all(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def connected(address: tuple[str, int], source: str | None = None, timeout: float = 15.0) -> Iterator[Connection]:
    """Connects to an address from the client address `source`."""
    with socket.create_connection(address, timeout, (source, 0) if source else None) as connection:
        yield Connection(connection)


def exchange(server: Server, request: bytes) -> Answer:
    """The response to one request; also checks the connection afterwards."""
    with connected(server.address) as connection:
        answer = connection.ask(request)
        if request.partition(b"\r\n")[0].endswith(b"HTTP/1.0"):
            assert connection.ends()
        else:
            connection.check_next(answer)
        return answer


def log_lines(server: Server, answer: Answer) -> list[str]:
    """The log lines of the request so far."""
    return [line for line in server.log.splitlines() if f"id={answer.request_id}" in line]


def access_line(server: Server, answer: Answer) -> str:
    """The access log's line of the request, which is written at the request's end."""

    def lines() -> list[str]:
        return [line for line in log_lines(server, answer) if " status=" in line and " bytes=" in line]

    wait_until(lambda: bool(lines()), message=lambda: f"no line for {answer.request_id}:\n{server.log[-2000:]}")
    return lines()[0]


def assert_logged(server: Server, answer: Answer, reason: str) -> None:
    """Fails unless the log has the reason of the response."""
    access_line(server, answer)
    lines = log_lines(server, answer)
    assert any(re.search(reason, line) for line in lines), f"{reason!r} is not in {lines}"


def assert_no_guest(server: Server, answer: Answer) -> None:
    """Fails if a guest ran for the request: the parser or the gateway must have refused it."""
    if answer.request_id:
        assert "guest_ms=" not in access_line(server, answer)


def is_whole_hello(answer: bytes) -> bool:
    """Whether the bytes are a whole response of the hello guest, whose output a busy machine may stream in chunks."""
    is_chunked = b"transfer-encoding: chunked" in answer.lower()
    return answer.endswith(b"hello world\n\r\n0\r\n\r\n" if is_chunked else b"hello world\n")
