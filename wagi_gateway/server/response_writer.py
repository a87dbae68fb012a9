"""The writes of a connection's responses: the head of each goes out together with the beginning of its body."""

from __future__ import annotations

import asyncio

_CONTINUE = b"HTTP/1.1 100 "


class ResponseWriter:
    """Takes the transport's place where uvicorn writes a response, head and body apart.

    uvloop passes each write to the system at once. Two writes are two system calls, two packets and two wake-ups of the
    client: a tenth of a short request's processor time. So the head waits for the next write, but not beyond this turn
    of the event loop: the body may come late.
    """

    __slots__ = ("_held", "_is_at_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._is_at_head = False
        self._held = b""

    def begin(self) -> None:
        """Prepares for a response: the next write is its head."""
        self._is_at_head = True

    def write(self, data: bytes) -> None:
        """Writes data, after the head if that was held; holds a head."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines([held, data])
        elif self._is_at_head and data and not data.startswith(_CONTINUE):
            self._is_at_head = False
            self._held = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Writes a head that is held."""
        if self._held:
            held, self._held = self._held, b""
            if not self._transport.is_closing():
                self._transport.write(held)

    def is_closing(self) -> bool:
        """Whether the transport is closed or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Closes the transport, once everything is written."""
        self.flush()
        self._transport.close()
