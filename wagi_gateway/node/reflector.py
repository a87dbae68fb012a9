"""A reflector: the objects of a field selector as they are, by uid, from a list and the watches after it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable

from ..errors import GatewayError
from ..observe.log import logger
from .api import MALFORMED, Api, ApiError, ApiUnreachable, Kind, Object, WatchEvent, described

MAX_DELAY = 30.0
"""Seconds between two attempts, at most."""
SILENCE = 50.0
"""Seconds, as long as a watch, after which objects are listed again if neither an event nor a bookmark has come. Where
etcd was restored from a backup, a watch from a version that is not there yet has neither until that one is passed."""


class WatchFailed(GatewayError):
    """The watch cannot go on from where it was: the objects have to be listed again."""


class Reflector:
    """Reports each new version of each object, and the end of each.

    After an error the objects are listed again, and the difference to what is known is reported: no end of an object
    is missed. An object that was replaced by one of the same name has another uid, and so is two objects.
    """

    def __init__(
        self,
        api: Api,
        kind: Kind,
        field_selector: str,
        *,
        changed: Callable[[Object], Awaitable[None]],
        deleted: Callable[[Object], Awaitable[None]],
        delay: float = 1.0,
    ) -> None:
        """`delay` is in seconds: before the second attempt; it doubles up to MAX_DELAY."""
        self._api = api
        self._kind = kind
        self._field_selector = field_selector
        self._changed = changed
        self._deleted = deleted
        self._delay = delay
        self._known: dict[str, Object] = {}
        self._failures = 0
        self._heard = 0.0
        """When the API server last said what there is, by the clock of the event loop."""
        self._is_hurried = asyncio.Event()
        self.synced = asyncio.Event()
        """Set when the first list has been reported."""

    def expect(self, known: Iterable[Object]) -> None:
        """Objects of an earlier process: the first list reports the end of those that are gone, and the others."""
        for one in known:
            metadata = one["metadata"] | {"resourceVersion": ""}
            self._known[metadata["uid"]] = one | {"metadata": metadata}

    def hurry(self) -> None:
        """Ends a pause after failures, as the API server answers again, and begins the delays anew."""
        self._failures = min(self._failures, 1)
        self._is_hurried.set()

    async def run(self) -> None:
        """Lists and watches until it is cancelled."""
        while True:
            try:
                version = await self._watch(await self._list())
                while not self._is_silent():
                    version = await self._watch(version)
            except (ApiError, ApiUnreachable, WatchFailed, *MALFORMED) as error:
                self._failures += 1
                if self._failures == 1:
                    logger.warning("the watch of %s is interrupted: %s", self._kind.plural, described(error))
                await self._wait()

    async def _list(self) -> str:
        """Reports the difference between the list and what is known; the version of the list."""
        found = await self._api.list(self._kind, field_selector=self._field_selector)
        listed = {one["metadata"]["uid"]: one for one in found["items"] if self._has_uid(one)}
        for uid in self._known.keys() - listed.keys():
            await self._deleted(self._known.pop(uid))
        for one in listed.values():
            await self._see(one)
        if self._failures:
            logger.info("the watch of %s goes on", self._kind.plural)
            self._failures = 0
        self.synced.set()
        self._heard = asyncio.get_running_loop().time()
        return str(found["metadata"].get("resourceVersion", ""))

    async def _watch(self, version: str) -> str:
        """Reports the events of one watch; the version at its end."""
        began = asyncio.get_running_loop().time()
        async for event in self._api.watch(self._kind, field_selector=self._field_selector, resource_version=version):
            version = await self._handle(event)
            self._heard = asyncio.get_running_loop().time()
        # A server that ends each watch at once is asked again a little later.
        await asyncio.sleep(max(0.0, began + self._delay - asyncio.get_running_loop().time()))
        return version

    def _is_silent(self) -> bool:
        return asyncio.get_running_loop().time() - self._heard > SILENCE

    async def _handle(self, event: WatchEvent) -> str:
        if event.type == "ERROR":
            raise WatchFailed(str(event.object.get("message") or event.object))
        metadata = event.object.get("metadata") or {}
        if event.type != "BOOKMARK" and not self._has_uid(event.object):
            raise WatchFailed(f"an object without metadata: {str(event.object)[:100]}")
        if event.type == "DELETED":
            self._known.pop(metadata["uid"], None)
            await self._deleted(event.object)
        elif event.type != "BOOKMARK":
            await self._see(event.object)
        return str(metadata["resourceVersion"])

    async def _see(self, one: Object) -> None:
        known = self._known.get(one["metadata"]["uid"])
        if known is None or known["metadata"]["resourceVersion"] != one["metadata"]["resourceVersion"]:
            self._known[one["metadata"]["uid"]] = one
            await self._changed(one)

    def _has_uid(self, one: Object) -> bool:
        """Whether an object can be told from others; one that cannot keeps no other from being seen."""
        metadata = one.get("metadata") if isinstance(one, dict) else None
        keys = ("uid", "resourceVersion")
        is_known = isinstance(metadata, dict) and all(isinstance(metadata.get(key), str) for key in keys)
        if not is_known:
            logger.warning("one of the %s has no uid and resourceVersion, and is left out", self._kind.plural)
        return is_known

    async def _wait(self) -> None:
        self._is_hurried.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause()):
                await self._is_hurried.wait()

    def _pause(self) -> float:
        """Seconds until the next attempt, spread so that the nodes of a cluster do not come at once."""
        longest = min(self._delay * (1 << min(self._failures - 1, 10)), MAX_DELAY)
        return longest * random.uniform(0.5, 1)  # noqa: S311
