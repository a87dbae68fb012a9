"""A connection through a proxy to the other side."""

from __future__ import annotations

from typing import Any

import h11
import httpcore2

from .proxy import Proxy

_READ = 16 * 1024


def open_tunnel(stream: httpcore2.NetworkStream, proxy: Proxy, authority: str, patience: Any) -> None:
    """Asks the proxy at the other end of `stream` for a tunnel. Raises httpcore2.ProxyError, and what the stream does.

    httpcore's own tunnels stay in its pool for ever when TLS fails inside them.
    """
    connection = h11.Connection(h11.CLIENT)
    headers = [(b"host", authority.encode()), *proxy.fields]
    request = h11.Request(method="CONNECT", target=authority, headers=headers)
    stream.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""), patience)
    try:
        while not isinstance(event := connection.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                connection.receive_data(stream.read(_READ, patience))
            elif not isinstance(event, h11.InformationalResponse):
                raise httpcore2.ProxyError("the proxy closed the connection")
    except h11.RemoteProtocolError as error:
        raise httpcore2.ProxyError(f"the proxy does not speak HTTP: {error}") from None
    if not 200 <= event.status_code < 300:
        reason = bytes(event.reason).decode("latin-1")
        raise httpcore2.ProxyError(f"the proxy answered {event.status_code} {reason}".rstrip())
