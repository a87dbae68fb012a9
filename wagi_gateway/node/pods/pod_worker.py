"""One Pod from its binding to its deletion, as a task."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from ..api import Object
from ..timestamps import parse
from .ending import PodEnding
from .folder import PodFolder
from .gateway_runs import GatewayRuns
from .process import PodProcess
from .runtime import PodRuntime
from .state import PodState
from .status_writer import StatusWriter

_LOOK = 5.0
"""Seconds between two looks at a deadline that may be set or shortened."""


class AdoptedRun(NamedTuple):
    """The state of a Pod from an earlier process of the node, and its gateway if that still runs."""

    state: PodState
    process: PodProcess | None


class PodWorker:
    """Runs one Pod."""

    def __init__(self, runtime: PodRuntime, pod: Object, adopted: AdoptedRun | None = None) -> None:
        """Raises ValueError for a uid that is no file name."""
        self.uid: str = pod["metadata"]["uid"]
        self.folder = PodFolder.of(runtime.state_directory, self.uid)
        self.state = adopted.state if adopted else _first_state(pod)
        self.pod = pod
        self.deleted = asyncio.Event()
        """Set when the Pod has a deletionTimestamp, or is gone from the API."""
        self._runtime = runtime
        self._status = StatusWriter(runtime.api, runtime.addresses, pod, self.state)
        process = adopted.process if adopted else None
        if self.state.phase not in ("Succeeded", "Failed"):
            runtime.addresses.claim(pod, self.state.address)
        self._runs = GatewayRuns(runtime, pod, self.folder, self.state, self._status, process)
        self._ending = PodEnding(runtime, self.folder, self.state, self._status, lambda: self.pod)
        self._task: asyncio.Task[None] | None = None
        if adopted and self.state.phase in ("Succeeded", "Failed"):
            self._status.touch()  # the earlier process may not have written the end, nor known of it

    @property
    def process(self) -> PodProcess | None:
        """The gateway, while it runs."""
        return self._runs.process

    @property
    def has_ended(self) -> bool:
        """Whether the Pod takes no room of the node: it has ended or was refused, or the API has it no more."""
        return self.state.phase in ("Succeeded", "Failed") or self._status.is_gone.is_set()

    def refuse(self, reason: str, message: str) -> None:
        """Has the Pod fail before it starts, as a kubelet does with one that was bound past the scheduler."""
        self.state.phase, self.state.reason = "Failed", reason
        self.state.message = f"Pod was rejected: {message}"
        self._runtime.events.record(self.pod, reason, message, "Warning")
        self._runtime.addresses.release(self.pod)
        self._status.touch()

    def start(self, on_end: Callable[[PodWorker], None]) -> None:
        """Begins; `on_end` is called once the Pod is gone."""
        self._task = asyncio.create_task(self._run(), name=f"pod {self.uid}")
        self._task.add_done_callback(lambda _: on_end(self))
        self.update(self.pod)

    def update(self, pod: Object) -> None:
        """Takes another version of the Pod."""
        self.pod = pod
        self._status.update(pod)
        self._runs.update(pod)
        if pod["metadata"].get("deletionTimestamp"):
            self.deleted.set()

    def kill(self) -> None:
        """Ends the gateway at once: the API has no such Pod any more."""
        self._status.is_gone.set()
        self.deleted.set()
        if self.process:
            self.process.kill()

    async def stop(self) -> None:
        """Ends the task, and not the gateway, which another process of the node adopts."""
        if self._task:
            await _cancel(self._task)
        if self.process:
            self._runs.save()
            self.process.close()

    async def drain(self) -> None:
        """Ends the task and the gateway, and shows why; the Pod stays in the API."""
        if self._task:
            await _cancel(self._task)
        writer = asyncio.create_task(self._status.run())
        try:
            await self._ending.shut_down(self.process)
        finally:
            await _cancel(writer)

    async def wait(self) -> None:
        """Waits until the Pod is gone."""
        if self._task:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        writer = asyncio.create_task(self._status.run())
        life = asyncio.create_task(self._runs.live())
        deletion = asyncio.create_task(self.deleted.wait())
        deadline = asyncio.create_task(self._until_deadline())
        try:
            await asyncio.wait([life, deletion, deadline], return_when=asyncio.FIRST_COMPLETED)
            if life.done():
                self._runtime.addresses.release(self.pod)
            if deadline.done() and not life.done():
                await _cancel(life)
                await self._ending.exceed_deadline(self.process)
            await deletion
            await _cancel(life)
            await self._ending.end(self.process)
        finally:
            await _cancel(life, writer, deletion, deadline)

    async def _until_deadline(self) -> None:
        """Waits for `activeDeadlineSeconds` of the Pod, which may be set later."""
        loop, began = asyncio.get_running_loop(), None
        while True:
            seconds, start = self.pod["spec"].get("activeDeadlineSeconds"), self.state.start_time
            if start and began is None:  # once: the system's clock may be set while the Pod runs
                age = self._runtime.clock() - parse(start).timestamp() if _time(start) else 0.0
                began = loop.time() - max(0.0, age)
            remaining = _LOOK
            if seconds is not None and began is not None:
                remaining = began + seconds - loop.time()
            if remaining <= 0:
                return
            await asyncio.sleep(min(remaining, _LOOK))


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _first_state(pod: Object) -> PodState:
    """The state of a Pod without a folder: restarts go on from what the API shows."""
    status = pod.get("status") or {}
    shown = [one.get("restartCount", 0) + 1 for one in status.get("containerStatuses") or () if one.get("containerID")]
    phase = status.get("phase")
    return PodState(
        str(phase) if phase in ("Succeeded", "Failed") else "Pending",
        restarts=max(shown, default=0),
        start_time=_time(status.get("startTime")),
    )


def _time(text: object) -> str:
    """A time as the API writes it; empty for another text."""
    with contextlib.suppress(ValueError, OverflowError):
        if isinstance(text, str) and parse(text):
            return text
    return ""
