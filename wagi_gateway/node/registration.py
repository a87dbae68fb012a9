"""The Node object: as it is created, and its labels, taints and address where others have changed them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from urllib.parse import urlsplit

from ..observe.log import logger
from .api import NODES, Api, ApiError, Object
from .capacity import machine, node_info, resources
from .options import ARCHITECTURE, NodeOptions

DECLARED_FEATURES = ("ExtendWebSocketsToKubelet",)
"""Features of the node's API: with this one the API server passes the WebSocket of `kubectl exec` on (1.36)."""
_MAX_LABEL = 63


def labels(options: NodeOptions) -> dict[str, str]:
    """The labels of the Node.

    The label of the operating system, too, has the architecture's name: DaemonSets of networks and proxies tolerate
    every taint, but select `linux`.
    """
    own = {
        "kubernetes.io/arch": ARCHITECTURE,
        "beta.kubernetes.io/arch": ARCHITECTURE,
        "kubernetes.io/os": ARCHITECTURE,
        "beta.kubernetes.io/os": ARCHITECTURE,
        "kubernetes.io/hostname": options.name[:_MAX_LABEL].rstrip("-."),
        "node.kubernetes.io/exclude-from-external-load-balancers": "true",
        "type": "wagi-gateway",
    }
    return {**own, **options.labels}


def taints(options: NodeOptions) -> list[Object]:
    """The taints of the Node."""
    return [
        {"key": one.key, "effect": one.effect} | ({"value": one.value} if one.value else {})
        for one in options.all_taints
    ]


def status(options: NodeOptions, addresses: tuple[str, ...]) -> Object:
    """The status of the Node but for its conditions. Raises OSError.

    There is no address of the type Hostname: an API server may prefer it to the others, and the name of a Node need
    not resolve.
    """
    return {
        **resources(machine(options.state_directory), options),
        "addresses": [{"type": "InternalIP", "address": address} for address in addresses],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": options.port}},
        "nodeInfo": node_info(),
        "declaredFeatures": list(DECLARED_FEATURES),
    }


async def own_address(server: str) -> str:
    """The address of the interface that leads to the API server at a URL. Raises OSError."""
    url = urlsplit(server)
    target = (url.hostname or "", url.port or 443)
    loop = asyncio.get_running_loop()
    family, *_, address = (await loop.getaddrinfo(*target, type=socket.SOCK_DGRAM))[0]
    with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        probe.connect(address)  # of UDP: nothing is sent
        return str(probe.getsockname()[0])


class Registration:
    """Creates the Node object, and keeps what of it belongs to the node."""

    def __init__(self, api: Api, options: NodeOptions) -> None:
        self._api = api
        self._options = options
        self._may_taint = True

    async def node(self, status: Object) -> Object:
        """The Node object, which is created with this status if there is none. Raises ApiError and ApiUnreachable."""
        try:
            return await self._api.get(NODES, self._options.name)
        except ApiError as error:
            if error.status != 404:
                raise
        try:
            created = await self._api.create(NODES, self._document(status))
        except ApiError as error:
            if error.status != 409:
                raise
            return await self._api.get(NODES, self._options.name)
        logger.info("the Node %s is registered", self._options.name)
        return created

    async def repair(self, node: Object) -> None:
        """Restores labels and taints of the node that others have removed or changed; other ones are left alone."""
        present = node["metadata"].get("labels") or {}
        wrong = {key: value for key, value in labels(self._options).items() if present.get(key) != value}
        if wrong:
            node = await self._api.patch(NODES, self._options.name, {"metadata": {"labels": wrong}})
            logger.info("labels of the Node are restored: %s", ", ".join(sorted(wrong)))
        if self._may_taint:
            await self._repair_taints(node)

    async def _repair_taints(self, node: Object) -> None:
        present = node.get("spec", {}).get("taints") or []
        wanted = {(one["key"], one["effect"]): one for one in taints(self._options)}
        found = {(one["key"], one["effect"]): one.get("value") for one in present}
        if all(key in found and found[key] == one.get("value") for key, one in wanted.items()):
            return
        others = [one for one in present if (one["key"], one["effect"]) not in wanted]
        # The list is replaced as a whole, and controllers change it, too: 409 if one has done so meanwhile.
        metadata = {"resourceVersion": node["metadata"]["resourceVersion"]}
        change = {"metadata": metadata, "spec": {"taints": [*others, *wanted.values()]}}
        try:
            await self._api.patch(NODES, self._options.name, change)
        except ApiError as error:
            if error.status != 403:
                raise
            self._may_taint = False
            what = "taints of the Node %s are missing, which only its creation may set; delete the Node: it comes back"
            logger.warning(what + " (%s)", self._options.name, error)
        else:
            logger.info("taints of the Node are restored")

    def _document(self, status: Object) -> Object:
        spec: Object = {"taints": taints(self._options)}
        if self._options.provider_id:
            spec["providerID"] = self._options.provider_id
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self._options.name, "labels": labels(self._options)},
            "spec": spec,
            "status": status,
        }
