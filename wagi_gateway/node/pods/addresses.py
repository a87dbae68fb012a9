"""The address of each Pod: one of its own where the node has a range of them, or else the node's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from ...config.pod.manifest import DEFAULT_HOST
from ...config.values import is_local, parse_listen
from ..api import Object
from .address_pool import AddressPool
from .gateway_configuration import DEFAULT_LISTEN
from .ports import is_wildcard

_ANY = "0.0.0.0"  # noqa: S104 - stands for the address of the Pod


@dataclass(frozen=True, slots=True)
class PodAddresses:
    """The addresses of the node's Pods. Those with `hostNetwork`, and all without a pool, have that of the node."""

    pod_ip: str
    """The address of Pods that have none of their own."""
    host_ip: str
    pool: AddressPool | None = None
    local: tuple[str, ...] = ()
    """The node's addresses that are local on this machine, where there is a pool."""

    def has_own(self, pod: Object) -> bool:
        """Whether a Pod has an address of its own."""
        return self.pool is not None and not pod["spec"].get("hostNetwork")

    def of(self, pod: Object, own: str) -> str:
        """`podIP` of a Pod whose own address is `own`; empty for a Pod that has none yet."""
        return own or ("" if self.has_own(pod) else self.pod_ip)

    def assign(self, pod: Object, earlier: str) -> str:
        """The own address of a Pod, which is about to start; empty if it has that of the node.

        Raises AddressesExhausted.
        """
        if self.pool is None or not self.has_own(pod):
            return ""
        return self.pool.assign(pod["metadata"]["uid"], earlier)

    def claim(self, pod: Object, own: str) -> None:
        """Keeps the own address of a Pod of an earlier process."""
        if self.pool:
            self.pool.claim(pod["metadata"]["uid"], own)

    async def wait_for_release(self) -> None:
        """Waits until a Pod with an address of its own has ended."""
        if self.pool:
            await self.pool.wait_for_release()

    def release(self, pod: Object) -> None:
        """Takes the own address of a Pod that has ended."""
        if self.pool:
            self.pool.release(pod["metadata"]["uid"])

    def listen(self, pod: Object, annotation: str | None) -> tuple[str, int]:
        """Host and port of a Pod's annotation `default-host`.

        A Pod that has an address of its own and no annotation listens there, on its first `containerPort`.
        """
        host, port = parse_listen(annotation or DEFAULT_LISTEN)
        if annotation or not self.has_own(pod):
            return host, port
        ports = [one for container in pod["spec"]["containers"] for one in container.get("ports") or ()]
        return _ANY, next((int(one["containerPort"]) for one in ports if "containerPort" in one), port)

    def bound(self, host: str, own: str) -> str:
        """The address to bind for the host of an annotation of a Pod whose own address is `own`.

        Where Pods have addresses of their own, one with `hostNetwork` does not take its port on these: a wildcard
        stands for the node's address.
        """
        if not is_wildcard(host) or self.pool is None:
            return host
        if own:
            return own
        version = ip_address(host).version
        return next((one for one in self.local if ip_address(one).version == version), host)

    def is_of_others(self, address: str, own: str) -> bool:
        """Whether an address is one of Pods, but not of this one, whose own is `own`."""
        return self.pool is not None and address != own and address in self.pool.range

    def problems(self, pod: Object, host: str) -> Iterator[str]:
        """What is wrong with the host of a Pod's annotation."""
        if self.has_own(pod) and not is_wildcard(host) and not is_local(host):
            yield (
                f"{DEFAULT_HOST}: {host[:100]} is not the address of this Pod, which has one of its own on this node "
                "(pod_cidr); write 0.0.0.0 and the port, or set hostNetwork: true for the node's address"
            )

    def warnings(self, pod: Object) -> Iterator[str]:
        """What of a Pod has no effect, because it has an address of its own."""
        for container in pod["spec"]["containers"] if self.has_own(pod) else ():
            for one in container.get("ports") or ():
                if one.get("hostPort"):
                    yield (
                        f"{container['name']}: hostPort {one['hostPort']} has no effect on this node, whose Pods have "
                        "addresses of their own; set hostNetwork: true for a port of the node"
                    )
