"""Whom TLS trusts: the system's certificate authorities, and the operator's own."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path


class _Context(ssl.SSLContext):
    """One that threads can share: HTTP clients set its ALPN again for each connection, which frees what OpenSSL copies
    for another one at that moment."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Nothing: it was set once and for all."""


def create_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that verifies certificates and names, also against the authorities of `ca_file` (PEM).

    Raises ValueError, which says what is wrong with the file.
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    ssl.SSLContext.set_alpn_protocols(context, ["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except ssl.SSLError:
            raise ValueError(f"{ca_file} holds no certificate in PEM form") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{ca_file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return context
