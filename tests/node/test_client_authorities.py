"""Whose certificates the node's API accepts, at the start and after a rotation."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster.certificates import Authority
from tests.support.kubernetes_api import ConnectedApi
from tests.support.node_identity import identity_of
from wagi_gateway.errors import StartupError
from wagi_gateway.node.api import CONFIG_MAPS, ApiError, ApiUnreachable, Object
from wagi_gateway.node.certificates import ServingCertificate
from wagi_gateway.node.client_authorities import ClientAuthorities
from wagi_gateway.node.events import Events
from wagi_gateway.node.node import NodeParts
from wagi_gateway.node.options import NodeOptions

ADDRESSES = ("127.0.0.1",)


class Enough(Exception):
    """The end of a test that sleeps."""


def authority(directory: Path, name: str) -> str:
    """The certificate (PEM) of a new authority."""
    (directory / name).mkdir()
    return Authority(directory / name).certificate.read_text()


def trusted(context: ssl.SSLContext) -> list[str]:
    """The authorities of a context."""
    return [ssl.DER_cert_to_PEM_cert(one) for one in context.get_ca_certs(binary_form=True)]


def parts(
    directory: Path, api: ConnectedApi, of_kubeconfig: str = "", *, is_node: bool = False, **more: object
) -> NodeParts:
    options = NodeOptions.model_validate({"name": "n", "state_directory": directory, **more})
    certificate = ServingCertificate(options, ADDRESSES, is_node=False)
    identity = identity_of(api, of_kubeconfig, is_node=is_node)
    return NodeParts(api, options, Events(api, "n"), ADDRESSES, certificate, identity)


def publish(api: ConnectedApi, data: Object | None) -> ConnectedApi:
    metadata = {"name": "extension-apiserver-authentication", "namespace": "kube-system"}
    api.put(CONFIG_MAPS, {"metadata": metadata, "data": data})
    return api


def read(given: NodeParts) -> str:
    return asyncio.run(ClientAuthorities(given).read())


@pytest.mark.parametrize(
    ("data", "expected"),
    [({"client-ca-file": "published"}, "published"), ({}, "of the kubeconfig"), (None, "of the kubeconfig")],
)
def test_the_authorities_of_clients(tmp_path: Path, data: Object | None, expected: str) -> None:
    assert read(parts(tmp_path, publish(ConnectedApi(), data), "of the kubeconfig")) == expected


def test_a_node_may_not_read_what_is_published(tmp_path: Path) -> None:
    api = publish(ConnectedApi(), {"client-ca-file": "published"})
    assert read(parts(tmp_path, api, "of the kubeconfig", is_node=True)) == "of the kubeconfig"
    assert api.calls == []


def test_a_file_comes_first(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("of the file")
    api = publish(ConnectedApi(), {"client-ca-file": "published"})
    assert read(parts(tmp_path, api, client_ca_file=tmp_path / "ca.crt")) == "of the file"


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"ca\.crt: client_ca_file cannot be read"):
        read(parts(tmp_path, ConnectedApi(), client_ca_file=tmp_path / "ca.crt"))


@pytest.mark.parametrize("is_known", [True, False])
def test_certificates_of_an_authority_are_accepted(
    tmp_path: Path, is_known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    given = parts(tmp_path, ConnectedApi(), authority(tmp_path, "one") if is_known else "")
    context = asyncio.run(ClientAuthorities(given).trust())
    assert context is given.certificate.context
    assert context.verify_mode == (ssl.CERT_OPTIONAL if is_known else ssl.CERT_NONE)
    assert ("accepts tokens alone" in caplog.text) == (not is_known)


class Rotation:
    """The file of the authorities, which changes before each read."""

    def __init__(self, path: Path, *steps: Callable[[], object]) -> None:
        self.path, self._steps = path, list(steps)
        self.trusted: list[list[str]] = []

    def run(self, given: NodeParts) -> None:
        async def sleep(_: float) -> None:
            if not self._steps:
                raise Enough
            self._steps.pop(0)()

        async def go() -> None:
            authorities = ClientAuthorities(given)
            await authorities.trust()
            await authorities.keep(lambda context: self.trusted.append(trusted(context)), sleep)

        with pytest.raises(Enough):
            asyncio.run(go())


def test_an_authority_is_added_and_the_earlier_one_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, one, two = tmp_path / "ca.crt", authority(tmp_path, "one"), authority(tmp_path, "two")
    path.write_text(one)
    given = parts(tmp_path, ConnectedApi(), client_ca_file=path)
    rotation = Rotation(
        path,
        lambda: path.write_text(one + two),
        lambda: path.write_text("half"),
        path.unlink,
        lambda: path.write_text(one + two),
        lambda: path.write_text(two),
    )
    rotation.run(given)
    assert [sorted(each) for each in rotation.trusted] == [sorted([one, two]), [two]]
    assert trusted(given.certificate.context) == [two]
    assert [line.message.partition(": ")[0] for line in caplog.records if line.levelname == "WARNING"] == [
        "the certificate authorities of clients are not read anew"
    ] * 2


@pytest.mark.parametrize("error", [ApiUnreachable("away"), ApiError(403, "Forbidden", "for a second")])
def test_an_api_server_that_is_away_changes_nothing(tmp_path: Path, error: Exception) -> None:
    """Those of the kubeconfig do not take the place of published ones."""
    one, two, other = (authority(tmp_path, name) for name in ("one", "two", "other"))
    api = publish(ConnectedApi(), {"client-ca-file": one})
    given = parts(tmp_path, api, other)
    rotation = Rotation(tmp_path, lambda: api.failures.append(error), lambda: publish(api, {"client-ca-file": two}))
    rotation.run(given)
    assert rotation.trusted == [[two]]
