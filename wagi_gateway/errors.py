"""The errors this package raises.

    GatewayError
    ├── StartupError            what start-up found wrong: every problem, not the first   (exit code 3)
    ├── ClientDisconnect        the client went away; nobody is left to be answered
    └── RequestError            one request cannot be answered by its module              (carries an HTTP status)
        ├── BadRequest          400  the request breaks HTTP or cannot become CGI variables
        │   └── BadFraming      400  where its body ends is ambiguous, so the connection is closed
        ├── NotFound            404  no route matches
        ├── MethodNotAllowed    405  TRACE and CONNECT, which no guest may answer
        │   └── FilesOnly       405  a directory of files answers GET and HEAD alone
        ├── RequestTimeout      408  the body did not arrive in time
        ├── BodyTooLarge        413  the body is over `limits.body`
        ├── UriTooLong          414  the request target is over its bound
        ├── FieldsTooLarge      431  the header fields are over their bounds
        ├── GuestFailed         500  the guest trapped, exited without a response or could not be instantiated
        ├── BadOutput           502  the guest's output is not a valid CGI response
        ├── AtCapacity          503  no sandbox is free and the queue is full
        └── OutOfTime           504  the guest ran into `limits.time` before its header block was complete

A `RequestError`'s text is for the log; the client is told the status and `public` alone (spec: no host path, backtrace
or guest output in an error body).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class GatewayError(Exception):
    """The root of everything raised on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration or a module: where, what, and what to do about it.

    `str(problem)` reads `modules.toml: [[module]] 2 (/hello): limits.time: "soon" is not a duration; …`.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class StartupError(GatewayError):
    """The server cannot start; `problems` holds every reason that was found, `warnings` what is doubtful besides."""

    exit_code = 3

    def __init__(self, *problems: Problem, warnings: Iterable[Problem] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
        self.warnings = tuple(warnings)


class ClientDisconnect(GatewayError):
    """The client went away; nobody is left to be answered."""


class RequestError(GatewayError):
    """A request ends with `status`; the message goes to the log and `public` to the client."""

    status = 500
    public = "Internal Server Error"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    limit: str | None = None
    """The limit that was reached, if it was one."""

    def __init__(self, message: str | None = None, *, limit: str | None = None) -> None:
        super().__init__(*() if message is None else (message,))
        if limit:
            self.limit = limit


class BadRequest(RequestError):
    """The request breaks HTTP or cannot be expressed as CGI meta-variables."""

    status = 400
    public = "Bad Request"


class BadFraming(BadRequest):
    """Where the request's body ends is ambiguous; what follows on the connection cannot be trusted."""

    headers = ((b"connection", b"close"),)


class MethodNotAllowed(RequestError):
    """TRACE, which would tell a script what the browser keeps from it, and CONNECT, which is for proxies."""

    status = 405
    public = "Method Not Allowed"
    headers = ((b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),)


class FilesOnly(MethodNotAllowed):
    """A directory of files answers GET and HEAD alone."""

    headers = ((b"allow", b"GET, HEAD"),)


class NotFound(RequestError):
    """No route matches; WAGI answers with an empty body, and so do we."""

    status = 404
    public = ""


class RequestTimeout(RequestError):
    """The request body did not arrive within `limits.body_time`."""

    status = 408
    public = "Request Timeout: the request body did not arrive in time"
    limit = "body_time"
    headers = ((b"connection", b"close"),)


class BodyTooLarge(RequestError):
    """The request body is larger than `limits.body`."""

    status = 413
    public = "Content Too Large"
    limit = "body"


class UriTooLong(RequestError):
    """The request target is over its bound."""

    status = 414
    public = "URI Too Long"


class FieldsTooLarge(RequestError):
    """The request's header fields would make an environment over its bound."""

    status = 431
    public = "Request Header Fields Too Large"


class GuestFailed(RequestError):
    """The guest trapped, exited without a response or could not be instantiated."""

    status = 500
    public = "Internal Server Error: the module failed"


class BadOutput(RequestError):
    """The guest's output is not a valid CGI response (RFC 3875 section 6)."""

    status = 502
    public = "Bad Gateway: the module's output is not a valid CGI response"


class AtCapacity(RequestError):
    """No sandbox became free: the module's queue is full or the wait was too long."""

    status = 503
    public = "Service Unavailable: the module is at capacity"
    headers = ((b"retry-after", b"1"),)


class GuestTimeout(RequestError):
    """The guest ran into `limits.time` before its header block was complete."""

    status = 504
    public = "Gateway Timeout: the module took too long"
