"""Writes the status of one Pod, and again when the API shows another one."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ...observe.log import logger
from ..api import MALFORMED, PODS, Api, ApiError, ApiUnreachable, Object, described
from ..timestamps import seconds
from .addresses import PodAddresses
from .state import PodState
from .status import differs, status_document

_FIRST_RETRY, _MAX_RETRY = 0.5, 10.0
"""Seconds between two attempts to write."""
_LAG = 30.0
"""Seconds after a write in which a watch may show versions from before it. A lower one that comes later is of an etcd
that was restored from a backup."""
_TIMES = ("lastTransitionTime", "startTime")


class StatusWriter:
    """The status of one Pod: `touch` requests a write, `run` writes, `flush` waits for it."""

    def __init__(self, api: Api, addresses: PodAddresses, pod: Object, state: PodState) -> None:
        self.pod = pod
        """The Pod as the API shows it."""
        self.is_gone = asyncio.Event()
        """Set when the API has no Pod of this uid."""
        self._api = api
        self._addresses = addresses
        self._state = state
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._written: Object | None = None
        self._version, self._written_at = 0, 0.0
        self._older: Object | None = None
        """The latest version that was ignored as one from before the last write."""

    def touch(self) -> None:
        """Requests that the current state is written."""
        self._idle.clear()
        self._wanted.set()

    def update(self, pod: Object) -> None:
        """Takes another version of the Pod. A status that others have changed is written again."""
        lag = self._written_at + _LAG - time.monotonic()
        if _version(pod) < self._version and lag > 0:
            self._older = pod
            asyncio.get_running_loop().call_later(lag, self._look_again, pod)
            return
        self._older = None
        is_own = _version(pod) == self._version
        self.pod = pod
        if self._written is not None and not is_own and differs(pod, self._written):
            self._written = None
            self.touch()

    def _look_again(self, pod: Object) -> None:
        """Takes an older version that no newer one has followed."""
        if self._older is pod:
            self.update(pod)

    async def flush(self) -> None:
        """Waits until the current state is written, or the Pod is gone."""
        waits = [asyncio.ensure_future(self._idle.wait()), asyncio.ensure_future(self.is_gone.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    async def run(self) -> None:
        """Writes what is requested, until the Pod is gone or the task is cancelled."""
        delay = _FIRST_RETRY
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._write()
                delay = _FIRST_RETRY
            except (ApiError, ApiUnreachable, *MALFORMED) as error:
                if isinstance(error, ApiError) and error.status == 404:
                    self.is_gone.set()
                    return
                name = self.pod["metadata"]["name"]
                logger.warning("the status of Pod %s cannot be written, it is tried again: %s", name, described(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, _MAX_RETRY)
                self._wanted.set()
            if not self._wanted.is_set():
                self._idle.set()

    async def _write(self) -> None:
        document = status_document(self.pod, self._state, self._addresses, seconds())
        if self._written is not None and _without_times(document) == _without_times(self._written):
            return
        metadata = self.pod["metadata"]
        answer = await self._api.patch(PODS, metadata["name"], document, metadata["namespace"], subresource="status")
        version = _version(answer)
        self._written = document
        self._version, self._written_at = version, time.monotonic()
        if version >= _version(self.pod):
            self.pod = answer


def _version(pod: Object) -> int:
    """The resource version as a number, which orders the versions of one object (KEP-5504); 0 for another form."""
    text = str(pod["metadata"].get("resourceVersion") or "")
    return int(text) if text.isdecimal() else 0


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in _TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value
