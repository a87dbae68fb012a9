"""What a node serves: its Pods, and its HTTPS API."""

from __future__ import annotations

from functools import partial

from ..errors import Problem, StartupError
from ..observe.log import logger
from .api import CONFIG_MAPS, Api, ApiError, ApiUnreachable
from .capacity import machine, resources
from .node import NodeParts, Served
from .pods.creation import create_pods
from .server.app import create_node_app
from .server.server import NodeServer
from .server.tls import accept_client_certificates

NAMESPACE, CONFIG_MAP, KEY = "kube-system", "extension-apiserver-authentication", "client-ca-file"
"""Where the cluster publishes the certificate authorities of its clients."""


async def served(parts: NodeParts) -> Served:
    """The Pods and the API of a node. Raises StartupError and OSError."""
    options = parts.options
    allocatable = resources(machine(options.state_directory), options)["allocatable"]
    pods = create_pods(options, parts.api, parts.events, parts.addresses, allocatable)
    context = parts.certificate.context
    if authorities := await client_authorities(parts):
        accept_client_certificates(context, authorities)
    else:
        logger.warning("no certificate authority of clients is known: the node's API accepts tokens alone")
    server = NodeServer(create_node_app(options.name, parts.api, pods), context)
    return Served(pods, partial(server.serve_on, options.listen, options.port))


async def client_authorities(parts: NodeParts) -> str:
    """The certificate authorities (PEM) of the clients of the node's API; empty if none are known.

    They are those of `client_ca_file`, or else those that the cluster publishes, or else those of the kubeconfig: the
    identity of a node may not read the former, and a cluster that was set up by kubeadm has one authority for both.

    Raises StartupError if the file cannot be read.
    """
    if path := parts.options.client_ca_file:
        try:
            return path.read_text()
        except (OSError, ValueError) as error:
            raise StartupError(Problem(str(path), f"client_ca_file cannot be read: {error}")) from None
    return await _published(parts.api) or (parts.identity.authority or b"").decode("ascii", "replace")


async def _published(api: Api) -> str:
    try:
        found = await api.get(CONFIG_MAPS, CONFIG_MAP, NAMESPACE)
    except (ApiError, ApiUnreachable) as error:
        logger.debug("the authorities of clients cannot be read: %s", error)
        return ""
    return str((found.get("data") or {}).get(KEY) or "")
