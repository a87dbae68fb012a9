"""The identity of a node towards an API in memory."""

from __future__ import annotations

import base64
from typing import cast

from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import Cluster, User

from tests.support.kubernetes_api import ConnectedApi
from wagi_gateway.node.credentials import ApiCredentials
from wagi_gateway.node.identity import Identity

SERVER = "https://127.0.0.1:6443"


def configuration(authority: str = "", token: str = "t") -> SingleConfig:
    """A kubeconfig with a token."""
    data = base64.b64encode(authority.encode()).decode() or None
    cluster = Cluster(server=SERVER, certificate_auth_data=data)
    return cast(SingleConfig, KubeConfig.from_one(cluster=cluster, user=User(token=token)).get())


def identity_of(
    api: ConnectedApi, authority: str = "", *, is_bootstrapped: bool = False, is_node: bool = False
) -> Identity:
    """An identity whose API server has a certificate of `authority` (PEM)."""
    credentials = ApiCredentials(api, lambda: configuration(authority))
    return Identity(api, SERVER, credentials, is_bootstrapped, is_node)
