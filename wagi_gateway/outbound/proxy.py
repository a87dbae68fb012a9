"""The operator's proxy for outbound calls."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import ada_url

from .request import Fields


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy: it forwards http requests and opens tunnels for https (RFC 9110 section 9.3.6)."""

    host: str
    port: int
    fields: Fields
    """`Proxy-Authorization`, if the proxy has credentials."""

    @classmethod
    def parse(cls, text: str) -> Proxy:
        """Parses `http://[user:password@]host[:port]`. Raises ValueError, whose message has no part of the text."""
        problem = 'not a proxy; write for example "http://proxy.example.com:3128"'
        try:
            url = ada_url.URL(text)
        except ValueError:
            raise ValueError(problem) from None
        if url.protocol != "http:" or url.pathname != "/" or url.search or url.hash:
            raise ValueError(problem)
        fields: list[tuple[bytes, bytes]] = []
        if url.username or url.password:
            credentials = unquote_to_bytes(url.username) + b":" + unquote_to_bytes(url.password)
            fields.append((b"proxy-authorization", b"Basic " + b64encode(credentials)))
        return cls(url.hostname.strip("[]"), int(url.port or 80), fields)
