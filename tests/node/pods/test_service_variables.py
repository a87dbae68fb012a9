"""The variables of Services, as a kubelet computes them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import a_pod
from wagi_gateway.node.api import SERVICES, Object
from wagi_gateway.node.pods import service_variables as module
from wagi_gateway.node.pods.service_variables import read_service_variables, variables_of

MASTER = "KUBERNETES_SERVICE_HOST"


def service(name: str, *ports: dict[str, Any], namespace: str = "default", **spec: Any) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"metadata": metadata, "spec": {"clusterIP": "10.0.0.7", "ports": ports or ({"port": 80},), **spec}}


def test_the_variables_of_a_service() -> None:
    """The example of https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables."""
    redis = service("redis-primary", {"port": 6379, "protocol": "TCP"}, clusterIP="10.0.0.11")
    assert variables_of([redis]).environment == {
        "REDIS_PRIMARY_SERVICE_HOST": "10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT": "6379",
        "REDIS_PRIMARY_PORT": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT": "6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR": "10.0.0.11",
    }


def test_named_ports_and_other_protocols() -> None:
    ports = {"name": "dns-udp", "port": 53, "protocol": "UDP"}, {"name": "web", "port": 80}
    found = variables_of([service("d", *ports, clusterIP="fd00::1")]).environment
    assert found["D_SERVICE_PORT"] == found["D_SERVICE_PORT_DNS_UDP"] == "53"
    assert found["D_SERVICE_PORT_WEB"] == "80"
    assert found["D_PORT"] == found["D_PORT_53_UDP"] == "udp://[fd00::1]:53"
    assert (found["D_PORT_80_TCP"], found["D_PORT_80_TCP_ADDR"]) == ("tcp://[fd00::1]:80", "fd00::1")


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"clusterIP": ""}, {"type": "ExternalName"}, {"ports": []}])
def test_a_service_without_an_address_has_none(spec: dict[str, Any]) -> None:
    assert variables_of([service("a", **spec)]).environment == {}


@pytest.mark.parametrize(("links", "hosts"), [(None, [MASTER, "OWN_SERVICE_HOST"]), (False, [MASTER])])
def test_a_pod_sees_its_namespace_and_the_api_server(links: bool | None, hosts: list[str]) -> None:
    api = MemoryApi()
    for one in (service("kubernetes"), service("own", namespace="n"), service("other")):
        api.put(SERVICES, one)
    pod = a_pod(metadata={"namespace": "n"}, enableServiceLinks=links)
    found = asyncio.run(read_service_variables(api, pod)).environment
    assert [name for name in found if name.endswith("_HOST")] == hosts


def test_a_service_of_the_same_name_hides_the_api_server() -> None:
    api = MemoryApi()
    api.put(SERVICES, service("kubernetes"))
    api.put(SERVICES, service("kubernetes", namespace="n", clusterIP="10.0.0.8"))
    pod = a_pod(metadata={"namespace": "n"})
    assert asyncio.run(read_service_variables(api, pod)).environment[MASTER] == "10.0.0.8"


def test_variables_of_a_request_are_not_taken() -> None:
    """A Service `server` would set SERVER_PORT, which CGI has another meaning for."""
    found = variables_of([service("server")])
    assert found.reserved == ("SERVER_PORT",)
    assert set(found.environment) & {"SERVER_PORT", "SERVER_SERVICE_PORT"} == {"SERVER_SERVICE_PORT"}


def test_the_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Service that comes later takes no variable away."""
    monkeypatch.setattr(module, "MAX_BYTES", 500)
    services = [service(name) for name in ("kubernetes", "a", "b", "c")]
    for number, one in enumerate(services):
        one["metadata"]["creationTimestamp"] = f"2026-11-30T12:00:0{9 - number}Z"
    found = variables_of(services)
    assert [name for name in found.environment if name.endswith("_HOST")] == [MASTER, "C_SERVICE_HOST"]
    assert found.omitted == ("b", "a")
