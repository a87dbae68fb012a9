"""The operator's proxy for outbound calls."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

import ada_url


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy: requests for http go to it, those for https through it with CONNECT."""

    host: str
    port: int
    auth: tuple[str, str] | None

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
        auth = (unquote(url.username), unquote(url.password)) if url.username or url.password else None
        return cls(url.hostname, int(url.port or 80), auth)
