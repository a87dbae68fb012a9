"""The request of a command line, with the options of curl."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..errors import Problem, StartupError

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*:[ \t]*(.*)")
_FORM = ((b"content-type", b"application/x-www-form-urlencoded"),)
_JSON = ((b"content-type", b"application/json"), (b"accept", b"application/json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """The request of a command line."""

    path: str = "/"
    """The path, with the query behind a question mark."""
    query: str = ""
    """More of the query."""
    method: str | None = None
    """GET if None, or POST with data."""
    headers: tuple[str, ...] = ()
    """Header fields as `NAME: VALUE`. Like curl, `Content-Type:` without a value leaves the field out."""
    data: bytes | None = None
    """The body. Like curl, the request says that it is a form, unless a header field says otherwise."""
    is_json: bool = False
    """Whether the request says that the body is JSON, in place of a form."""

    def scope(self, *, scheme: str = "http") -> dict[str, object]:
        """The ASGI scope of the request. Raises StartupError for an invalid method or header field."""
        headers = [_header(number, text) for number, text in enumerate(self.headers, start=1)]
        method = self.method if self.method is not None else "GET" if self.data is None else "POST"
        if not _TOKEN.fullmatch(method):
            raise StartupError(Problem("--method", f'"{method}": write a method such as GET'))
        names = {name for name, _ in headers}
        if b"host" not in names:
            headers.insert(0, (b"host", b"localhost"))
        if self.data is not None:
            headers += [field for field in (_JSON if self.is_json else _FORM) if field[0] not in names]
        headers = [field for field in headers if field != (b"content-type", b"")]
        if self.data and b"content-length" not in names:
            headers.append((b"content-length", b"%d" % len(self.data)))
        path, _, query = self.path.partition("?")
        path = path if path.startswith("/") else f"/{path}"
        query = "&".join(filter(None, (query, self.query)))
        return {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": quote(path, "/%!$&'()*+,;=:@~-._", errors="surrogateescape").encode(),
            "query_string": quote(query, "/%!$&'()*+,;=:@~-._?", errors="surrogateescape").encode(),
            "http_version": "1.1",
            "scheme": scheme,
            "headers": headers,
            "client": ("127.0.0.1", 0),
            "server": ("localhost", 443 if scheme == "https" else 80),
        }


def read_data(data: Sequence[str] | None, raw: Sequence[str] | None = None) -> bytes | None:
    """The request body of `--data`, then `--data-raw`, whose values are joined by `&`; None without any.

    A value of `data` is text, `@FILE`, or `-` or `@-` for standard input, one of `raw` is text. Raises StartupError.
    """
    pieces = [*map(_read, data or ()), *(text.encode(errors="surrogateescape") for text in raw or ())]
    return b"&".join(pieces) if pieces else None


def read_json(json: Sequence[str] | None) -> bytes | None:
    """The request body of `--json`, whose values are put together as they are. Raises StartupError."""
    return b"".join(map(_read, json)) if json else None


def _read(data: str) -> bytes:
    if data in ("-", "@-"):
        return sys.stdin.buffer.read()
    if data.startswith("@"):
        try:
            return Path(data[1:]).read_bytes()
        except OSError as error:
            raise StartupError(Problem("--data", f"{data[1:]} cannot be read: {error.strerror}")) from None
    return data.encode(errors="surrogateescape")


def _header(number: int, text: str) -> tuple[bytes, bytes]:
    match = _HEADER.fullmatch(text)
    if not match:  # the text may be that of Authorization, and is not shown
        raise StartupError(Problem(f"--header (number {number})", 'write "Name: value"'))
    return match[1].lower().encode(), match[2].strip().encode(errors="surrogateescape")
