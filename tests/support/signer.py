"""The signers of a cluster: certificates for CertificateSigningRequests."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from wagi_gateway.node.api import Object

_KEY = ec.generate_private_key(ec.SECP256R1())
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])


def signed(request: Object, age: timedelta = timedelta(minutes=5), life: timedelta = timedelta(days=1)) -> Object:
    """The request with its certificate, of this age, which is valid until the end of its life."""
    csr = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
    begin = datetime.now(UTC) - age
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(_NAME)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + life)
    )
    for extension in csr.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    pem = builder.sign(_KEY, hashes.SHA256()).public_bytes(Encoding.PEM)
    return request | {"status": {"certificate": base64.b64encode(pem).decode()}}
