"""Sends a recorded request again, as it was or edited, through the listener that every client uses."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from ..cgi.request import MAX_TARGET, RequestHead
from ..errors import GatewayError
from .capture import MAX_CAPTURE
from .recorder import Resent
from .recording import Recording

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_TARGET = re.compile(r"/[\x21-\x22\x24-\x7e\x80-\xff]*")
_VALUE = re.compile(r"[\x20-\x7e\t\x80-\xff]*")
_MAX_FIELDS = 200
_TIMEOUT = 120.0
_FRAMING = ("content-length", "transfer-encoding", "connection", "expect", "te", "upgrade", "keep-alive")


class CannotResend(GatewayError):
    """The request cannot be sent; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResentRequest:
    """A request that the inspector sends."""

    parent: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    client: str | None = None
    """The client's address that the guest sees; None for that of the connection."""

    def __post_init__(self) -> None:
        """Raises CannotResend for what would not be one HTTP/1.1 request."""
        if not _TOKEN.fullmatch(self.method):
            raise CannotResend(f'method: "{self.method[:40]}" is no method; write GET')
        if not _TARGET.fullmatch(self.target) or len(self.target) > MAX_TARGET:
            raise CannotResend('path: write an encoded path that begins with "/", without blanks and "#"')
        if len(self.headers) > _MAX_FIELDS:
            raise CannotResend(f"header fields: more than {_MAX_FIELDS}")
        for name, value in self.headers:
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise CannotResend(f'header fields: "{name[:40]}" has a name or a value that no field can have')
        if len(self.body) > MAX_CAPTURE:
            raise CannotResend(f"body: more than {MAX_CAPTURE} bytes")
        if self.client is not None:
            try:
                ip_address(self.client.replace("%", " "))  # the zone of an IPv6 address may be any text
            except ValueError:
                raise CannotResend(f'client: "{self.client[:60]}" is no IP address') from None

    @classmethod
    def of(cls, recording: Recording) -> ResentRequest:
        """The request of a recording as it was. Raises CannotResend for a body that was not kept."""
        request = recording.request
        if recording.body.is_cut:
            raise CannotResend(f"the body has {recording.body.size} bytes, of which the first are kept alone")
        return cls(
            parent=recording.number,
            method=request.method,
            target=target_of(request),
            headers=fields_of(request),
            body=recording.body.content,
            client=request.client[0] if request.client else None,
        )

    def head(self) -> bytes:
        """The request head; the connection ends with the response."""
        kept = [(name, value) for name, value in self.headers if name.lower() not in _FRAMING]
        if not any(name.lower() == "host" for name, _ in kept):
            kept.insert(0, ("host", "localhost"))
        lengths = [("content-length", str(len(self.body)))] if self.body else []
        lines = [f"{name}: {value}" for name, value in (*kept, *lengths, ("connection", "close"))]
        return "\r\n".join((f"{self.method} {self.target} HTTP/1.1", *lines, "", "")).encode("latin-1")


def target_of(request: RequestHead) -> str:
    """The request target in origin form."""
    return (request.raw_path + (b"?" + request.query if request.query else b"")).decode("latin-1")


def fields_of(request: RequestHead) -> tuple[tuple[str, str], ...]:
    """The header fields as text, a character for each byte."""
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)


Expect = Callable[[tuple[str, int], Resent], None]
"""Registers what is known of the connection that comes from an address."""


async def resend(request: ResentRequest, address: tuple[str, int], expect: Expect) -> int:
    """Sends `request` to the listener at `address` and reads the response to its end; returns the status.

    Raises CannotResend.
    """
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection(*address)
            try:
                own: socket.socket = writer.get_extra_info("socket")
                expect(own.getsockname()[:2], Resent(request.parent, request.client))
                writer.write(request.head() + request.body)
                await writer.drain()
                line = await reader.readline()
                while await reader.read(65536):
                    pass
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, ValueError) as error:
        raise CannotResend(f"the request could not be sent: {error or type(error).__name__}") from None
    words = line.split()
    if len(words) < 2 or not words[1].isdigit():
        raise CannotResend("the connection ended without a response")
    return int(words[1])
