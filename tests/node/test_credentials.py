"""Credentials whose files others renew: kubeadm, cert-manager, a projected volume."""

from __future__ import annotations

import asyncio
import base64
import logging
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import Cluster, User

from tests.support.kubernetes_api import ConnectedApi, MemoryApi
from tests.support.signer import signed
from wagi_gateway.errors import Problem, StartupError
from wagi_gateway.node.api import CERTIFICATE_SIGNING_REQUESTS, ApiUnreachable
from wagi_gateway.node.credentials import ApiCredentials, authority, certificate
from wagi_gateway.node.signing import CLIENT_SIGNER, Names, requested


def certificate_of_age(age: timedelta) -> bytes:
    """A key and a certificate that was valid for a day."""
    api = MemoryApi()
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = partial(signed, age=age)
    return asyncio.run(requested(api, CLIENT_SIGNER, Names("n")))


class Enough(Exception):
    """The end of a test that sleeps."""


class Files:
    """A kubeconfig and the files that it names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.token: str | None = None
        self.problem: Problem | None = None
        for name in ("ca.crt", "client.crt", "client.key"):
            (directory / name).write_text(f"first {name}")

    def read(self) -> SingleConfig:
        if self.problem:
            raise StartupError(self.problem)
        user = User(token=self.token, client_cert="client.crt", client_key="client.key")
        cluster = Cluster(server="https://127.0.0.1:6443", certificate_auth="ca.crt")
        return cast(SingleConfig, KubeConfig.from_one(cluster=cluster, user=user, fname=self.directory / "k").get())


@pytest.mark.parametrize("name", ["ca.crt", "client.crt", "client.key"])
def test_a_file_that_has_changed_is_taken_once(tmp_path: Path, name: str) -> None:
    api, files = ConnectedApi(), Files(tmp_path)
    credentials = ApiCredentials(api, files.read)
    asyncio.run(credentials.refresh())
    assert api.loaded == []
    (tmp_path / name).write_text("second")
    for _ in range(2):
        asyncio.run(credentials.refresh())
    assert api.loaded == [files.read()]
    assert credentials.authority == (tmp_path / "ca.crt").read_bytes()


def test_a_token_that_has_changed_is_taken(tmp_path: Path) -> None:
    api, files = ConnectedApi(), Files(tmp_path)
    credentials = ApiCredentials(api, files.read)
    files.token = "second"
    asyncio.run(credentials.refresh())
    assert [one.user and one.user.token for one in api.loaded] == ["second"]


def test_files_that_are_half_written_are_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A certificate whose key is not there yet, and a kubeconfig that is empty for a moment."""
    api, files = ConnectedApi(), Files(tmp_path)
    credentials = ApiCredentials(api, files.read)
    (tmp_path / "client.crt").write_text("second")
    api.failures = [ApiUnreachable("the kubeconfig: key values mismatch")]
    asyncio.run(credentials.refresh())
    files.problem = Problem("k", "is not a kubeconfig")
    asyncio.run(credentials.refresh())
    assert api.loaded == []
    assert [one.message for one in caplog.records if one.levelno == logging.WARNING] == [
        "the credentials for the API server are not read anew: the kubeconfig: key values mismatch",
        "the credentials for the API server are not read anew: k: is not a kubeconfig",
    ]
    files.problem = None
    asyncio.run(credentials.refresh())
    assert len(api.loaded) == 1


def test_the_files_are_read_each_minute(tmp_path: Path) -> None:
    api, files, sleeps = ConnectedApi(), Files(tmp_path), list[float]()

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        files.token = str(len(sleeps))
        if len(sleeps) == 3:
            raise Enough

    with pytest.raises(Enough):
        asyncio.run(ApiCredentials(api, files.read).keep(sleep))
    assert (sleeps, len(api.loaded)) == ([60.0] * 3, 2)


def test_an_expired_certificate_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the start, and when it expires while the node runs."""
    api, files = ConnectedApi(), Files(tmp_path)
    for _ in range(2):
        (tmp_path / "client.crt").write_bytes(certificate_of_age(timedelta(days=2)))
        credentials = ApiCredentials(api, files.read)
        for _ in range(2):
            asyncio.run(credentials.refresh())
    (tmp_path / "client.crt").write_bytes(certificate_of_age(timedelta(hours=1)))
    asyncio.run(credentials.refresh())
    said = [one.message for one in caplog.records if one.levelno == logging.ERROR]
    assert len(said) == 2
    assert all(one.startswith("the client certificate of the kubeconfig expired at 2") for one in said)


def test_content_comes_before_a_file() -> None:
    cluster = Cluster(certificate_auth_data=base64.b64encode(b"here").decode(), certificate_auth="missing.crt")
    config = cast(SingleConfig, KubeConfig.from_one(cluster=cluster).get())
    assert authority(config) == b"here"


def test_a_kubeconfig_without_a_certificate_has_none(tmp_path: Path) -> None:
    cluster = Cluster(certificate_auth="missing.crt")
    config = cast(SingleConfig, KubeConfig.from_one(cluster=cluster, user=User(), fname=tmp_path / "k").get())
    assert authority(config) is None
    assert certificate(config) is None
    assert certificate(config._replace(user=None)) is None
