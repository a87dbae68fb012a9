"""The certificate authorities of the clients of the node's API, which a cluster replaces from time to time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from ..errors import Problem, StartupError
from ..observe.log import logger
from .api import CONFIG_MAPS, MALFORMED, ApiError, ApiUnreachable
from .node import NodeParts

NAMESPACE, CONFIG_MAP, KEY = "kube-system", "extension-apiserver-authentication", "client-ca-file"
"""Where the cluster publishes the certificate authorities of its clients."""
REFRESH = 60.0
"""Seconds between two reads."""


class ClientAuthorities:
    """The authorities of `client_ca_file`, or else those that the cluster publishes, or else those of the kubeconfig.

    The identity of a node may not read what is published, and a cluster that was set up by kubeadm has one authority
    for API server and clients.
    """

    def __init__(self, parts: NodeParts) -> None:
        self._parts = parts
        self._published = ""
        self._trusted = ""

    async def read(self) -> str:
        """The authorities (PEM); empty if none are known. Raises StartupError if the file cannot be read."""
        if path := self._parts.options.client_ca_file:
            try:
                return path.read_text()
            except (OSError, ValueError) as error:
                raise StartupError(Problem(str(path), f"client_ca_file cannot be read: {error}")) from None
        if not self._parts.identity.is_node:
            await self._read_published()
        # Once some were published, those of the kubeconfig are never those of clients, whatever fails later.
        return self._published or (self._parts.identity.credentials.authority or b"").decode("ascii", "replace")

    async def trust(self) -> ssl.SSLContext:
        """The context of the node's API, with the current authorities. Raises StartupError."""
        self._trusted = await self.read()
        if not self._trusted:
            logger.warning("no certificate authority of clients is known: the node's API accepts tokens alone")
        return self._parts.certificate.trust(self._trusted)

    async def keep(
        self, use: Callable[[ssl.SSLContext], None], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Reads the authorities again and again until it is cancelled; `use` gets the context of others."""
        while True:
            await sleep(REFRESH)
            try:
                found = await self.read()
                if found and found != self._trusted:
                    use(self._parts.certificate.trust(found))
                    self._trusted = found
                    logger.info("the certificate authorities of clients have been read anew")
            except StartupError as error:
                logger.warning("the certificate authorities of clients are not read anew: %s", error)

    async def _read_published(self) -> None:
        try:
            found = await self._parts.api.get(CONFIG_MAPS, CONFIG_MAP, NAMESPACE)
            self._published = str((found.get("data") or {}).get(KEY) or "") or self._published
        except (ApiError, ApiUnreachable, *MALFORMED) as error:
            logger.debug("the authorities of clients cannot be read: %s", error)
