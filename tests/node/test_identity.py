"""Where the node's identity comes from, and what is refused in words."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from lightkube.config.kubeconfig import SingleConfig

from wagi_gateway.errors import StartupError
from wagi_gateway.node import bootstrap, identity, signing
from wagi_gateway.node.api import Object
from wagi_gateway.node.identity import Identity, open_identity
from wagi_gateway.node.options import NodeOptions
from wagi_gateway.node.signing import Names


def kubeconfig(path: Path, user: Object | None = None, server: str = "http://127.0.0.1:1") -> Path:
    document = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user or {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(document))
    return path


def opened(**options: object) -> Identity:
    async def go() -> Identity:
        found = await open_identity(NodeOptions.model_validate({"name": "n", **options}))
        await found.api.aclose()
        return found

    return asyncio.run(go())


def certificate(directory: Path, name: str) -> Object:
    """The user of a kubeconfig with a certificate of a node."""
    path = directory / f"{name}.pem"
    path.write_bytes(signing.self_signed(Names(name)))
    return {"client-certificate": path.name, "client-key": path.name}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(identity, "SERVICE_ACCOUNT", str(tmp_path / "account"))


def test_a_kubeconfig_is_used(tmp_path: Path) -> None:
    found = opened(kubeconfig=kubeconfig(tmp_path / "k"))
    assert (found.server, found.is_node, found.is_bootstrapped) == ("http://127.0.0.1:1", False, False)


def test_the_environment_may_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "k", server="http://127.0.0.1:2")))
    assert opened().server == "http://127.0.0.1:2"
    assert opened(kubeconfig=kubeconfig(tmp_path / "l")).server == "http://127.0.0.1:1"


def test_a_certificate_of_the_node_is_an_identity_of_a_node(tmp_path: Path) -> None:
    assert opened(kubeconfig=kubeconfig(tmp_path / "k", certificate(tmp_path, "n"))).is_node


def test_a_certificate_of_another_node_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"k: is the identity of the node m, .* \(name = n\)"):
        opened(kubeconfig=kubeconfig(tmp_path / "k", certificate(tmp_path, "m")))


def test_an_earlier_bootstrap_is_used(tmp_path: Path) -> None:
    options = NodeOptions(name="n", state_directory=tmp_path)
    bootstrap.certificate_path(options).write_bytes(signing.self_signed(Names("n")))
    kubeconfig(bootstrap.kubeconfig_path(options), {"client-certificate": "client.pem", "client-key": "client.pem"})
    found = opened(bootstrap_kubeconfig=tmp_path / "missing", state_directory=tmp_path)
    assert (found.is_node, found.is_bootstrapped) == (True, True)


def test_a_bootstrap_comes_first_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = []

    async def bootstrapping(_: object, config: SingleConfig, options: NodeOptions) -> None:
        tokens.append(config.user and config.user.token)
        kubeconfig(bootstrap.kubeconfig_path(options), certificate(tmp_path, "n"))

    monkeypatch.setattr(bootstrap, "bootstrap", bootstrapping)
    found = opened(bootstrap_kubeconfig=kubeconfig(tmp_path / "b"), state_directory=tmp_path)
    assert (tokens, found.is_bootstrapped) == (["t"], True)


def test_a_pod_has_the_identity_of_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    account = tmp_path / "account"
    account.mkdir()
    pem = signing.self_signed(Names("ca"))
    for name, content in (("token", b"t"), ("namespace", b"x"), ("ca.crt", pem)):
        (account / name).write_bytes(content)
    found = opened()
    assert (found.server, found.credentials.authority, found.is_node) == ("https://[fd00::1]:443", pem, False)


def test_no_identity_at_all_is_refused() -> None:
    with pytest.raises(StartupError, match="no API server is named; give --kubeconfig or --bootstrap-kubeconfig"):
        opened()


NO_KUBECONFIGS: dict[str, tuple[str, str]] = {
    "a list": ("[]", "is not a kubeconfig: AttributeError"),
    "an empty file": ("", "is not a kubeconfig"),
    "no clusters": ("{}", "is not a kubeconfig: KeyError: 'clusters'"),
    "no YAML": ("{", "is not a kubeconfig"),
    "no context": ('{"clusters": [], "contexts": []}', "No current context set"),
    "an unknown context": ('{"clusters": [], "contexts": [], "current-context": "x"}', "Context 'x' not found"),
    "a wrong type": ('{"clusters": [{"name": "c", "cluster": {"server": 1}}], "contexts": []}', "is not a kubeconfig"),
}


@pytest.mark.parametrize(("text", "what"), NO_KUBECONFIGS.values(), ids=NO_KUBECONFIGS)
def test_what_is_no_kubeconfig_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "k"
    path.write_text(text)
    with pytest.raises(StartupError) as error:
        opened(kubeconfig=path)
    assert str(error.value).startswith(f"{path}: ")
    assert what in str(error.value)


@pytest.mark.parametrize(
    ("user", "what"),
    [
        ({"client-certificate": "missing.pem", "client-key": "missing.pem"}, "No such file"),
        ({"client-certificate": "k", "client-key": "k"}, "the kubeconfig: "),
        ({"auth-provider": {"name": "gcp"}}, "auth-provider not supported"),
    ],
    ids=["a missing file", "no certificate", "a plugin of old"],
)
def test_what_cannot_authenticate_is_refused(tmp_path: Path, user: Object, what: str) -> None:
    with pytest.raises(StartupError, match=what):
        opened(kubeconfig=kubeconfig(tmp_path / "k", user, server="https://127.0.0.1:1"))


def test_a_missing_kubeconfig_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="not found"):
        opened(kubeconfig=tmp_path / "k")
