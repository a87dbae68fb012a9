"""Certificates: what is asked of the cluster's signers, how long it is waited for, and when it is renewed."""

from __future__ import annotations

import asyncio
import base64
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.kubernetes_api import MemoryApi
from tests.support.signer import signed
from wagi_gateway.node import signing
from wagi_gateway.node.api import CERTIFICATE_SIGNING_REQUESTS, ApiUnreachable, Object
from wagi_gateway.node.signing import CLIENT_SIGNER, SERVING_SIGNER, Names, NotSigned, Validity

NAMES = Names("n", ("10.0.0.1", "fd00::1"))


def obtained(api: MemoryApi, signer: str = CLIENT_SIGNER, names: Names = NAMES) -> tuple[bytes, list[float]]:
    """The key and certificate, and the pauses between the looks at the request."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        (request,) = api.objects(CERTIFICATE_SIGNING_REQUESTS)
        if len(pauses) == 6:  # the administrator approves
            api.put(CERTIFICATE_SIGNING_REQUESTS, signed(request))

    return asyncio.run(signing.requested(api, signer, names, sleep=sleep)), pauses


@pytest.mark.parametrize(
    ("signer", "names", "usage"),
    [(CLIENT_SIGNER, Names("n"), "client auth"), (SERVING_SIGNER, NAMES, "server auth")],
)
def test_a_request_is_what_the_signer_accepts(signer: str, names: Names, usage: str) -> None:
    api = MemoryApi()
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = signed
    pem, pauses = obtained(api, signer, names)
    assert pauses == []
    (request,) = api.objects(CERTIFICATE_SIGNING_REQUESTS)
    assert request["spec"]["signerName"] == signer
    assert request["spec"]["usages"] == ["digital signature", usage]
    csr = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
    assert csr.subject.rfc4514_string() == "CN=system:node:n,O=system:nodes"
    assert len(csr.extensions) == bool(names.addresses)
    assert signing.common_name(pem) == "system:node:n"


def test_an_approval_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    pem, pauses = obtained(MemoryApi())
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert caplog.text.count("kubectl certificate approve wagi-client-n-") == 1


def test_an_api_server_that_is_away_costs_no_second_request() -> None:
    api = MemoryApi()

    async def sleep(_: float) -> None:
        if not api.failures and len(api.calls) == 1:
            api.failures.append(ApiUnreachable("away"))
        else:
            (request,) = api.objects(CERTIFICATE_SIGNING_REQUESTS)
            api.put(CERTIFICATE_SIGNING_REQUESTS, signed(request))

    assert asyncio.run(signing.requested(api, CLIENT_SIGNER, NAMES, sleep=sleep))
    assert [verb for verb, _, _ in api.calls] == ["create", "get", "get"]


def refused(kind: str) -> Callable[[Object], Object]:
    condition = {"type": kind, "reason": "No", "message": "never", "status": "True"}
    return lambda request: request | {"status": {"conditions": [condition]}}


@pytest.mark.parametrize("kind", ["Denied", "Failed"])
def test_a_refusal_has_its_reason(kind: str) -> None:
    api = MemoryApi()
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = refused(kind)
    with pytest.raises(NotSigned, match=f"wagi-client-n-.* is not signed: {kind}: No never"):
        obtained(api)


def test_a_self_signed_certificate_has_the_names_of_the_node() -> None:
    pem = signing.self_signed(NAMES)
    assert signing.names_of(pem) == NAMES
    assert not Validity.of(pem).is_over
    assert Validity.of(pem).end - datetime.now(UTC) > timedelta(days=300)


def test_the_longest_name_of_a_node_is_possible() -> None:
    name = ".".join(["a" * 60] * 4)
    assert signing.common_name(signing.self_signed(Names(name))) == f"system:node:{name}"


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_what_is_no_certificate_has_no_name(pem: bytes) -> None:
    assert signing.common_name(pem) == ""
    with pytest.raises(ValueError, match=r"\w"):
        Validity.of(pem)


def test_a_client_certificate_is_none_of_a_server() -> None:
    api = MemoryApi()
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = signed
    pem, _ = obtained(api, names=Names("n"))
    with pytest.raises(ValueError, match="SubjectAlternativeName"):
        signing.names_of(pem)


def test_a_certificate_is_renewed_in_the_last_third_of_its_life() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    life = Validity(begin, begin + timedelta(days=100))
    days = {(life.renewal() - begin).days for _ in range(200)}
    assert 70 <= min(days) < max(days) <= 90
    assert not Validity(begin, datetime.now(UTC) + timedelta(hours=1)).is_over
    assert life.is_over == (datetime.now(UTC) > life.end)


def test_a_key_is_readable_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "client.pem"
    for content in (b"a", b"b"):
        signing.store(path, content)
        assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
