"""X.509 certificates of the server: their names and validity, and the order of a chain (RFC 5280, RFC 8446 4.4.2)."""

from __future__ import annotations

import _ssl
import contextlib
import os
import ssl
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

EXPIRES_SOON = 14 * 86400.0
"""Seconds before `not_after` from which a certificate is reported."""


class X509(NamedTuple):
    """The fields of a certificate that order and validity depend on; times in seconds since the epoch."""

    subject: object
    issuer: object
    not_before: float
    not_after: float

    @property
    def name(self) -> str:
        """The last part of the subject, usually the common name; empty without a subject."""
        parts = self.subject
        return str(parts[-1][-1][-1]) if isinstance(parts, tuple) and parts and parts[-1] else ""

    def fault(self, now: float) -> str | None:
        """Why a client refuses the certificate at the time `now`, or will within EXPIRES_SOON; None if neither."""
        name = f' of "{self.name}"' if self.name else ""
        if now < self.not_before:
            return f"the certificate{name} is not valid before {_date(self.not_before)}; clients refuse it until then"
        if now >= self.not_after:
            return f"the certificate{name} expired on {_date(self.not_after)}, and clients refuse it; renew it"
        if now >= self.not_after - EXPIRES_SOON:
            days = int((self.not_after - now) // 86400)
            left = "in less than a day" if days < 1 else "in a day" if days == 1 else f"in {days} days"
            return f"the certificate{name} expires {left}, on {_date(self.not_after)}; renew it"
        return None


def decode(pem: bytes) -> X509 | None:
    """Decodes a certificate that OpenSSL has read; None if Python cannot decode a field of it.

    The ssl module has no public function that decodes a certificate outside of a handshake.
    """
    with memory_file(pem) as path, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a kind of name that Python does not know
        try:
            fields = _ssl._test_decode_cert(path)  # type: ignore[attr-defined]
            times = [ssl.cert_time_to_seconds(str(fields[key])) for key in ("notBefore", "notAfter")]
        except (OSError, ValueError, KeyError):
            return None
    return X509(fields.get("subject"), fields.get("issuer"), float(times[0]), float(times[1]))


def in_order(leaf: bytes, others: Sequence[bytes]) -> list[bytes]:
    """The chain of `leaf`: each certificate is followed by that of its issuer, and the last one by unrelated ones."""
    decoded = {pem: decode(pem) for pem in (leaf, *others)}
    chain, rest = [leaf], [pem for pem in dict.fromkeys(others) if pem != leaf]
    while (last := decoded[chain[-1]]) and last.issuer != last.subject:
        found = next((pem for pem in rest if (one := decoded[pem]) and one.subject == last.issuer), None)
        if found is None:
            break
        rest.remove(found)
        chain.append(found)
    return [*chain, *rest]


@contextlib.contextmanager
def memory_file(data: bytes) -> Iterator[str]:
    """The path of a file in memory (memfd_create(2)): OpenSSL only reads files."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _date(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return f"{seconds:.0f} s since 1970"
