"""The parts of lightkube that `wagi_gateway/node/client.py` uses beyond its documentation."""

from __future__ import annotations

import ssl

import httpx2
from lightkube import KubeConfig
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.models import Cluster, User


def test_a_cluster_becomes_a_tls_context() -> None:
    config = KubeConfig.from_one(cluster=Cluster(server="https://127.0.0.1:1", insecure=True), user=User()).get()
    assert config
    assert config.user
    context = verify_cluster(config.cluster, config.user, config.abs_file, trust_env=False)
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode == ssl.CERT_NONE


def test_a_token_becomes_authentication() -> None:
    auth = user_auth(User(token="secret"))
    assert isinstance(auth, httpx2.Auth)
    request = httpx2.Request("GET", "https://127.0.0.1:1")
    assert next(auth.auth_flow(request)).headers["authorization"] == "Bearer secret"


def test_no_user_is_no_authentication() -> None:
    assert user_auth(User()) is None
