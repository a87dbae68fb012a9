"""Which address a Pod has, and on which it listens."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import ADDRESSES, ANNOTATION, a_pod, free_port, is_ready, running_node, waiting
from tests.support.registry import Registry
from tests.support.stories import container, get, go, pid_of, pod_ip
from wagi_gateway.node.address_range import AddressRange
from wagi_gateway.node.api import PODS, Object
from wagi_gateway.node.pods.address_pool import AddressPool
from wagi_gateway.node.pods.addresses import PodAddresses

OWN = "10.1.2.1"
ANNOTATED = ANNOTATION + "default-host"


def with_pool(*local: str) -> PodAddresses:
    return PodAddresses("192.0.2.77", "192.0.2.1", AddressPool(AddressRange("10.1.2.0/28")), local)


def on_host(**spec: Any) -> Object:
    return a_pod(hostNetwork=True, **spec)


@pytest.mark.parametrize(
    ("addresses", "pod", "own", "shown"),
    [
        (ADDRESSES, a_pod(), "", "192.0.2.77"),
        (ADDRESSES, a_pod(), "10.9.9.9", "10.9.9.9"),
        (with_pool(), a_pod(), "", ""),
        (with_pool(), a_pod(), OWN, OWN),
        (with_pool(), on_host(), "", "192.0.2.77"),
    ],
    ids=["shared", "served-since-there-was-a-range", "none-yet", "own", "host-network"],
)
def test_the_address_in_the_status(addresses: PodAddresses, pod: Object, own: str, shown: str) -> None:
    assert addresses.of(pod, own) == shown


def test_pods_without_host_network_get_an_address() -> None:
    addresses = with_pool()
    assert (addresses.assign(a_pod(), ""), addresses.assign(on_host(name="b"), ""), ADDRESSES.assign(a_pod(), "x")) == (
        OWN,
        "",
        "",
    )
    addresses.claim(a_pod(name="c"), "10.1.2.2")
    addresses.release(a_pod())
    assert addresses.assign(a_pod(name="d"), OWN) == OWN
    assert addresses.assign(a_pod(name="e"), "10.1.2.2") == "10.1.2.3"


@pytest.mark.parametrize(
    ("addresses", "annotation", "ports", "listens"),
    [
        (ADDRESSES, None, [{"containerPort": 8080}], ("127.0.0.1", 3000)),
        (with_pool(), None, [], ("0.0.0.0", 3000)),
        (with_pool(), None, [{"name": "web", "containerPort": 8080}], ("0.0.0.0", 8080)),
        (with_pool(), "0.0.0.0:3001", [{"containerPort": 8080}], ("0.0.0.0", 3001)),
    ],
    ids=["krustlet", "default", "container-port", "annotation"],
)
def test_the_port_of_a_pod(
    addresses: PodAddresses, annotation: str | None, ports: list[Object], listens: tuple[str, int]
) -> None:
    assert addresses.listen(a_pod({}, {"name": "web", "ports": ports}), annotation) == listens


@pytest.mark.parametrize(
    ("addresses", "host", "own", "bound"),
    [
        (ADDRESSES, "0.0.0.0", "", "0.0.0.0"),
        (with_pool(), "0.0.0.0", OWN, OWN),
        (with_pool(), "::", OWN, OWN),
        (with_pool(), "127.0.0.1", OWN, "127.0.0.1"),
        (with_pool("fd00::1", "192.0.2.1"), "0.0.0.0", "", "192.0.2.1"),
        (with_pool("fd00::1", "192.0.2.1"), "::", "", "fd00::1"),
        (with_pool(), "0.0.0.0", "", "0.0.0.0"),
    ],
    ids=["shared", "own", "own-v6", "loopback", "host-v4", "host-v6", "host-behind-nat"],
)
def test_a_wildcard_is_one_address_where_pods_have_their_own(
    addresses: PodAddresses, host: str, own: str, bound: str
) -> None:
    assert addresses.bound(host, own) == bound


@pytest.mark.parametrize(
    ("address", "is_of_others"),
    [(OWN, False), ("10.1.2.2", True), ("::ffff:10.1.2.2", True), ("0.0.0.0", False), ("192.0.2.1", False)],
)
def test_addresses_of_other_pods(address: str, *, is_of_others: bool) -> None:
    assert with_pool().is_of_others(address, OWN) is is_of_others
    assert not ADDRESSES.is_of_others(address, "")


@pytest.mark.parametrize(
    ("pod", "host", "has_problem"),
    [
        (a_pod(), "10.0.0.4", True),
        (a_pod(), "node-1.example.com", True),
        (a_pod(), "0.0.0.0", False),
        (a_pod(), "127.0.0.1", False),
        (on_host(), "10.0.0.4", False),
    ],
)
def test_the_host_of_an_annotation(pod: Object, host: str, *, has_problem: bool) -> None:
    problems = list(with_pool().problems(pod, host))
    assert bool(problems) is has_problem
    assert all(ANNOTATED in one and "write 0.0.0.0 and the port, or set hostNetwork: true" in one for one in problems)


def test_a_host_port_has_no_effect_beside_an_own_address() -> None:
    containers = {"ports": [{"containerPort": 3001, "hostPort": 80}, {"containerPort": 3001}]}
    (warning,) = with_pool().warnings(a_pod(containers))
    assert warning.startswith("hello: hostPort 80 has no effect on this node")
    assert list(with_pool().warnings(on_host())) == list(ADDRESSES.warnings(a_pod(containers))) == []


@pytest.mark.timeout(500)
def test_pods_with_addresses_of_their_own(registry: Registry, tmp_path: Path) -> None:
    """Two of a port, one of the node's address beside them, and one more than there are addresses."""

    async def story() -> None:
        api, port = MemoryApi(), free_port()
        listens = {ANNOTATION + "default-host": f"0.0.0.0:{port}"}
        variable = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        shown = container(registry, "env", env=[variable], readinessProbe={"tcpSocket": {"port": port}})

        def replica(name: str, **spec: Any) -> Object:
            return a_pod(shown, name=name, annotations=listens, **spec)

        def addresses() -> PodAddresses:
            return PodAddresses("192.0.2.77", "192.0.2.1", AddressPool(AddressRange("127.9.8.0/30")), ("127.0.0.1",))

        async with running_node(tmp_path, api, addresses=addresses(), drain=False) as node:
            for pod in (replica("a"), replica("b", restartPolicy="Never"), replica("host", hostNetwork=True)):
                await api.create(PODS, pod)
                status = (await node.until(pod["metadata"]["name"], is_ready))["status"]
                assert status["podIPs"] == [{"ip": status["podIP"]}]
            ips = {name: pod_ip(api, name) for name in ("a", "b", "host")}
            assert ips == {"a": "127.9.8.1", "b": "127.9.8.2", "host": "192.0.2.77"}
            for name, ip in ips.items():
                assert f"IP={ip}" in await get(port, host="127.0.0.1" if name == "host" else ip)
            taken = {ANNOTATION + "default-host": f"{ips['a']}:{free_port()}"}
            await api.create(PODS, a_pod(shown, name="thief", annotations=taken, hostNetwork=True))
            await node.until_event(f"Failed: Error: {ips['a']}: is an address of Pods, and not of this one (pod_cidr)")
            await api.create(PODS, replica("more"))
            await node.until_event("FailedCreatePodSandBox: Failed to create pod sandbox: all 2 addresses of 127.9.8.0")
            waits = await node.until("more", lambda pod: waiting(pod) == "ContainerCreating")
            assert "podIP" not in waits["status"]
        async with running_node(tmp_path, api, addresses=addresses()) as node:
            await node.until("more", lambda pod: waiting(pod) == "ContainerCreating")
            await api.delete(PODS, "a", "default")
            await node.until("more", is_ready)
            assert {name: pod_ip(api, name) for name in ("b", "more")} == {"b": ips["b"], "more": ips["a"]}
            os.kill(pid_of(node, "b"), signal.SIGKILL)
            ended = await node.until("b", lambda pod: pod["status"]["phase"] == "Failed")
            assert ended["status"]["podIP"] == ips["b"]
            await api.create(PODS, replica("last"))
            await node.until("last", is_ready)
            assert pod_ip(api, "last") == ips["b"]

    go(story())
