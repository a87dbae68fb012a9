"""Events (core/v1) about Pods and the Node: what `kubectl describe` shows, counted and bounded in rate."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..observe.log import logger
from .api import EVENTS, MALFORMED, Api, ApiError, ApiUnreachable, Object
from .timestamps import seconds

COMPONENT = "wagi-node"
BURST = 25
"""Events of one object that are written at once."""
REFILL = 300.0
"""Seconds after which an object that has used up its burst may have one more event, as of client-go."""
QUEUE = 1000
"""Events that wait; further ones are dropped."""
_REMEMBERED = 1000
"""Events, and objects, that are remembered for their count and rate."""
_MAX_MESSAGE = 1024
"""Characters of a message (the API server's bound)."""


class _Key(NamedTuple):
    uid: str
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class _Written:
    name: str
    namespace: str
    count: int


@dataclass(slots=True)
class _Allowance:
    left: float
    at: float


class Events:
    """Writes events one after the other, beside what reports them. A repeated event is counted in the first one."""

    def __init__(self, api: Api, node_name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._node_name = node_name
        self._clock = clock
        self._queue: asyncio.Queue[tuple[Object, _Key]] = asyncio.Queue(QUEUE)
        self._written: OrderedDict[_Key, _Written] = OrderedDict()
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()

    def record(
        self,
        about: Object,
        reason: str,
        message: str,
        type: Literal["Normal", "Warning"] = "Normal",  # noqa: A002
    ) -> None:
        """Reports an event about a Pod or the Node, which `run` writes; never waits and never fails."""
        metadata = about["metadata"]
        key = _Key(metadata["uid"], type, reason, message[:_MAX_MESSAGE])
        if self._is_allowed(key.uid):
            try:
                self._queue.put_nowait((_reference(about), key))
            except asyncio.QueueFull:
                logger.debug("an event is dropped: %s %s", reason, message)

    async def run(self) -> None:
        """Writes what is reported, until it is cancelled; an event that the API server refuses is dropped."""
        while True:
            reference, key = await self._queue.get()
            try:
                await self._write(reference, key)
            except (ApiError, ApiUnreachable, *MALFORMED) as error:
                logger.debug("an event is lost: %s %s: %s", key.reason, key.message, error)
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Waits until all that was reported is written."""
        await self._queue.join()

    async def _write(self, reference: Object, key: _Key) -> None:
        now = seconds()
        if written := self._written.get(key):
            self._written.move_to_end(key)
            change = {"count": written.count + 1, "lastTimestamp": now}
            try:
                await self._api.patch(EVENTS, written.name, change, written.namespace)
            except ApiError as error:
                if error.status != 404:  # an event lives for an hour
                    raise
            else:
                written.count += 1
                return
        namespace = reference.get("namespace", "default")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{reference['name'][:200]}.", "namespace": namespace},
            "involvedObject": reference,
            "type": key.type,
            "reason": key.reason,
            "message": key.message,
            "source": {"component": COMPONENT, "host": self._node_name},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._node_name,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        created = await self._api.create(EVENTS, event)
        self._written[key] = _Written(created["metadata"]["name"], namespace, 1)
        _bound(self._written)

    def _is_allowed(self, uid: str) -> bool:
        """Whether an object may have one more event: a token bucket."""
        now = self._clock()
        allowance = self._allowances.setdefault(uid, _Allowance(BURST, now))
        self._allowances.move_to_end(uid)
        _bound(self._allowances)
        allowance.left = min(BURST, allowance.left + (now - allowance.at) / REFILL)
        allowance.at = now
        if allowance.left < 1:
            return False
        allowance.left -= 1
        return True


def _reference(about: Object) -> Object:
    """The ObjectReference of a Pod or a Node; `kubectl describe node` looks for a Node's name as uid."""
    metadata = about["metadata"]
    if "namespace" not in metadata:
        return {"apiVersion": "v1", "kind": "Node", "name": metadata["name"], "uid": metadata["name"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "uid": metadata["uid"],
        "resourceVersion": metadata.get("resourceVersion", ""),
    }


def _bound(remembered: OrderedDict[_Key, _Written] | OrderedDict[str, _Allowance]) -> None:
    while len(remembered) > _REMEMBERED:
        remembered.popitem(last=False)
