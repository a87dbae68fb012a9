"""Reasons for header fields that become no meta-variable."""

from __future__ import annotations

from tests.support.recordings import head
from wagi_gateway.cgi import environ
from wagi_gateway.dev.withheld import REASONS, withheld_fields


def test_every_withheld_field_has_a_reason() -> None:
    assert {name.encode() for name in REASONS} == environ._WITHHELD


def test_fields_and_reasons() -> None:
    fields = [
        (b"proxy", b"1"),
        (b"x_y", b"1"),
        (b"a" * 300, b"1"),
        (b"a!b", b"1"),
        (b"x", b"1"),
        (b"authorization", b"1"),
    ]
    found = {field.name[:20]: field.reason for field in withheld_fields(head(fields=fields), pass_authorization=False)}
    assert "CVE-2016-5385" in found["proxy"]
    assert '"_"' in found["x_y"]
    assert "256 bytes" in found["a" * 20]
    assert "character" in found["a!b"]
    assert "pass_authorization" in found["authorization"]
    assert "x" not in found


def test_authorization_that_is_passed_is_not_withheld() -> None:
    request = head(fields=[(b"authorization", b"Basic x")])
    assert withheld_fields(request, pass_authorization=True) == []
