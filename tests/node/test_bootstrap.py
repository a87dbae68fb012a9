"""The bootstrap: the node's first certificate, its kubeconfig, and the rotation of its certificates."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import Cluster, User

from tests.support.kubernetes_api import MemoryApi
from tests.support.signer import signed
from wagi_gateway.errors import StartupError
from wagi_gateway.node import bootstrap as module
from wagi_gateway.node.api import CERTIFICATE_SIGNING_REQUESTS, ApiError, ApiUnreachable, Object
from wagi_gateway.node.options import NodeOptions
from wagi_gateway.node.signing import Validity

AUTHORITY = b"-----BEGIN CERTIFICATE-----\n"


def configuration(directory: Path, **cluster: object) -> SingleConfig:
    """A kubeconfig with a token."""
    server = Cluster(server="https://127.0.0.1:6443", **cluster)  # type: ignore[arg-type]
    config = KubeConfig.from_one(cluster=server, user=User(token="t"), fname=directory / "bootstrap").get()
    return cast(SingleConfig, config)


def options(directory: Path) -> NodeOptions:
    return NodeOptions(name="n", state_directory=directory, bootstrap_kubeconfig=directory / "bootstrap")


def bootstrapped(directory: Path, api: MemoryApi, config: SingleConfig | None = None) -> Object:
    """The kubeconfig of the node."""
    config = config or configuration(directory, certificate_auth_data=base64.b64encode(AUTHORITY).decode())
    asyncio.run(module.bootstrap(api, config, options(directory)))
    return dict(json.loads(module.kubeconfig_path(options(directory)).read_text()))


def signing(answer: Callable[[Object], Object] = signed) -> MemoryApi:
    api = MemoryApi()
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = answer
    return api


def test_a_node_gets_a_certificate_and_a_kubeconfig(tmp_path: Path) -> None:
    assert not module.has_identity(options(tmp_path))
    found = bootstrapped(tmp_path, signing())
    assert module.has_identity(options(tmp_path))
    path = str(tmp_path / "client.pem")
    assert found["users"][0]["user"] == {"client-certificate": path, "client-key": path}
    cluster = found["clusters"][0]["cluster"]
    assert cluster["server"] == "https://127.0.0.1:6443"
    assert base64.b64decode(cluster["certificate-authority-data"]) == AUTHORITY


def test_the_authority_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(AUTHORITY)
    found = bootstrapped(tmp_path, signing(), configuration(tmp_path, certificate_auth="ca.crt"))
    assert base64.b64decode(found["clusters"][0]["cluster"]["certificate-authority-data"]) == AUTHORITY


@pytest.mark.parametrize(("insecure", "expected"), [(True, {"insecure-skip-tls-verify": True}), (False, {})])
def test_the_authority_may_be_left_out(tmp_path: Path, insecure: bool, expected: Object) -> None:
    found = bootstrapped(tmp_path, signing(), configuration(tmp_path, insecure=insecure))
    assert found["clusters"][0]["cluster"] == {"server": "https://127.0.0.1:6443"} | expected


def test_a_certificate_that_has_expired_is_no_identity(tmp_path: Path) -> None:
    bootstrapped(tmp_path, signing(partial(signed, age=timedelta(days=2))))
    assert not module.has_identity(options(tmp_path))


def test_a_damaged_certificate_is_no_identity(tmp_path: Path) -> None:
    bootstrapped(tmp_path, signing())
    module.certificate_path(options(tmp_path)).write_bytes(b"x")
    assert not module.has_identity(options(tmp_path))


def test_an_api_server_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0)
    api = signing()
    api.failures = [ApiUnreachable("away"), ApiError(403, "Forbidden", "")]
    bootstrapped(tmp_path, api)


def denied(request: Object) -> Object:
    return request | {"status": {"conditions": [{"type": "Denied"}]}}


@pytest.mark.parametrize(
    ("api", "failures", "what"),
    [
        (
            MemoryApi(),
            [ApiError(401, "Unauthorized", "")],
            "refuses its token; it may have expired: kubeadm token create",
        ),
        (signing(denied), [], "is not signed: Denied"),
    ],
    ids=["a token that expired", "a request that was denied"],
)
def test_a_refusal_is_final(tmp_path: Path, api: MemoryApi, failures: list[Exception], what: str) -> None:
    api.failures = failures
    with pytest.raises(StartupError, match=f"^{tmp_path}/bootstrap: .*{what}"):
        bootstrapped(tmp_path, api)


class Enough(Exception):
    """The end of a test that sleeps."""


@pytest.mark.parametrize("failures", [0, 2])
def test_a_certificate_is_renewed_before_it_expires(tmp_path: Path, failures: int) -> None:
    bootstrapped(tmp_path, signing(partial(signed, age=timedelta(hours=23))))
    path = tmp_path / "client.pem"
    before, api, sleeps, renewed = path.read_bytes(), MemoryApi(), list[float](), list[bytes]()
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = signed
    api.failures = [ApiUnreachable("away")] * failures

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if renewed:
            raise Enough

    async def renew() -> None:
        renewed.append(path.read_bytes())

    with pytest.raises(Enough):
        asyncio.run(module.rotate(api, options(tmp_path), renew, sleep=sleep))
    assert path.read_bytes() != before
    assert not Validity.of(path.read_bytes()).is_over
    assert renewed == [path.read_bytes()]
    assert sleeps == [60.0] * failures + [3600.0]


@pytest.mark.parametrize("age", [timedelta(days=2), timedelta(hours=23)], ids=["expired", "valid"])
def test_a_node_whose_certificate_has_expired_ends(tmp_path: Path, age: timedelta) -> None:
    """Once the API server has said that it takes it no more; its next start has the bootstrap token."""
    bootstrapped(tmp_path, signing(partial(signed, age=age)))
    api, sleeps = MemoryApi(), list[float]()
    api.failures = [ApiUnreachable("away"), ApiError(500, "InternalError", ""), ApiError(401, "Unauthorized", "")]

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            raise Enough

    async def renewed() -> None:
        raise AssertionError

    is_over = not module.has_identity(options(tmp_path))
    with pytest.raises(StartupError if is_over else Enough) as caught:
        asyncio.run(module.rotate(api, options(tmp_path), renewed, sleep=sleep))
    if is_over:
        text = f"{tmp_path}/client.pem: the node's certificate has expired, and the API server refuses it"
        assert str(caught.value).startswith(text)
        assert f"the token of {tmp_path}/bootstrap" in str(caught.value)
    assert sleeps == [60.0] * (2 if is_over else 3)


def test_a_certificate_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    sleeps = list[float]()

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 2:
            raise Enough

    async def renew() -> None:
        raise AssertionError

    with pytest.raises(Enough):
        asyncio.run(module.rotate(MemoryApi(), options(tmp_path), renew, sleep=sleep))
    assert sleeps == [60.0, 60.0]


def test_with_a_clock_that_is_ahead_a_certificate_is_not_requested_without_end(tmp_path: Path) -> None:
    old = partial(signed, age=timedelta(hours=23))
    bootstrapped(tmp_path, signing(old))
    api, sleeps, renewals = MemoryApi(), list[float](), list[None]()
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = old

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            raise Enough

    async def renewed() -> None:
        renewals.append(None)

    with pytest.raises(Enough):
        asyncio.run(module.rotate(api, options(tmp_path), renewed, sleep=sleep))
    assert (sleeps, len(renewals)) == ([3600.0] * 3, 3)


def test_a_set_clock_ends_a_sleep_within_an_hour() -> None:
    sleeps: list[float] = []

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            raise Enough

    with pytest.raises(Enough):
        asyncio.run(module.sleep_until(datetime.now(UTC) + timedelta(days=30), sleep))
    asyncio.run(module.sleep_until(datetime.now(UTC), sleep))
    assert sleeps == [3600.0] * 3
