"""The network backend of httpcore: connects to checked addresses, and waits no longer than the call's deadline.

Each `timeout` from httpcore is the call's CallDeadline, which `OutboundClient.send` passes in the request's extensions.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from typing import Any

import h11
import httpcore2

from .deadline import CallDeadline
from .destination import Address
from .errors import CallTimeout, DestinationNotAllowed
from .policy import Policy
from .proxy import Proxy
from .resolver import Resolver
from .stream import Stream

_MAX_READ = 16 * 1024

Dial = Callable[[Address, int, CallDeadline], socket.socket]


def dial(address: Address, port: int, deadline: CallDeadline) -> socket.socket:
    """Connects a socket. Raises OSError, CallTimeout, CallStopped."""
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (error := connection.connect_ex((str(address), port))) in (errno.EINPROGRESS, errno.EALREADY):
            deadline.until_writable(connection.fileno())
        if error not in (0, errno.EISCONN):
            raise OSError(error, os.strerror(error))
    except BaseException:
        connection.close()
        raise
    return connection


class Network(httpcore2.NetworkBackend):
    """The network backend of one module: resolves each name once and checks the addresses it connects to."""

    def __init__(self, policy: Policy, resolver: Resolver, *, proxy: Proxy | None = None, dial: Dial = dial) -> None:
        """With a `proxy`, every connection goes to the proxy, which resolves names itself."""
        self._policy = policy
        self._resolver = resolver
        self._proxy = proxy
        self._dial = dial

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Any = None,
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        """Connects to the first permitted address that accepts."""
        deadline: CallDeadline = timeout
        deadline.begin_connect()
        if self._proxy is None:
            stream = self._connect(host.strip("[]"), port, deadline, public_only=deadline.public_only)
        else:
            stream = self._connect(self._proxy.host, self._proxy.port, deadline, public_only=False)
        if not deadline.is_secure:
            deadline.end_connect()
        elif self._proxy:
            try:
                open_tunnel(stream, self._proxy, f"{host}:{port}", deadline)
            except BaseException:
                stream.close()
                raise
        return stream

    def _connect(self, host: str, port: int, deadline: CallDeadline, *, public_only: bool) -> Stream:
        failure: Exception | None = None
        addresses = self._resolver.resolve(host, deadline)
        for index, address in enumerate(addresses):
            deadline.begin_attempt(len(addresses) - index)
            try:
                if public_only:
                    self._policy.check_address(address)
                connection = self._dial(address, port, deadline)
            except DestinationNotAllowed as denied:
                failure = failure or denied
            except OSError as error:
                failure = httpcore2.ConnectError(f"{address}: {error.strerror or error}")
            except CallTimeout as error:
                failure = error
            else:
                deadline.end_attempt()
                return Stream(connection)
        raise failure or httpcore2.ConnectError(f"{host} has no address")


def open_tunnel(stream: httpcore2.NetworkStream, proxy: Proxy, authority: str, deadline: Any) -> None:
    """Requests a tunnel from the proxy (RFC 9110 section 9.3.6). Raises httpcore2.ProxyError and the stream's errors.

    Not httpcore's own tunnels: its tunnel connections stay in the pool for ever if TLS fails in them.
    """
    connection = h11.Connection(h11.CLIENT)
    headers = [(b"host", authority.encode()), *proxy.fields]
    request = h11.Request(method="CONNECT", target=authority, headers=headers)
    stream.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""), deadline)
    try:
        while not isinstance(event := connection.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                connection.receive_data(stream.read(_MAX_READ, deadline))
            elif not isinstance(event, h11.InformationalResponse):
                raise httpcore2.ProxyError("the proxy closed the connection")
    except h11.RemoteProtocolError as error:
        raise httpcore2.ProxyError(f"the proxy does not speak HTTP: {error}") from None
    if 200 <= event.status_code < 300 and connection.trailing_data[0]:
        raise httpcore2.ProxyError("the proxy sent data before the tunnel carried a request")
    if not 200 <= event.status_code < 300:
        reason = bytes(event.reason).decode("latin-1")
        raise httpcore2.ProxyError(f"the proxy answered {event.status_code} {reason}".rstrip())
