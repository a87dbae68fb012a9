"""The heartbeat: Lease, status and repair of the Node, as often as the cluster expects them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ..observe.log import logger
from .api import MALFORMED, NODES, Api, ApiError, ApiUnreachable, Object, described
from .capacity import Pressure, pressure
from .conditions import conditions, differ
from .events import Events
from .lease import Lease
from .options import NodeOptions
from .registration import Registration, status
from .timestamps import seconds


class Heartbeat:
    """Keeps the Node in the cluster as it is here.

    A renewed Lease alone does not undo what the node controller has written after a gap, and a deleted Node does not
    come back by itself: each beat reads the Node.
    """

    def __init__(
        self,
        api: Api,
        options: NodeOptions,
        lease: Lease,
        events: Events,
        addresses: tuple[str, ...],
        *,
        measure: Callable[[], Pressure] | None = None,
        clock: Callable[[], float] = time.monotonic,
        recovered: Callable[[], None] = lambda: None,
    ) -> None:
        """`recovered` is called when the API server answers again after failures."""
        self._api = api
        self._options = options
        self._lease = lease
        self._events = events
        self._addresses = addresses
        self._measure = measure or (lambda: pressure(options.state_directory))
        self._clock = clock
        self._recovered = recovered
        self._registration = Registration(api, options)
        self._not_ready: str | None = "the node starts"
        self._reported: str | None = ""
        self._changed, self._wrote = asyncio.Event(), asyncio.Event()
        self._uid = ""
        self._written: Object | None = None
        self._written_at = 0.0
        self._failures = 0

    def set_ready(self, not_ready: str | None) -> None:
        """Whether Pods can be served: None, or why not. The next beat comes at once."""
        if not_ready != self._not_ready:
            self._not_ready = not_ready
            self._changed.set()

    async def flush(self) -> None:
        """Waits until the API has what `set_ready` said."""
        while self._not_ready != self._reported:
            self._wrote.clear()
            await self._wrote.wait()

    async def run(self) -> None:
        """Beats until it is cancelled. Raises LeaseLost; every other error is retried: right after its restart an API
        server forbids what it allows a second later."""
        while True:
            self._changed.clear()
            pause = self._options.heartbeat
            try:
                await self.beat()
            except (ApiError, ApiUnreachable, OSError, *MALFORMED) as error:
                pause /= 5
                self._failures += 1
                if self._failures == 1:
                    logger.warning("the heartbeat failed, and is tried again: %s", described(error))
            else:
                if self._failures:
                    logger.info("the heartbeat goes on after %d failures", self._failures)
                    self._recovered()
                self._failures = 0
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def beat(self) -> None:
        """Registers the Node if it is gone, repairs it, writes its status if need be, and renews the Lease.

        Raises LeaseLost, ApiError, ApiUnreachable, OSError.
        """
        wanted = status(self._options, self._addresses)
        node = await self._registration.node(wanted | {"conditions": self._conditions([])})
        uid = node["metadata"]["uid"]
        if uid != self._uid:
            self._uid, self._written = uid, None
        await self._lease.renew(uid)
        await self._write_status(node, wanted)
        await self._registration.repair(node)

    async def _write_status(self, node: Object, wanted: Object) -> None:
        stored = node.get("status", {}).get("conditions") or []
        not_ready = self._not_ready
        found = self._conditions(stored)
        is_due = self._clock() - self._written_at >= self._options.status_interval
        if wanted == self._written and not is_due and not differ(found, stored):
            return
        addresses = [{"$patch": "replace"}, *wanted["addresses"]]  # merged by type, of which there may be two
        change = {"status": wanted | {"addresses": addresses, "conditions": found}}
        await self._api.patch(NODES, self._options.name, change, subresource="status")
        self._written, self._written_at = wanted, self._clock()
        self._report(node, not_ready)

    def _conditions(self, stored: list[Object]) -> list[Object]:
        return conditions(self._measure(), self._not_ready, stored, seconds())

    def _report(self, node: Object, not_ready: str | None) -> None:
        """Has events and log say what has just been written."""
        if not_ready != self._reported:
            reason = "NodeNotReady" if not_ready else "NodeReady"
            self._events.record(node, reason, f"Node {self._options.name} status is now: {reason}")
            logger.info("the Node %s: %s", self._options.name, not_ready or "ready")
        self._reported = not_ready
        self._wrote.set()
