"""TLS: the certificate of the server, and the verification of other servers' certificates."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from pathlib import Path

from .config.settings import ServerConfig
from .errors import Problem, StartupError
from .x509 import X509, decode, in_order, memory_file

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(
    rb"-----BEGIN (?P<encrypted>ENCRYPTED )?(?:(?!OPENSSH)[A-Z]+ )?PRIVATE KEY-----"
    rb"(?P<header>\s+Proc-Type: 4,ENCRYPTED)?.*?-----END [A-Z ]*PRIVATE KEY-----",
    re.DOTALL,
)
_CONVERTIBLE = (
    (
        re.compile(rb"-----BEGIN (?:TRUSTED|X509) CERTIFICATE-----"),
        "holds a certificate in a form of OpenSSL's own; convert it: openssl x509 -in {file} -out NEW.pem",
    ),
    (
        re.compile(rb"-----BEGIN (?:PKCS7|CMS)-----"),
        "holds PKCS#7; convert it: openssl pkcs7 -print_certs -in {file} -out NEW.pem",
    ),
    (
        re.compile(rb"-----BEGIN OPENSSH PRIVATE KEY-----"),
        "holds a key in the form of OpenSSH; convert it: ssh-keygen -p -m PEM -f {file}",
    ),
    (
        re.compile(rb"\A0[\x80-\x84].{0,4}\x02\x01\x03", re.DOTALL),
        "is PKCS#12; convert it: openssl pkcs12 -in {file} -nodes -out NEW.pem",
    ),
    (
        re.compile(rb"\A0(?:[\x80-\x84]|.\x02\x01)", re.DOTALL),
        "is in DER form; convert it to PEM: openssl {command} -inform DER -in {file}",
    ),
    (re.compile(rb"\A(?:\xff\xfe|\xfe\xff)"), "is UTF-16 text; save it as UTF-8"),
)
"""Forms of certificates and keys that are not read, and the command that converts each."""
_OTHER_CONTENT = {
    "tls_cert": (
        (re.compile(rb"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----"), "it holds the request for one"),
        (re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "it holds a private key, which belongs into tls_key"),
    ),
    "tls_key": (
        (re.compile(rb"-----BEGIN [A-Z ]*PUBLIC KEY-----"), "it holds a public key"),
        (re.compile(rb"-----BEGIN CERTIFICATE-----"), "it holds a certificate, which belongs into tls_cert"),
    ),
}
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""OpenSSL's reasons for a key of another certificate; the last one for a key of another kind, such as RSA and EC."""
_WEAK = {
    "EE_KEY_TOO_SMALL": "the certificate's key is too small",
    "CA_KEY_TOO_SMALL": "the key of an authority in the chain is too small",
    "CA_MD_TOO_WEAK": "a certificate in the chain has a weak signature, such as SHA-1",
}
"""OpenSSL's reasons for a certificate below the system's security level."""


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

    The certificates may be in any order: the text begins with that of the key.

    Raises StartupError, whose problem names the file.
    """
    certificate = settings.tls_cert
    if certificate is None:
        raise StartupError(Problem("", f'server.tls_key = "{settings.tls_key}": there is no server.tls_cert beside it'))
    pem = _read("tls_cert", certificate, base)
    chain = _CERTIFICATE.findall(pem)
    if other := _other_form("tls_cert", certificate, pem, is_needed=not chain):
        raise _refusal("tls_cert", certificate, other)
    name, file = ("tls_key", settings.tls_key) if settings.tls_key else ("tls_cert", certificate)
    key = _read(name, file, base) if settings.tls_key else pem
    found = _KEY.search(key)
    if not found:
        hint = "there is no private key in it (PEM); name its file in server.tls_key"
        other = _other_form("tls_key", file, key, is_needed=True) if settings.tls_key else hint
        raise _refusal(name, file, other or hint)
    if found["encrypted"] or found["header"]:
        what = "the private key has a passphrase, which the gateway cannot ask for"
        raise _refusal(name, file, f"{what}: openssl pkey -in {file} -out NEW.pem")
    try:
        _server_context().load_verify_locations(cadata=b"\n".join(chain).decode("ascii"))
    except (ssl.SSLError, ValueError):
        what = "the certificate is damaged, or of a kind that OpenSSL does not know"
        raise _refusal("tls_cert", certificate, what) from None
    try:
        leaf = _leaf(found[0], chain)
    except ssl.SSLError as error:
        if weakness := _WEAK.get(error.reason):
            what = f"{weakness} for the security level of this system's OpenSSL; have another one issued"
            raise _refusal("tls_cert", certificate, f"{what} (RSA with 2048 bits, or EC P-256)") from None
        raise _refusal(name, file, "the private key is damaged, or of a kind that OpenSSL does not know") from None
    if leaf is None:
        raise _refusal(name, file, f"the private key is not that of the certificate in {certificate}")
    return b"\n".join((found[0], *in_order(leaf, chain), b""))


def certificates(pem: bytes) -> list[X509]:
    """The decoded certificates of a result of `read`, in its order."""
    return [found for one in _CERTIFICATE.findall(pem) if (found := decode(one))]


def _leaf(key: bytes, chain: list[bytes]) -> bytes | None:
    """The certificate of a private key; None if it is not in the chain. Raises ssl.SSLError."""
    for certificate in chain:
        try:
            _load(_server_context(), b"\n".join((key, certificate, *chain, b"")))
        except ssl.SSLError as error:
            if error.reason not in _MISMATCHES:
                raise
        else:
            return certificate
    return None


def _other_form(name: str, file: str, data: bytes, *, is_needed: bool) -> str | None:
    """What is wrong with the form of a file; with `is_needed` there is no certificate, or key, in PEM form in it."""
    for pattern, advice in _CONVERTIBLE:
        if pattern.search(data):
            return advice.format(file=file, command="x509" if name == "tls_cert" else "pkey")
    if not is_needed:
        return None
    missing = f"there is no {'certificate' if name == 'tls_cert' else 'private key'} in it (PEM)"
    content = "it is empty" if not data.strip() else None
    for pattern, words in _OTHER_CONTENT[name]:
        content = content or (words if pattern.search(data) else None)
    return f"{missing}; {content}" if content else missing


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Loads a certificate chain and its key into a context. Raises ssl.SSLError.

    The checked text goes into a file in memory, because a renewal may be writing the files of the configuration.
    """
    with memory_file(pem) as path:
        context.load_cert_chain(path)


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
