"""The registries behind the store: how often an unreachable one is contacted."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from tests.sources.oci.conftest import refused_address
from wagi_gateway.config.image_reference import ImageReference
from wagi_gateway.config.settings import RegistryConfig
from wagi_gateway.sources.oci.credentials import CredentialSource
from wagi_gateway.sources.oci.endpoint import RegistryEndpoint
from wagi_gateway.sources.oci.errors import RegistryError, Unauthorised, Unreachable
from wagi_gateway.sources.oci.registries import Registries
from wagi_gateway.sources.oci.repository import Interrupted
from wagi_gateway.sources.oci.retry import RetryPolicy
from wagi_gateway.sources.oci.upstream import Operation, Upstream, _check_reachable

ONE, TWO, OTHER = map(ImageReference.parse, ("registry.test/one:1", "registry.test/two:1", "other.test/one:1"))


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    """Two registries, the second one with a mirror."""
    tables = {"other.test": RegistryConfig(mirror="mirror.test")}
    return Upstream(Registries(tables, CredentialSource([], {}, tables, tmp_path), tmp_path), threading.Event())


def failing(error: RegistryError, contacted: list[str]) -> Operation[str]:
    """An operation that fails, and records its endpoints."""

    def operation(endpoint: RegistryEndpoint, _retry_policy: RetryPolicy) -> str:
        contacted.append(endpoint.host)
        raise error

    return operation


def test_a_dead_registry_is_waited_for_once(upstream: Upstream) -> None:
    contacted: list[str] = []
    for reference in (ONE, TWO, ONE):
        with pytest.raises(Unreachable, match=f"^{reference}: registry.test is silent$"):
            upstream.run(reference, failing(Unreachable("registry.test is silent", "x"), contacted), [])
    assert contacted == ["registry.test"]
    assert upstream.run(OTHER, lambda endpoint, _: endpoint.host, []) == "mirror.test"


def test_a_layer_that_does_not_arrive_says_nothing_of_others(upstream: Upstream) -> None:
    with pytest.raises(Unreachable):
        upstream.run(ONE, failing(Interrupted("half a layer"), []), [])
    assert upstream.run(TWO, lambda endpoint, _: endpoint.host, []) == "registry.test"


def test_a_failed_attempt_without_retries_is_repeated(upstream: Upstream) -> None:
    """A failed attempt without retries, for a stored image, does not prevent the retries of a pull without a copy."""
    address = refused_address()
    one, two = (ImageReference.parse(f"{address}/{name}:1") for name in ("one", "two"))
    with pytest.raises(Unreachable, match="cannot be reached"):
        upstream.run(one, lambda endpoint, _: upstream.current_digest(one, endpoint), [])
    assert upstream.run(two, lambda endpoint, _: endpoint.host, []) == address


@pytest.mark.parametrize("silent", ["mirror.test", "other.test"])
def test_an_unreachable_endpoint_might_have_the_image(upstream: Upstream, silent: str) -> None:
    def operation(endpoint: RegistryEndpoint, _retry_policy: RetryPolicy) -> str:
        raise (Unreachable("is silent") if endpoint.host == silent else Unauthorised("says no"))

    with pytest.raises(Unreachable) as raised:
        upstream.run(OTHER, operation, [])
    text = str(raised.value)
    assert text.count(str(OTHER)) == 1
    assert f"{silent}: is silent" in text or silent == "other.test"


def test_a_silent_name_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: end.wait(10) and [])
    begin = time.monotonic()
    with pytest.raises(Unreachable, match="no answer from the name server"):
        _check_reachable(RegistryEndpoint("registry.test"), 0.1, "registry.test/x:1")
    assert time.monotonic() - begin < 5
    end.set()
