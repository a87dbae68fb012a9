"""The network stream of httpcore: a socket, plain or with TLS, which shows whether it may carry another request."""

from __future__ import annotations

import functools
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import httpcore2

from .deadline import CallDeadline

T = TypeVar("T")

_MAX_EARLY = 16 * 1024
"""Bytes that are received before a request is sent whole; the kernel holds the rest."""
_MAX_PIECE = 64 * 1024
"""Bytes of a request that are sent at once. Before each piece the connection is checked for early data."""


class UnsolicitedData(httpcore2.RemoteProtocolError):
    """The server sent data, or closed the connection, before a request: nothing of the request was sent."""


class Stream(httpcore2.NetworkStream):
    """A connected socket, plain or with TLS; each wait is bounded by the call's deadline."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._has_request = False
        """Whether the last operation was a write: a request is sent, and no part of its response is read."""
        self._early: bytes | None = None
        """Data that arrived before the request was sent whole; the next read returns it."""
        self.is_reusable = True
        """Whether the connection may carry another request. Data that arrives early ends that for good."""

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        """Reads up to `max_bytes` bytes; none at the end of the stream."""
        self._has_request = False
        if self._early is not None:
            early, self._early = self._early, None
            return early
        try:
            return self._retry_until_ready(functools.partial(self._socket.recv, max_bytes), timeout, select.POLLIN)
        except OSError as error:
            raise httpcore2.ReadError(_reason(error)) from None

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        """Sends all bytes. Raises UnsolicitedData if the server sent data before the request."""
        sent = 0
        try:
            while sent < len(buffer):
                piece = memoryview(buffer)[sent : sent + _MAX_PIECE]
                sent += self._retry_until_ready(functools.partial(self._send, piece), timeout, select.POLLOUT)
        except OSError as error:
            raise httpcore2.WriteError(_reason(error)) from None

    def _send(self, piece: memoryview) -> int:
        self._receive_early()
        return self._socket.send(piece)

    def _receive_early(self) -> None:
        """Receives what the server sends before the request is sent whole.

        Data before the first byte of a request is no response to it (RFC 9112 section 9.2). A response before the last
        byte leaves open whether the server reads the rest of the request as its body or as the next request.
        """
        if not self.is_reusable:
            return
        try:
            early = self._socket.recv(_MAX_EARLY)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._has_request = True
            return
        except OSError as error:
            self.is_reusable = False
            if self._has_request:
                raise
            raise UnsolicitedData(_reason(error)) from None
        self.is_reusable = False
        if not self._has_request:
            raise UnsolicitedData("the server sent data before the request" if early else "the server disconnected")
        self._early = early

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Any = None
    ) -> httpcore2.NetworkStream:
        """Starts TLS on the connection; verifies that the certificate is for `server_hostname`."""
        name = (server_hostname or "").strip("[]")
        try:
            # A TCP connection that ends without TLS's closure alert is an error. Otherwise an attacker on the network
            # could end a body that has no length (RFC 9112 section 9.8).
            self._socket = ssl_context.wrap_socket(
                self._socket, server_hostname=name, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            self._retry_until_ready(self._socket.do_handshake, timeout, select.POLLIN)
            timeout.end_connect()
        except (OSError, ValueError) as error:
            self.close()
            raise httpcore2.ConnectError(f"{name}: {_reason(error)}") from None
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Closes the socket at once."""
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        """Answers httpcore's `is_readable`, by which it finds idle connections that it may not use again, and
        `ssl_object`."""
        if info == "is_readable":
            return not self.is_reusable or self._is_readable()
        return self._socket if info == "ssl_object" and isinstance(self._socket, ssl.SSLSocket) else None

    def _is_readable(self) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True  # of a TLS record that was read in part
        # A server with Nagle's algorithm sends surplus data after its last segment is acknowledged. A delayed
        # acknowledgement would go out with the next request, and the surplus data would arrive as the response to it.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def _retry_until_ready(self, operation: Callable[[], T], deadline: CallDeadline, events: int) -> T:
        while True:
            deadline.check()
            try:
                return operation()
            except ssl.SSLWantReadError:
                deadline.until_readable(self._socket.fileno())
            except ssl.SSLWantWriteError:
                deadline.until_writable(self._socket.fileno())
            except BlockingIOError:
                deadline.until_ready(self._socket.fileno(), events)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return getattr(error, "strerror", None) or str(error)
