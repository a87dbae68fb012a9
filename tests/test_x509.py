"""The decoder of certificates, and the words for their validity."""

from __future__ import annotations

import pytest
import trustme

from wagi_gateway.x509 import X509, decode, in_order

DAY = 86400.0


def test_decode() -> None:
    pem = trustme.CA().issue_cert("a.example", common_name="a.example").cert_chain_pems[0].bytes()
    found = decode(pem)
    assert found
    assert found.name == "a.example"
    assert found.not_before < found.not_after


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_cannot_be_decoded(pem: bytes) -> None:
    assert decode(pem) is None
    assert in_order(pem, [b"x", pem, b"x"]) == [pem, b"x"]


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (-1.0, "is not valid before 1970-01-01 00:00:00 UTC"),
        (0.0, None),
        (86.0 * DAY - 1, None),
        (86.0 * DAY, "expires in 14 days, on 1970-04-11 00:00:00 UTC"),
        (98.5 * DAY, "expires in a day, on"),
        (99.5 * DAY, "expires in less than a day, on"),
        (100.0 * DAY, "expired on 1970-04-11 00:00:00 UTC"),
    ],
)
def test_validity(now: float, what: str | None) -> None:
    found = X509(((("commonName", "a"),),), (), 0.0, 100 * DAY).fault(now)
    assert (found is None) == (what is None)
    assert found is None or f'the certificate of "a" {what}' in found


def test_two_authorities_that_issue_each_other_make_no_endless_chain() -> None:
    first, second = trustme.CA(), trustme.CA()
    chain = [first.cert_pem.bytes(), second.cert_pem.bytes()]
    assert in_order(chain[0], chain * 3) == chain
