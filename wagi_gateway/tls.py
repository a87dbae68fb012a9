"""TLS: the certificate of the server, and the verification of other servers' certificates."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path

from .config.settings import ServerConfig
from .errors import Problem, StartupError

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(
    rb"-----BEGIN (?P<encrypted>ENCRYPTED )?(?:[A-Z]+ )?PRIVATE KEY-----(?P<header>\s+Proc-Type: 4,ENCRYPTED)?"
    rb".*?-----END [A-Z ]*PRIVATE KEY-----",
    re.DOTALL,
)


# The server's certificate


class Certificate:
    """The server's certificate with its key, and the SSL context of new connections, which a reload updates."""

    def __init__(self, pem: bytes) -> None:
        """`pem` is a result of `read`."""
        self.context = _server_context()
        self.renew(pem)

    def renew(self, pem: bytes) -> None:
        """Replaces the certificate for new connections."""
        _load(self.context, pem)


def read(settings: ServerConfig, base: Path) -> bytes:
    """Reads the key and the certificate chain as one PEM text, and checks that they belong together.

    Raises StartupError, whose problem names the file.
    """
    certificate = settings.tls_cert
    if certificate is None:
        raise StartupError(Problem("", f'server.tls_key = "{settings.tls_key}": there is no server.tls_cert beside it'))
    pem = _read("tls_cert", certificate, base)
    chain = _CERTIFICATE.findall(pem)
    if not chain:
        raise _refusal("tls_cert", certificate, "there is no certificate in it (PEM)")
    name, file = ("tls_key", settings.tls_key) if settings.tls_key else ("tls_cert", certificate)
    key = _read(name, file, base) if settings.tls_key else pem
    found = _KEY.search(key)
    if not found:
        hint = "" if settings.tls_key else "; name its file in server.tls_key"
        raise _refusal(name, file, f"there is no private key in it (PEM){hint}")
    if found["encrypted"] or found["header"]:
        raise _refusal(name, file, "the private key has a passphrase; nobody is there to type it")
    try:
        _server_context().load_verify_locations(cadata=b"\n".join(chain).decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise _refusal("tls_cert", certificate, "the certificate is damaged, or of a kind nobody knows") from None
    both = b"\n".join((found[0], *chain, b""))
    try:
        _load(_server_context(), both)
    except ssl.SSLError as error:
        is_other = error.reason == "KEY_VALUES_MISMATCH"
        what = "is not that of the certificate" if is_other else "is damaged, or of a kind nobody knows"
        raise _refusal(name, file, f"the private key {what}") from None
    return both


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Loads a certificate chain and its key into a context. Raises ssl.SSLError.

    OpenSSL only reads files. The checked text goes into a file in memory, because a renewal may be writing the files of
    the configuration.
    """
    with _memory_file(pem) as path:
        context.load_cert_chain(path)


@contextlib.contextmanager
def _memory_file(data: bytes) -> Iterator[str]:
    """The path of a file in memory (memfd_create(2))."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _read(name: str, file: str, base: Path) -> bytes:
    try:
        return (base / file).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _refusal(name, file, f"cannot be read: {reason}") from None


def _refusal(name: str, file: str, what: str) -> StartupError:
    return StartupError(Problem("", f'server.{name} = "{file}": {what}'))


# Certificates of the servers that the gateway connects to: registries, and hosts that guests call


class _ClientContext(ssl.SSLContext):
    """An SSL context that threads can share.

    HTTP clients set the ALPN protocols of the context again for each connection, which frees memory that OpenSSL may be
    copying for a connection of another thread.
    """

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Does nothing: `create_context` has set the protocols."""


def create_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Creates a client's context, which verifies certificates and host names.

    Trusted are the system's certificate authorities and those in `ca_file` (PEM). Raises ValueError if `ca_file` cannot
    be used.
    """
    context = _ClientContext(ssl.PROTOCOL_TLS_CLIENT)
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
