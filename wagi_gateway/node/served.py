"""What a node serves: its Pods, and its HTTPS API."""

from __future__ import annotations

import asyncio

from .capacity import machine, resources
from .client_authorities import ClientAuthorities
from .node import NodeParts, Served
from .pods.creation import create_pods
from .server.app import create_node_app
from .server.server import NodeServer


async def served(parts: NodeParts) -> Served:
    """The Pods and the API of a node. Raises StartupError and OSError."""
    options = parts.options
    allocatable = resources(machine(options.state_directory), options)["allocatable"]
    pods = create_pods(options, parts.api, parts.events, parts.addresses, allocatable)
    authorities = ClientAuthorities(parts)
    server = NodeServer(create_node_app(options.name, parts.api, pods), await authorities.trust())

    async def serve() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve_on(options.listen, options.port))
            group.create_task(authorities.keep(server.renew_tls))

    return Served(pods, serve)
