"""The errors this package raises.

    GatewayError
    ├── StartupError            a start or reload fails, with every problem that was found  (exit code 3)
    ├── LoadCancelled           a later reload, or the end of the server, cancels a load
    ├── ClientDisconnect        the client disconnected: no response can be sent
    └── RequestError            a request gets an error response                            (an HTTP status)
        ├── BadRequest          400  the request breaks HTTP or cannot become CGI variables
        │   └── BadFraming      400  the length of its body is ambiguous: the connection is closed
        ├── NotFound            404  no route matches
        ├── MethodNotAllowed    405  TRACE and CONNECT
        │   └── FilesOnly       405  methods other than GET and HEAD of a static route
        ├── RequestTimeout      408  the body did not arrive in time
        ├── PreconditionFailed  412  the file of a static route is another than the request is for
        ├── BodyTooLarge        413  the body is over `limits.body`
        ├── UriTooLong          414  the request target is too long
        ├── RangeUnsatisfiable  416  the file of a static route has none of the requested ranges
        ├── FieldsTooLarge      431  the header fields are too many or too large
        ├── GuestFailed         500  the guest trapped, exited without a response or could not be instantiated
        ├── BadOutput           502  the guest's output is not a valid CGI response
        ├── AtCapacity          503  no sandbox became free, or the system has no resources for one
        └── GuestTimeout        504  the guest ran into `limits.time` before its header block was complete

The text of a RequestError goes to the log. The client gets the status, `public` and the request id alone: an error body
holds no host path, backtrace or guest output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

_MAX_SHOWN = 512
"""Bytes of refused output that are kept."""
_WORD = re.compile(r"""[^\s"']+""")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_INTERFACE = re.compile(r"(?:wasi|fermyon|wasmcloud):[a-z0-9-]+/[a-z0-9-]+@\d+\.\d+\.\d+(?!\.?\d)")
"""A versioned interface of the Component Model, such as `wasi:http/types@0.2.3`, which has no user name."""


def redact(text: str) -> str:
    """A message without user names, passwords and queries of URLs, which may be secret.

    >>> redact('module = "https://user:password@example.com/m.wasm?token=t"')
    'module = "https://…@example.com/m.wasm?…"'
    """
    return _WORD.sub(lambda word: redact_value(word[0]), text) if "@" in text or "?" in text else text


def redact_value(value: str) -> str:
    """A setting's value for a message, without user name, password and query, whatever characters they have."""
    rest, at, digest = value.rpartition("@")
    if not digest.startswith(("sha256:", "sha512:")):  # of an image reference
        rest, at, digest = value, "", ""
    userinfo, has_userinfo, host = rest.rpartition("@")
    is_url = "://" in value.partition("?")[0]
    if has_userinfo and ":" in userinfo and not _INTERFACE.match(value):
        scheme, slashes, _ = userinfo.partition("//")
        prefix = f"{scheme}//" if slashes and _SCHEME.fullmatch(scheme) else ""
        value = f"{prefix}…@{host}{at}{digest}"
    path, _, query = value.partition("?")
    return f"{path}?…" if query and is_url else value


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "route"), counted(2, "route")
    ('1 route', '2 routes')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


MAX_PROBLEMS = 100
"""Problems of one kind that are reported of a module, which may have a million of them."""
_MAX_PROBLEM = 4000
"""Characters of a problem: a name in a module may have 100,000."""


def _shortened(text: str) -> str:
    rest = len(text) - _MAX_PROBLEM
    return f"{text[:_MAX_PROBLEM]}… ({rest} more characters)" if rest > 0 else text


class GatewayError(Exception):
    """The base of this package's errors."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a configuration or a module: where it is, what it is, and what to write instead.

    No secret of a URL is in it, and `what` is cut off after 4,000 characters. `str(problem)` reads
    `modules.toml: [[module]] 2 (/hello): limits.time: "soon" is not a duration; …`.
    """

    where: str
    what: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", redact(self.where))
        object.__setattr__(self, "what", _shortened(redact(self.what)))

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class StartupError(GatewayError):
    """A start or reload fails: `problems` holds every fault that was found, `warnings` the doubtful settings."""

    exit_code = 3

    def __init__(self, *problems: Problem, warnings: Iterable[Problem] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
        self.warnings = tuple(warnings)


class LoadCancelled(GatewayError):
    """A later reload, or the end of the server, cancels a load; the message says what the load waited for."""


class ClientDisconnect(GatewayError):
    """The client disconnected: no response can be sent."""


class RefusedOutput(NamedTuple):
    """What a guest printed that is no response: for its author, and not for the client."""

    beginning: bytes
    """The first 512 bytes."""
    offset: int
    """The byte of the output that breaks the rules; the output's size if it ended too early."""

    @classmethod
    def cut(cls, output: bytes | bytearray, offset: int) -> RefusedOutput:
        """The beginning of an output."""
        return cls(bytes(output[:_MAX_SHOWN]), offset)


class RequestError(GatewayError):
    """A request gets an error response: `status` and `public` go to the client, the message to the log."""

    status = 500
    public = "Internal Server Error"
    """The reason phrase of RFC 9110 section 15, and what the client may know beyond it."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    limit: str | None = None
    """The limit that was reached, by the name of its setting: a label of metrics."""
    output: RefusedOutput | None = None
    """What the guest printed, where that is refused or the guest failed within its header block."""

    def __init__(self, message: str | None = None, *, limit: str | None = None) -> None:
        super().__init__(*() if message is None else (message,))
        if limit:
            self.limit = limit


class BadRequest(RequestError):
    """The request breaks HTTP, or no CGI meta-variable can hold it."""

    status = 400
    public = "Bad Request"


class BadFraming(BadRequest):
    """The length of the request body is ambiguous (RFC 9112 section 6.3): the connection is closed."""

    headers = ((b"connection", b"close"),)


class MethodNotAllowed(RequestError):
    """TRACE, which would show a script the credentials of its browser, and CONNECT, which is for proxies."""

    status = 405
    public = "Method Not Allowed"
    headers = ((b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),)


class FilesOnly(MethodNotAllowed):
    """A method other than GET and HEAD of a static route."""

    headers = ((b"allow", b"GET, HEAD"),)


class NotFound(RequestError):
    """No route matches, or a static route has no such file."""

    status = 404
    public = "Not Found"


class RequestTimeout(RequestError):
    """The request body did not arrive within `limits.body_time`."""

    status = 408
    public = "Request Timeout: the request body did not arrive in time"
    limit = "body_time"
    headers = ((b"connection", b"close"),)


class PreconditionFailed(RequestError):
    """If-Match or If-Unmodified-Since is false for the file of a static route (RFC 9110 section 13.1)."""

    status = 412
    public = "Precondition Failed"


class BodyTooLarge(RequestError):
    """The request body is larger than `limits.body`."""

    status = 413
    public = "Content Too Large"
    limit = "body"

    def __init__(self, message: str | None = None, *, bound: int | None = None) -> None:
        """`bound` is `limits.body` in bytes, which the client may know."""
        super().__init__(message)
        if bound is not None:
            self.public = f"{self.public}: the request body may have at most {bound} bytes"


class UriTooLong(RequestError):
    """The request target is longer than `cgi.request.MAX_TARGET`."""

    status = 414
    public = "URI Too Long"


class RangeUnsatisfiable(RequestError):
    """The file of a static route, of `size` bytes, has none of the requested ranges (RFC 9110 section 14.2)."""

    status = 416
    public = "Range Not Satisfiable"

    def __init__(self, message: str | None = None, *, size: int = 0) -> None:
        super().__init__(message)
        self.headers = ((b"content-range", b"bytes */%d" % size),)


class FieldsTooLarge(RequestError):
    """The header fields exceed `cgi.environ.MAX_FIELDS`, or their environment `cgi.environ.MAX_ENVIRON`."""

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

    def __init__(self, message: str | None = None, *, limit: str | None = None, offset: int = 0) -> None:
        """`offset` is the byte of the output that breaks the rules."""
        super().__init__(message, limit=limit)
        self.offset = offset


class AtCapacity(RequestError):
    """No sandbox became free in time, or the system has no resources for one."""

    status = 503
    public = "Service Unavailable: the module is at capacity"
    headers = ((b"retry-after", b"1"),)


class GuestTimeout(RequestError):
    """The guest ran into `limits.time` before its header block was complete."""

    status = 504
    public = "Gateway Timeout: the module took too long"
