"""A node on a machine of its own: bootstrap token, certificates and their renewal, NodeRestriction."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.cluster import certificates
from tests.support.cluster.cluster import Cluster, Object
from tests.support.cluster.control_plane import BOOTSTRAP_TOKEN
from tests.support.cluster.node import Node, a_node
from wagi_gateway.node.signing import Names, Validity, common_name, names_of

TOKEN_ID, _, TOKEN_SECRET = BOOTSTRAP_TOKEN.partition(".")
TOKEN: Object = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": f"bootstrap-token-{TOKEN_ID}", "namespace": "kube-system"},
    "type": "bootstrap.kubernetes.io/token",
    "stringData": {
        "token-id": TOKEN_ID,
        "token-secret": TOKEN_SECRET,
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:wagi",
    },
}


@contextmanager
def a_bootstrapped_node(cluster: Cluster, directory: Path, name: str, token: str = BOOTSTRAP_TOKEN) -> Iterator[Node]:
    """A node with a bootstrap token, which is started by `start`."""
    cluster.apply(TOKEN)
    cluster.kubectl("apply", "-k", ROOT / "deploy/kubernetes/node-bootstrap")
    kubeconfig = cluster.control_plane.with_token(f"bootstrap-{name}", token)
    with a_node(cluster, directory, name, kubeconfig=kubeconfig) as node:
        node.identity = "--bootstrap-kubeconfig"
        try:
            yield node
        finally:
            cluster.kubectl("delete", "node", name, "--ignore-not-found", "--wait=false")


def requests(cluster: Cluster, name: str, kind: str) -> list[Object]:
    """The requests of a node for `client` or `serving` certificates."""
    found = json.loads(cluster.kubectl("get", "csr", "-o", "json"))["items"]
    return [one for one in found if one["metadata"]["name"].startswith(f"wagi-{kind}-{name}-")]


def test_a_node_joins_by_a_bootstrap_token(cluster: Cluster, tmp_path: Path) -> None:
    with a_bootstrapped_node(cluster, tmp_path, "bootstrapped") as node:
        node.start()
        node.wait_ready()
        assert common_name((node.state / "client.pem").read_bytes()) == "system:node:bootstrapped"
        assert (node.state / "client.pem").stat().st_mode & 0o777 == 0o600

        cluster.wait_for(lambda: requests(cluster, "bootstrapped", "serving"), "a request for a serving certificate")
        (request,) = requests(cluster, "bootstrapped", "serving")
        assert request["spec"]["username"] == "system:node:bootstrapped"
        cluster.kubectl("certificate", "approve", request["metadata"]["name"])
        cluster.wait_for((node.state / "serving.pem").exists, "a serving certificate")
        assert names_of((node.state / "serving.pem").read_bytes()) == Names("bootstrapped", ("127.0.0.1",))

        assert node.stop() == 0
        node.start()
        node.wait_ready()
        assert len(requests(cluster, "bootstrapped", "client")) == 1
        assert len(requests(cluster, "bootstrapped", "serving")) == 1


def test_an_unknown_token_is_refused_in_words(cluster: Cluster, tmp_path: Path) -> None:
    with a_bootstrapped_node(cluster, tmp_path, "unknown", "abcdef.aaaaaaaaaaaaaaaa") as node:
        node.start()
        assert node.process
        assert node.process.wait(60) == 3
        assert "refuses its token; it may have expired: kubeadm token create" in node.log


def test_a_client_certificate_is_renewed_in_time(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_AGE", dt.timedelta(hours=23))
    monkeypatch.setattr(certificates, "_LIFE", dt.timedelta(hours=1))
    with a_bootstrapped_node(cluster, tmp_path, "renewed") as node:
        identity = cluster.control_plane.client("renewed", "system:node:renewed", "system:nodes")
        node.state.mkdir()
        before = identity.with_suffix(".key").read_bytes() + identity.with_suffix(".crt").read_bytes()
        path, config = node.state / "client.pem", json.loads(identity.read_text())
        config["users"][0]["user"] = {"client-certificate": str(path), "client-key": str(path)}
        path.write_bytes(before)
        (node.state / "kubeconfig").write_text(json.dumps(config))
        node.start()
        node.wait_ready()
        cluster.wait_for(lambda: (node.state / "client.pem").read_bytes() != before, "another certificate")
        after = (node.state / "client.pem").read_bytes()
        assert common_name(after) == "system:node:renewed"
        assert Validity.of(after).end > Validity.of(before).end
        assert [one["spec"]["username"] for one in requests(cluster, "renewed", "client")] == ["system:node:renewed"]
        cluster.wait_for(lambda: "credentials for the API server have been read anew" in node.log, "the use of it")


def test_a_label_that_a_node_may_not_have_is_said(cluster: Cluster, tmp_path: Path) -> None:
    with a_node(cluster, tmp_path, "labelled") as node:
        node.start("--label", "node-role.kubernetes.io/wagi=")
        cluster.wait_for(
            lambda: "is not allowed to set the following labels" in node.log or "labels" in node.log, "403"
        )
        assert "node-role.kubernetes.io/wagi" in node.log
        assert node.process
        assert node.process.poll() is None
