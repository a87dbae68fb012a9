"""Keys and certificates: requests to the cluster's signers, self-signed certificates, and when to renew them."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import os
import random
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import GatewayError
from ..observe.log import logger
from .api import CERTIFICATE_SIGNING_REQUESTS, Api, ApiUnreachable

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
_USAGES = {CLIENT_SIGNER: "client auth", SERVING_SIGNER: "server auth"}
_SELF_SIGNED = timedelta(days=365)
_MAX_POLL = 10.0
_FIRST_RENEWAL = 0.7
"""The part of its life after which a certificate may be renewed."""


class NotSigned(GatewayError):
    """The cluster has denied a request for a certificate, or failed to sign it."""


class Names(NamedTuple):
    """Whom a certificate is for."""

    node: str
    addresses: Sequence[str] = ()
    """IP addresses; none for a client."""


async def requested(
    api: Api, signer: str, names: Names, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> bytes:
    """A new key and its certificate chain (PEM), by a CertificateSigningRequest; waits for approval without end.

    Raises NotSigned, ApiError and ApiUnreachable.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    kind = "client" if signer == CLIENT_SIGNER else "serving"
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": f"wagi-{kind}-{names.node[:200]}-"},
        "spec": {
            "request": base64.b64encode(_request(key, names)).decode(),
            "signerName": signer,
            "usages": ["digital signature", _USAGES[signer]],
        },
    }
    created = await api.create(CERTIFICATE_SIGNING_REQUESTS, body)
    name, pause, is_announced = created["metadata"]["name"], 0.1, False
    while True:
        status = created.get("status") or {}
        for condition in status.get("conditions") or []:
            if condition["type"] in ("Denied", "Failed"):
                what = f"{condition['type']}: {condition.get('reason', '')} {condition.get('message', '')}".strip()
                raise NotSigned(f"the certificate signing request {name} is not signed: {what}")
        if certificate := status.get("certificate"):
            return _private(key) + base64.b64decode(certificate)
        if pause > 1 and not is_announced:
            is_announced = True
            logger.warning("a certificate waits for approval: kubectl certificate approve %s", name)
        await sleep(pause)
        pause = min(pause * 2, _MAX_POLL)
        try:
            created = await api.get(CERTIFICATE_SIGNING_REQUESTS, name)
        except ApiUnreachable as error:  # the request is still there when the server is back
            logger.debug("the certificate signing request %s cannot be read: %s", name, error)


def self_signed(names: Names) -> bytes:
    """A new key and a certificate by itself for a server, valid for a year (PEM)."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = _subject(names)
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _SELF_SIGNED)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .add_extension(_alternative_names(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _private(key) + certificate.public_bytes(Encoding.PEM)


def common_name(pem: bytes) -> str:
    """The common name of the first certificate's subject; empty if there is none."""
    try:
        with _long_names():
            names = _first(pem).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return ""
    return str(names[0].value) if names else ""


def names_of(pem: bytes) -> Names:
    """The names of a server's certificate that `requested` or `self_signed` returned. Raises ValueError."""
    certificate = _first(pem)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise ValueError(str(error)) from None
    nodes = found.get_values_for_type(x509.DNSName)
    return Names(nodes[0] if nodes else "", tuple(map(str, found.get_values_for_type(x509.IPAddress))))


class Validity(NamedTuple):
    """The life of a certificate."""

    begin: datetime
    end: datetime

    @classmethod
    def of(cls, pem: bytes) -> Validity:
        """That of the first certificate. Raises ValueError."""
        certificate = _first(pem)
        return cls(certificate.not_valid_before_utc, certificate.not_valid_after_utc)

    @property
    def is_over(self) -> bool:
        """Whether the certificate has expired."""
        return datetime.now(UTC) >= self.end

    @property
    def is_due(self) -> bool:
        """Whether the certificate may be renewed."""
        return datetime.now(UTC) >= self.begin + (self.end - self.begin) * _FIRST_RENEWAL

    def renewal(self) -> datetime:
        """When to renew it: after 70 to 90 % of its life, at random, so that not all nodes come at once."""
        return self.begin + (self.end - self.begin) * random.uniform(_FIRST_RENEWAL, 0.9)  # noqa: S311


def store(path: Path, pem: bytes) -> None:
    """Writes a key with its certificate, whole or not at all, for the owner alone. Raises OSError."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(pem)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)


def _first(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem[max(0, pem.find(b"-----BEGIN CERTIFICATE-----")) :])


def _request(key: ec.EllipticCurvePrivateKey, names: Names) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(names))
    if names.addresses:
        builder = builder.add_extension(_alternative_names(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _subject(names: Names) -> x509.Name:
    """The subject of a node."""
    with _long_names():
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{names.node}", _validate=False),
            ]
        )


@contextmanager
def _long_names() -> Iterator[None]:
    """Has no warning of a common name of more than 64 characters, which breaks RFC 5280, but not Kubernetes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _alternative_names(names: Names) -> x509.SubjectAlternativeName:
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in names.addresses]
    return x509.SubjectAlternativeName([x509.DNSName(names.node), *addresses])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
