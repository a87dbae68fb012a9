"""The request line of HTTP/1.1 (RFC 9112 section 3), of which the parser reports no protocol name."""

from __future__ import annotations

_ENDS = (b" HTTP/1.1\r", b" HTTP/1.0\r")


class RequestLine:
    """Checks the request line of one message after another, before the parser reads it.

    llhttp takes `RTSP/1.0`, `ICE/1.0`, `HTTP/2.0` and a missing version for versions of HTTP, and several spaces for
    one.
    """

    def __init__(self) -> None:
        self._received = b""
        """The line so far, while its end is missing."""
        self.is_complete = False

    @property
    def is_begun(self) -> bool:
        """Whether any of the line was received."""
        return self.is_complete or bool(self._received)

    def reset(self) -> None:
        """Starts the line of the next message."""
        self._received = b""
        self.is_complete = False

    def is_refused(self, data: bytes) -> bool:
        """Adds input that follows the previous message. Whether it ends a line that is not one of HTTP/1.1 or 1.0."""
        if self._received:
            data = self._received + data
        elif data[:1] in (b"\r", b"\n"):  # empty lines before a request are ignored (RFC 9112 section 2.2)
            data = data.lstrip(b"\r\n")
        end = data.find(b"\n")
        if end < 0:
            self._received = data
            return False
        self._received = b""
        self.is_complete = True
        return not data.endswith(_ENDS, 0, end) or data.count(b" ", 0, end) != 2
