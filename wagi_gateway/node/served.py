"""What a node serves: its Pods, and its HTTPS API."""

from __future__ import annotations

import asyncio

from .api import Object
from .node import NodeParts, Served


def served(_: NodeParts) -> Served:
    """The Pods and the API of a node."""
    return Served(_NoPods(), asyncio.Event().wait)


class _NoPods:
    async def adopt(self) -> list[Object]:
        return []

    async def changed(self, pod: Object) -> None:
        pass

    async def deleted(self, pod: Object) -> None:
        pass

    async def drain(self) -> None:
        pass

    async def stop(self) -> None:
        pass
