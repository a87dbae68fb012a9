"""The operator's proxy for outbound calls."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import ada_url

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy: requests for http are sent to it, those for https through a tunnel (RFC 9110 section 9.3.6)."""

    host: str
    port: int
    fields: Fields
    """What it wants to see in the header of each request."""

    @classmethod
    def parse(cls, text: str) -> Proxy:
        """Reads `http://[user:password@]host[:port]`. Raises ValueError, without the text and its password."""
        problem = 'not a proxy; write for example "http://proxy.example.com:3128"'
        try:
            url = ada_url.URL(text)
        except ValueError:
            raise ValueError(problem) from None
        if url.protocol != "http:" or url.pathname != "/" or url.search or url.hash:
            raise ValueError(problem)
        fields: Fields = []
        if url.username or url.password:
            credentials = unquote_to_bytes(url.username) + b":" + unquote_to_bytes(url.password)
            fields.append((b"proxy-authorization", b"Basic " + b64encode(credentials)))
        return cls(url.hostname.strip("[]"), int(url.port or 80), fields)
