"""`imagePullSecrets`: which credentials a pull gets, and what is ignored."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import a_pod
from wagi_gateway.node.api import SECRETS, SERVICE_ACCOUNTS, ApiError, Object
from wagi_gateway.node.pods.pull_secrets import PodCredentials, PullSecrets, read_pull_secrets

AUTH = base64.b64encode(b"user:pass").decode()


def a_secret(name: str, document: Any, key: str = ".dockerconfigjson") -> Object:
    text = document if isinstance(document, str) else json.dumps(document)
    return {"metadata": {"name": name}, "data": {key: base64.b64encode(text.encode()).decode()}}


def secrets_of(api: MemoryApi, pod: Object) -> PullSecrets:
    return asyncio.run(read_pull_secrets(api, pod))


def found(tmp_path: Path, secrets: PullSecrets, registry: str, repository: str = "team/hello") -> str:
    auth_file = tmp_path / "node.json"
    auth_file.write_text(json.dumps({"auths": {"node.example": {"auth": base64.b64encode(b"node:x").decode()}}}))
    credentials = PodCredentials(secrets, [auth_file], {}, tmp_path).find(registry, repository).credentials
    return f"{credentials.username}:{credentials.password}" if credentials else ""


@pytest.mark.parametrize(
    ("secret", "registry", "login"),
    [
        (a_secret("s", {"auths": {"r.example": {"auth": AUTH}}}), "r.example", "user:pass"),
        (a_secret("s", {"auths": {"https://r.example/v1/": {"auth": AUTH}}}), "r.example", "user:pass"),
        (a_secret("s", {"auths": {"r.example/team": {"auth": AUTH}}}), "r.example", "user:pass"),
        (a_secret("s", {"auths": {"r.example/other": {"auth": AUTH}}}), "r.example", ""),
        (a_secret("s", {"r.example": {"auth": AUTH}}, ".dockercfg"), "r.example", "user:pass"),
        (a_secret("s", {"auths": {"r.example": {"username": "a", "password": "b"}}}), "r.example", "a:b"),
        (a_secret("s", {"auths": {"r.example": {"auth": AUTH}}}), "other.example", ""),
        (a_secret("s", {"auths": {"r.example": {"auth": AUTH}}}), "node.example", "node:x"),
        (a_secret("s", {"auths": {"node.example": {"auth": AUTH}}}), "node.example", "user:pass"),
        (a_secret("s", {"auths": {"r.example": {"auth": "!"}}}), "r.example", ""),
    ],
)
def test_the_credentials_of_a_pull(tmp_path: Path, secret: Object, registry: str, login: str) -> None:
    api = MemoryApi()
    api.put(SECRETS, secret)
    secrets = secrets_of(api, a_pod(imagePullSecrets=[{"name": "s"}]))
    assert secrets.warnings == ()
    assert found(tmp_path, secrets, registry) == login


def test_a_helper_that_a_secret_names_is_not_executed(tmp_path: Path) -> None:
    api = MemoryApi()
    api.put(SECRETS, a_secret("s", {"credHelpers": {"r.example": "evil"}, "credsStore": "evil", "auths": {}}))
    secrets = secrets_of(api, a_pod(imagePullSecrets=[{"name": "s"}]))
    assert found(tmp_path, secrets, "r.example") == ""
    assert not any(config.helpers or config.store for config in secrets.configs)


@pytest.mark.parametrize(
    ("secret", "warning"),
    [
        (None, 'secret "s" not found'),
        (a_secret("s", {}, "other"), "has neither"),
        (a_secret("s", "no JSON"), "not a JSON object"),
    ],
)
def test_a_secret_without_credentials_is_a_warning(secret: Object | None, warning: str) -> None:
    api = MemoryApi()
    if secret:
        api.put(SECRETS, secret)
    secrets = secrets_of(api, a_pod(imagePullSecrets=[{"name": "s"}, {}]))
    assert secrets.configs == ()
    assert warning in secrets.warnings[0]


def test_those_of_the_service_account_count_without_own_ones(tmp_path: Path) -> None:
    api = MemoryApi()
    api.put(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}, "imagePullSecrets": [{"name": "s"}]})
    api.put(SECRETS, a_secret("s", {"auths": {"r.example": {"auth": AUTH}}}))
    secrets = secrets_of(api, a_pod(serviceAccountName="robot"))
    assert found(tmp_path, secrets, "r.example") == "user:pass"
    assert secrets_of(api, a_pod(serviceAccountName="ghost")) == PullSecrets((), ())


def test_an_error_of_the_api_is_passed_on() -> None:
    api = MemoryApi()
    api.failures.append(ApiError(500, "InternalError", "no"))
    with pytest.raises(ApiError):
        secrets_of(api, a_pod(serviceAccountName="robot"))
