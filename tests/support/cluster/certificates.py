"""Certificates and kubeconfig files of a test cluster."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = dt.timedelta(days=2)
_AGE = dt.timedelta(minutes=5)
_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """A certificate authority, whose files are `ca.crt` and `ca.key` in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("cluster tests", ())
        certificate = self._builder(self._name, self._key.public_key(), ca=True).add_extension(_SIGNS, critical=True)
        self._write("ca", certificate, self._key)

    @property
    def certificate(self) -> Path:
        """The certificate of the authority."""
        return self._directory / "ca.crt"

    def client(self, file: str, user: str, *groups: str) -> None:
        """Writes `FILE.crt` and `FILE.key` for a user with groups."""
        self._issue(file, _name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, ())

    def server(self, file: str, *hosts: str) -> None:
        """Writes `FILE.crt` and `FILE.key` for a server with host names or IP addresses."""
        self._issue(file, _name(hosts[0], ()), ExtendedKeyUsageOID.SERVER_AUTH, hosts)

    def _issue(self, file: str, name: x509.Name, usage: x509.ObjectIdentifier, hosts: tuple[str, ...]) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(name, key.public_key(), ca=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([*map(_general_name, hosts)]), critical=False)
        self._write(file, builder, key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        signer = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _AGE)
            .not_valid_after(now + _LIFE)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            # Python 3.13 and later requires both identifiers.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
        )

    def _write(self, file: str, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> None:
        certificate = builder.sign(self._key, hashes.SHA256())
        (self._directory / f"{file}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        _write_key(self._directory / f"{file}.key", key)


def write_signing_key(directory: Path) -> None:
    """Writes `sa.key` and `sa.pub`, which sign the tokens of ServiceAccounts."""
    key = rsa.generate_private_key(65537, 2048)
    _write_key(directory / "sa.key", key)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (directory / "sa.pub").write_bytes(public)


def write_kubeconfig(path: Path, server: str, ca_file: Path, user: dict[str, str]) -> Path:
    """Writes a kubeconfig with one context; `user` has a token, or the paths of a certificate and its key."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": str(ca_file)}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(json.dumps(config))  # JSON is YAML
    path.chmod(0o600)
    return path


def _name(common_name: str, organizations: tuple[str, ...]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
