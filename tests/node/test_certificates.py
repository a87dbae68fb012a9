"""The certificate of the node's API: files, the cluster's signer, or itself, and each one's renewal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.signer import signed
from wagi_gateway.errors import StartupError
from wagi_gateway.node import signing
from wagi_gateway.node.api import CERTIFICATE_SIGNING_REQUESTS, ApiUnreachable, Object
from wagi_gateway.node.certificates import ServingCertificate
from wagi_gateway.node.options import NodeOptions
from wagi_gateway.node.signing import Names

ADDRESSES = ("127.0.0.1",)
NAMES = Names("n", ADDRESSES)


class Enough(Exception):
    """The end of a test that sleeps."""


class Kept:
    """A certificate that is kept for some sleeps."""

    def __init__(self, options: NodeOptions, *, is_node: bool, at: Callable[[int], object] = lambda _: None) -> None:
        self.sleeps: list[float] = []
        self._at = at
        self.certificate = ServingCertificate(options, ADDRESSES, is_node=is_node, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self._at(len(self.sleeps))

    def keep(self, api: MemoryApi) -> list[float]:
        with pytest.raises(Enough):
            asyncio.run(self.certificate.keep(api))
        return self.sleeps


def enough(after: int) -> Callable[[int], object]:
    def at(count: int) -> None:
        if count == after:
            raise Enough

    return at


def options(directory: Path, **more: object) -> NodeOptions:
    return NodeOptions.model_validate({"name": "n", "state_directory": directory, **more})


def signer() -> MemoryApi:
    api = MemoryApi()
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = signed
    return api


@pytest.mark.parametrize(
    ("source", "is_node", "requests"),
    [("auto", True, 1), ("auto", False, 0), ("requested", False, 1), ("self-signed", True, 0)],
)
def test_the_source_follows_from_option_and_identity(tmp_path: Path, source: str, is_node: bool, requests: int) -> None:
    api = signer()
    kept = Kept(options(tmp_path, serving_certificate=source), is_node=is_node, at=enough(1))
    assert kept.keep(api) == [3600.0]
    assert len(api.objects(CERTIFICATE_SIGNING_REQUESTS)) == requests


def test_a_signed_certificate_is_kept_for_the_next_start(tmp_path: Path) -> None:
    api = signer()
    Kept(options(tmp_path), is_node=True, at=enough(1)).keep(api)
    Kept(options(tmp_path), is_node=True, at=enough(1)).keep(api)
    assert len(api.objects(CERTIFICATE_SIGNING_REQUESTS)) == 1
    assert signing.names_of((tmp_path / "serving.pem").read_bytes()) == NAMES


@pytest.mark.parametrize(
    "pem",
    [b"x", signing.self_signed(Names("n", ("10.0.0.1",))), signing.self_signed(NAMES).split(b"-----BEGIN CERT")[0]],
    ids=["damaged", "of another address", "without a certificate"],
)
def test_a_kept_certificate_that_is_of_no_use_is_asked_for_again(tmp_path: Path, pem: bytes) -> None:
    (tmp_path / "serving.pem").write_bytes(pem)
    api = signer()
    Kept(options(tmp_path), is_node=True, at=enough(1)).keep(api)
    assert len(api.objects(CERTIFICATE_SIGNING_REQUESTS)) == 1


def test_a_signed_certificate_is_renewed_before_it_expires(tmp_path: Path) -> None:
    api = MemoryApi()
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = Ageing()
    assert Kept(options(tmp_path), is_node=True, at=enough(2)).keep(api) == [3600.0] * 2
    assert len(api.objects(CERTIFICATE_SIGNING_REQUESTS)) == 2


def test_with_a_clock_that_is_ahead_a_certificate_is_not_requested_without_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = MemoryApi()
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = partial(signed, age=timedelta(hours=23))
    assert Kept(options(tmp_path), is_node=True, at=enough(3)).keep(api) == [3600.0] * 3
    assert len(api.objects(CERTIFICATE_SIGNING_REQUESTS)) == 3
    assert "is the clock of this machine ahead?" in caplog.text


class Ageing:
    """A signer whose first certificate is nearly over."""

    def __init__(self) -> None:
        self._ages = [timedelta(hours=23), timedelta(minutes=5)]

    def __call__(self, request: Object) -> Object:
        return signed(request, age=self._ages.pop(0))


def test_a_self_signed_certificate_is_renewed_before_it_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "_SELF_SIGNED", timedelta(minutes=1))  # five minutes of its life are over
    shares = iter([0.7, 0.9])
    monkeypatch.setattr("random.uniform", lambda *_: next(shares))
    assert len(Kept(options(tmp_path), is_node=False, at=enough(1)).keep(MemoryApi())) == 1
    assert list(shares) == []


def test_a_request_that_fails_is_made_again_later(tmp_path: Path) -> None:
    api = signer()
    api.failures.append(ApiUnreachable("away"))
    assert Kept(options(tmp_path), is_node=True, at=enough(2)).keep(api) == [60.0, 3600.0]


def test_a_request_that_is_denied_is_made_again_much_later(tmp_path: Path) -> None:
    api = MemoryApi()
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = lambda body: body | {"status": {"conditions": [{"type": "Denied"}]}}
    assert Kept(options(tmp_path), is_node=True, at=enough(2)).keep(api) == [3600.0, 3600.0]


def test_a_full_disk_does_not_keep_a_certificate_from_being_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "serving.new").mkdir()
    Kept(options(tmp_path), is_node=True, at=enough(1)).keep(signer())
    assert "cannot be kept for the next start" in caplog.text


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """`tls_cert` and `tls_key` in one file each."""
    pem = signing.self_signed(NAMES)
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    split = pem.index(b"-----BEGIN CERTIFICATE")
    key.write_bytes(pem[:split])
    certificate.write_bytes(pem[split:])
    return {"tls_cert": certificate, "tls_key": key}


def test_files_are_read_again_when_they_change(
    tmp_path: Path, files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    both = signing.self_signed(NAMES)

    def at(count: int) -> None:
        if count == 1:
            files["tls_cert"].write_bytes(b"")
        elif count == 2:
            files["tls_cert"].write_bytes(both)
            files["tls_key"].write_bytes(both)
        elif count == 4:
            raise Enough

    kept = Kept(options(tmp_path, **files), is_node=True, at=at)
    assert kept.keep(MemoryApi()) == [60.0] * 4
    assert caplog.text.count("is not renewed: tls_cert") == 1
    assert caplog.text.count("has been read anew") == 1
    assert not (tmp_path / "serving.pem").exists()


def test_a_file_that_holds_none_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    files["tls_cert"].write_bytes(b"")
    with pytest.raises(StartupError, match=r"^tls_cert = .*tls\.crt\": there is no certificate in it"):
        Kept(options(tmp_path, **files), is_node=True)


def test_one_file_may_hold_both(tmp_path: Path) -> None:
    path = tmp_path / "both.pem"
    path.write_bytes(signing.self_signed(NAMES))
    assert Kept(options(tmp_path, tls_cert=path), is_node=True).certificate.context
