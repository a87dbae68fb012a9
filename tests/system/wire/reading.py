"""A server's reading of bytes: the requests that it parsed, derived from its responses."""

from __future__ import annotations

from dataclasses import dataclass

from ...support.env_guest import seen
from ...support.http_client import CLOSED, NEXT, Answer, Connection, connected

_OWN = {
    b"REMOTE_ADDR", b"REMOTE_HOST", b"REMOTE_PORT", b"SERVER_PORT", b"SERVER_PROTOCOL", b"X_REQUEST_ID", b"X_FULL_URL",
    b"HTTP_X_FORWARDED_FOR", b"HTTP_X_FORWARDED_PROTO", b"HTTP_X_FORWARDED_PORT",
}  # fmt: skip
"""Variables that differ between connections and peers."""

_NGINX_ONLY = {b"HTTP_FORWARDED", b"HTTP_X_FORWARDED_HOST", b"HTTP_EXPECT"}
"""Fields that nginx removes from a request or answers itself."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the status of the response, and the input of its guest, if one responded."""

    status: int
    request_id: str
    environ: dict[bytes, bytes]
    body: bytes

    @classmethod
    def of(cls, answer: Answer) -> Request:
        """The request behind a response."""
        if answer.status != 200 or b"GATEWAY_INTERFACE=" not in answer.body:
            return cls(answer.status, answer.request_id, {}, b"")
        given = seen(answer.body)
        environ = {name: value for name, value in given.environ.items() if name not in _OWN}
        return cls(200, answer.request_id, environ, given.stdin)

    @property
    def is_next(self) -> bool:
        """Whether the request is NEXT."""
        return self.environ.get(b"REQUEST_URI") == b"/next"

    @property
    def is_refused(self) -> bool:
        """Whether the request was refused."""
        return self.status >= 400

    def contradicts(self, other: Request) -> str:
        """The differences between two readings of a request; empty without any."""
        if self.body != other.body:
            return f"bodies {self.body[:200]!r} and {other.body[:200]!r}"
        ignored = _NGINX_ONLY if b"HTTP_HOST" in self.environ else {*_NGINX_ONLY, b"SERVER_NAME", b"HTTP_HOST"}
        names = (self.environ.keys() | other.environ.keys()) - ignored
        pairs = {name: (self.environ.get(name), other.environ.get(name)) for name in names}
        return "; ".join(f"{name!r}: {one!r} and {two!r}" for name, (one, two) in sorted(pairs.items()) if one != two)


@dataclass(frozen=True, slots=True)
class Reading:
    """All requests of one connection, with the client's next one."""

    requests: tuple[Request, ...]
    is_closed: bool
    """Whether the server has closed the connection."""


def read(address: tuple[str, int], data: bytes, source: str, timeout: float, *, speaks_0_9: bool = False) -> Reading:
    """Sends bytes; after a response or the `timeout`, sends NEXT if the connection is open.

    A malformed response is an AssertionError, unless the server `speaks_0_9`, where it counts as a refusal.
    """
    requests: list[Request] = []
    with connected(address, source, timeout) as connection:
        connection.send(data)
        is_open = _take(connection, requests, is_head=data.startswith(b"HEAD"), speaks_0_9=speaks_0_9)
        if is_open is not False:
            connection.send(NEXT)
            is_open = True
        while is_open and not (requests and requests[-1].is_next):
            is_open = _take(connection, requests, speaks_0_9=speaks_0_9)
    return Reading(tuple(requests), is_closed=is_open is False)


def _take(connection: Connection, requests: list[Request], *, is_head: bool = False, speaks_0_9: bool) -> bool | None:
    """Reads one response; False if the server has closed the connection, None if it sends nothing."""
    try:
        answer = connection.answer(is_head=is_head)
    except TimeoutError:
        return None
    except AssertionError:
        if not speaks_0_9:
            raise
        answer = Answer(505, is_complete=False)
    if answer.status == CLOSED:
        return False
    requests.append(Request.of(answer))
    return answer.is_complete and not answer.is_last
