"""The parts of a node: whose certificates its API accepts, and that Pods and API are served."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from tests.support.kubernetes_api import ConnectedApi
from wagi_gateway.errors import StartupError
from wagi_gateway.node import signing
from wagi_gateway.node.api import CONFIG_MAPS, ApiError, Object
from wagi_gateway.node.certificates import ServingCertificate
from wagi_gateway.node.events import Events
from wagi_gateway.node.identity import Identity
from wagi_gateway.node.node import NodeParts, Served
from wagi_gateway.node.options import NodeOptions
from wagi_gateway.node.served import client_authorities, served
from wagi_gateway.node.signing import Names

ADDRESSES = ("127.0.0.1",)


def authority() -> str:
    pem = signing.self_signed(Names("ca"))
    return pem[pem.index(b"-----BEGIN CERTIFICATE") :].decode()


def parts(directory: Path, api: ConnectedApi, of_kubeconfig: str = "", **more: object) -> NodeParts:
    options = NodeOptions.model_validate({"name": "n", "state_directory": directory, "listen": "127.0.0.1", **more})
    identity = Identity(api, "https://127.0.0.1:6443", of_kubeconfig.encode() or None, False, False)
    certificate = ServingCertificate(options, ADDRESSES, is_node=False)
    return NodeParts(api, options, Events(api, "n"), ADDRESSES, certificate, identity)


def published(data: Object | None) -> ConnectedApi:
    api = ConnectedApi()
    metadata = {"name": "extension-apiserver-authentication", "namespace": "kube-system"}
    api.put(CONFIG_MAPS, {"metadata": metadata, "data": data})
    return api


@pytest.mark.parametrize(
    ("data", "expected"),
    [({"client-ca-file": "published"}, "published"), ({}, "of the kubeconfig"), (None, "of the kubeconfig")],
)
def test_the_authorities_of_clients(tmp_path: Path, data: Object | None, expected: str) -> None:
    found = client_authorities(parts(tmp_path, published(data), "of the kubeconfig"))
    assert asyncio.run(found) == expected


def test_a_node_may_not_read_what_is_published(tmp_path: Path) -> None:
    api = ConnectedApi()
    api.failures.append(ApiError(403, "Forbidden", ""))
    assert asyncio.run(client_authorities(parts(tmp_path, api))) == ""


def test_a_file_comes_first(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("of the file")
    given = parts(tmp_path, published({"client-ca-file": "published"}), client_ca_file=tmp_path / "ca.crt")
    assert asyncio.run(client_authorities(given)) == "of the file"


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"ca\.crt: client_ca_file cannot be read"):
        asyncio.run(client_authorities(parts(tmp_path, ConnectedApi(), client_ca_file=tmp_path / "ca.crt")))


@pytest.mark.parametrize("pem", [authority(), ""], ids=["an authority", "none"])
def test_pods_and_api_are_made(tmp_path: Path, pem: str, caplog: pytest.LogCaptureFixture) -> None:
    given = parts(tmp_path, ConnectedApi(), pem)

    async def go() -> Served:
        return await served(given)

    found = asyncio.run(go())
    assert callable(found.serve)
    assert given.certificate.context.verify_mode == (ssl.CERT_OPTIONAL if pem else ssl.CERT_NONE)
    assert ("accepts tokens alone" in caplog.text) == (not pem)
